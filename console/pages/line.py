"""The line to AMPECO: our subscription, what may be missing and what is proven, and a resend with its plan first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.responses import Response

from ampeco.names import fault_of_type
from console.acts import act, acting
from console.page import GAP_BYTES, Page, Problem
from console.resends import ResendRefused, Resends
from eventlog.call_budget import budget_standing
from eventlog.inspection.event_traces import OF_PAGE
from eventlog.inspection.gaps import Gap, newest_gaps
from eventlog.inspection.resends import Resend, resend_of, resender
from eventlog.outages import AMPECO, known_outages
from eventlog.replicas import Heard
from eventlog.subscription import SubscriptionStore, left_types

NAV = ("line", "Line to AMPECO")

_RESEND = "gaps resend"
_GAPS = 10
_OF_RESEND = OF_PAGE._replace(ends=2_000, letters=500, bytes=5_000)  # of each gap
_MOST_TYPES = 200


async def show(page: Page) -> Response:
    """Show subscription and gaps. The query has `before`: the gap that the page before ended at."""
    store = SubscriptionStore(page.log)
    stored, known, heard = await store.read(), await store.registration(), await store.heard()
    before = page.asked("before")
    gaps = await newest_gaps(page.log, before=before, most_bytes=GAP_BYTES)
    shown = gaps.gaps[::-1][:_GAPS]
    outages = await known_outages(page.log)
    types = sorted({*filter(None, stored.get("types", "").split(",")), *known.covers})
    last = _last_by_type(heard)
    return page.show(
        "line.html",
        stored=stored,
        known=known,
        types=[(name, name in known.covers, last.get(name)) for name in types[:_MOST_TYPES]],
        more_types=max(0, len(types) - _MOST_TYPES),
        left=sorted((await left_types(page.log)).items())[:_MOST_TYPES],
        keys=sorted(heard.by_key.items(), key=lambda item: -item[1])[:20],
        replicas=(await store.replicas())[:100],
        rotation=await store.rotation(),
        outage=outages.outages.get(AMPECO),
        held=sorted(name for name, away in outages.away.items() if away.service == AMPECO),
        budget=(await budget_standing(page.log)).sentence,
        gaps=await _with_resends(page, shown),
        gap_count=gaps.recorded,
        is_first=not before,
        older=shown[-1].id if shown and gaps.fitting > len(shown) else "",
        resends=page.console.resends is not None,
        done=page.asked("done") == "resend",
    )


@act(_RESEND)
async def plan(page: Page, form: Mapping[str, str]) -> Response:
    """Show what would be asked for. This asks AMPECO for our subscription, and changes nothing."""
    made = await _plan(page, form)
    return page.show("resend.html", plan=made, type=form.get("type", "").strip())


@act(_RESEND)
async def resend(page: Page, form: Mapping[str, str]) -> Response:
    """Ask AMPECO for what the plan said, if it would still be the same."""
    made = await _plan(page, form)
    if form.get("subscription", "") != made["id"] or form.get("types", "") != ",".join(made["types"]):
        raise Problem(
            409, "plan-changed", "The subscription has changed since the plan. Nothing was asked for."
        )
    try:
        async with acting(page, _RESEND, made, len(made["types"])):
            await _resends(page).ask(made)
    except ResendRefused as error:
        raise Problem(502, error.reason, str(error)) from None
    return page.go_to("line", done="resend")


def _resends(page: Page) -> Resends:
    if page.console.resends is None:
        raise Problem(
            409,
            "no-api-token",
            "This process has no AWR_TENANT_URL and AWR_API_TOKEN, so it cannot ask AMPECO. Nothing was asked for.",
        )
    return page.console.resends


async def _plan(page: Page, form: Mapping[str, str]) -> Mapping[str, Any]:
    resends = _resends(page)
    from_ms, to_ms = (page.moment_ms(name, form.get(name, "").strip()[:60]) for name in ("from", "to"))
    if to_ms < from_ms:
        raise Problem(400, "no-span", "The end lies before the beginning. Nothing was asked for.")
    type_ = form.get("type", "").strip()
    if type_ and (fault := fault_of_type(type_)):
        raise Problem(400, "no-type", f"The type {fault}. Nothing was asked for.")
    try:
        return await resends.plan(page.log, from_ms, to_ms, [type_] if type_ else [])
    except ResendRefused as error:
        raise Problem(502, error.reason, str(error)) from None


async def _with_resends(
    page: Page, gaps: Sequence[Gap]
) -> Sequence[tuple[Gap, str, Resend | None, Sequence[tuple[str, Sequence[str]]]]]:
    asks = await resender(page.log)
    found = []
    for gap in gaps:
        made = (
            None
            if gap.is_final
            else await resend_of(page.log, gap, asks, now_ms=page.now_ms, limits=_OF_RESEND)
        )
        by_reason: dict[str, list[str]] = {}
        for name, why in gap.unproven.items():
            by_reason.setdefault(why, []).append(name)
        found.append((gap, page.console.wording.gap(gap), made, sorted(by_reason.items())))
    return found


def _last_by_type(heard: Heard) -> dict[str, int]:
    last: dict[str, int] = {}
    for (_, type_), at_ms in heard.types.items():
        last[type_] = max(at_ms, last.get(type_, 0))
    return last


ROUTES = (("/line", "GET", show), ("/line/resend/plan", "POST", plan), ("/line/resend", "POST", resend))
