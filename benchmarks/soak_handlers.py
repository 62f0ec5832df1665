"""Three handlers of different kinds for the soak, for `worker --load`."""

from __future__ import annotations

import asyncio

from ampeco.notifications import SessionMeterValues
from benchmarks.bodies import TYPE
from handlers import Context, Event, Raw, SyncContext, handler

NAMES = ("soak-typed", "soak-unordered", "soak-thread")


@handler(NAMES[0], start="oldest")
async def typed(event: Event[SessionMeterValues], ctx: Context) -> None:
    """Get a payload, in the order of its session."""


@handler(NAMES[1], on=[TYPE], start="oldest", order="none")
async def unordered(event: Event[Raw], ctx: Context) -> None:
    """Wait for 5 ms, as for a fast service."""
    await asyncio.sleep(0.005)


@handler(NAMES[2], on=[TYPE], start="oldest")
def thread(event: Event[Raw], ctx: SyncContext) -> None:
    """Run in a thread."""
