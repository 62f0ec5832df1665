"""Retiring a handler: first the plan, then the act."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

from starlette.responses import Response

from console.acts import act
from console.background import begin
from console.page import Page
from console.plan import Plan
from eventlog.log import EventLog
from eventlog.operation.handlers import position_of, retire
from eventlog.presence import pairs_by_process
from eventlog.registry import HandlerPosition

_RETIRE = "handlers retire"


async def plan(page: Page) -> Response:
    """Show what would be deleted."""
    found = await _position(page)
    name = found.name
    holders = (await pairs_by_process(page.log)).get(name, {})
    sentences = [
        "All of it is deleted, and so are the results of its once-only steps, its timers and its states.",
        "Types that no other handler wants leave the notification subscription.",
        "A worker that still has its code registers it as new, so remove the code first.",
    ]
    if holders:
        sentences.append(
            f"{sum(holders.values())} of its lanes are held by {', '.join(holders)}: they must give them back first."
        )
    return page.show(
        "plan.html",
        plan=Plan(
            f"Retire {name}",
            f"handlers/{name}/retire",
            f"Retire {name} and delete what it has",
            f"handlers/{name}",
            [
                ("Events waiting", f"{'' if found.waiting_is_exact else '≤ '}{found.waiting:,}"),
                ("Open events", found.open),
                ("Dead letters", found.dead),
            ],
            sentences,
            deletes=True,
        ),
    )


@act(_RETIRE)
async def retire_one(page: Page, _: Mapping[str, str]) -> Response:
    """Retire a handler. Workers give back its lanes first, which may take some time."""
    found = await _position(page)
    return await begin(
        page,
        _RETIRE,
        {"handler": found.name},
        found.waiting + found.open + found.dead,
        lambda _: _work(page.log, found.name, page.now_ms),
        title=f"Retire {found.name}",
        back="handlers",
    )


async def _work(log: EventLog, name: str, now_ms: int) -> AsyncIterator[Mapping[str, int]]:
    yield {}
    await retire(log, name, now_ms=now_ms)


async def _position(page: Page) -> HandlerPosition:
    return await position_of(page.log, str(page.request.path_params["name"])[:100])


ROUTES = (
    ("/handlers/{name}/retire", "GET", plan),
    ("/handlers/{name}/retire", "POST", retire_one),
)
