"""The first page: the state of the deployment, and what needs a person now."""

from __future__ import annotations

from starlette.responses import Response

from console.charts import accepted_per_minute
from console.day_charts import day_chart, reason_charts
from console.handler_rows import rows
from console.links import Link, link_of
from console.page import GAP_BYTES, Page
from eventlog.call_budget import budget_standing
from eventlog.inspection.overview import overview
from eventlog.minute_history import ACCEPTED, HANDLED, MINUTE_MS, minute_history
from eventlog.outages import AMPECO, known_outages
from eventlog.rates import per_minute
from eventlog.turned_away import SLOT_MS

NAV = ("", "Overview")

_DAY_MS = 86_400_000


async def show(page: Page) -> Response:
    """Show the overview."""
    found = await overview(page.log, most_gap_bytes=GAP_BYTES)
    day = await minute_history(page.log, (ACCEPTED, HANDLED), at_ms=found.at_ms)
    until_ms = found.at_ms // MINUTE_MS * MINUTE_MS + MINUTE_MS
    names = [handler.name for handler in found.handlers]
    gaps = [gap for gap in found.gaps if found.at_ms - gap.to_ms < _DAY_MS]
    pages = {path for path, _ in page.console.nav}
    needs: list[tuple[str, Link | None]] = [
        (sentence, link_of(sentence, names, pages)) for sentence in page.console.wording.needs(found)
    ]
    return page.show(
        "overview.html",
        found=found,
        needs=needs,
        facts=page.console.wording.facts(found),
        handlers=rows(found, page.console.wording),
        chart=accepted_per_minute(found.samples),
        rate=per_minute(found.samples, 5),
        day_accepted=day_chart(day[ACCEPTED], until_ms),
        day_handled=day_chart(day[HANDLED], until_ms),
        refusals=reason_charts(
            found.refused_slots, from_ms=found.at_ms - _DAY_MS, until_ms=found.at_ms, slot_ms=SLOT_MS
        ),
        gaps=gaps,
        open_gaps=sum(gap.state == "open" for gap in gaps),
        outage=(await known_outages(page.log)).outages.get(AMPECO),
        budget=(await budget_standing(page.log)).sentence,
    )


ROUTES = (("/", "GET", show),)
