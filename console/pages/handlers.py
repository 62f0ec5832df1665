"""The handlers: how far each is and why it waits, and its last day; pause and resume."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import Response

from console.acts import act, acting
from console.day_charts import day_chart
from console.handler_rows import rows
from console.page import GAP_BYTES, Page
from eventlog.inspection.event_search import STATES
from eventlog.inspection.overview import overview
from eventlog.minute_history import MINUTE_MS, SLOT_MINUTES, failure_history, minute_history
from eventlog.operation import handlers as positions
from eventlog.registry import SETTLED_WITHIN

NAV = ("handlers", "Handlers")

_PAUSE, _RESUME = "handlers pause", "handlers resume"
_SLOT_MS = SLOT_MINUTES * MINUTE_MS
_OUTCOMES = ("done", "skipped", "filtered", "superseded", "dead", "retried")


async def list_(page: Page) -> Response:
    """Show all handlers."""
    found = await overview(page.log, most_gap_bytes=GAP_BYTES)
    return page.show(
        "handlers.html",
        handlers=rows(found, page.console.wording),
        faults=[(name, page.console.wording.fault(one)) for name, one in found.faulty.items()],
    )


async def show(page: Page) -> Response:
    """Show one handler."""
    name = str(page.request.path_params["name"])[:100]
    found = await overview(page.log, most_gap_bytes=GAP_BYTES)
    row = next((one for one in rows(found, page.console.wording) if one.name == name), None)
    if row is None:
        raise await positions.unknown_handler(page.log, name)
    fault = found.faulty.get(name)
    stats = row.position.stats
    until_ms = found.at_ms // _SLOT_MS * _SLOT_MS + _SLOT_MS  # of both charts
    settled = await minute_history(page.log, [name], at_ms=until_ms - 1)
    failed = await failure_history(page.log, name, at_ms=until_ms - 1)
    return page.show(
        "handler.html",
        row=row,
        position=row.position,
        pause=found.paused.get(name),
        fault=page.console.wording.fault(fault) if fault else "",
        outcomes=[(outcome, stats[outcome]) for outcome in _OUTCOMES if stats.get(outcome)],
        within=_within(stats),
        settled=day_chart(settled[name], until_ms),
        failed=day_chart(failed, until_ms, minutes_each=SLOT_MINUTES),
        parts=[(process, process.parts[name]) for process in found.processes if name in process.parts],
        states=STATES,
    )


@act(_PAUSE)
async def pause(page: Page, form: Mapping[str, str]) -> Response:
    """Pause a handler: running events finish, and new ones wait."""
    name, reason = str(page.request.path_params["name"]), form.get("reason", "")
    async with acting(page, _PAUSE, {"handler": name, "reason": reason}):
        await positions.pause(page.log, name, reason=reason, now_ms=page.now_ms)
    return page.go_to(f"handlers/{name}")


@act(_RESUME)
async def resume(page: Page, _: Mapping[str, str]) -> Response:
    """Resume a handler at its position."""
    name = str(page.request.path_params["name"])
    async with acting(page, _RESUME, {"handler": name}):
        await positions.resume(page.log, name)
    return page.go_to(f"handlers/{name}")


def _within(stats: Mapping[str, int]) -> list[tuple[int, float]]:
    """Return by which time (ms) from acceptance half, nine tenths and 99 of 100 deliveries had ended."""
    bounds = sorted(
        (int(name.removeprefix(SETTLED_WITHIN)), count)
        for name, count in stats.items()
        if name.startswith(SETTLED_WITHIN) and name.removeprefix(SETTLED_WITHIN).isdigit()
    )
    total = sum(count for _, count in bounds)
    found = []
    for share in (0.5, 0.9, 0.99):
        passed = 0
        for bound_ms, count in bounds:
            passed += count
            if total and passed >= share * total:
                found.append((bound_ms, share))
                break
    return found


ROUTES = (
    ("/handlers", "GET", list_),
    ("/handlers/{name}", "GET", show),
    ("/handlers/{name}/pause", "POST", pause),
    ("/handlers/{name}/resume", "POST", resume),
)
