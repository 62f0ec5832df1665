"""The handlers that are measured, for `worker --load`. Every run gives them new names, and so new cursors."""

import asyncio
import os

from ampeco.notifications import SessionMeterValues
from handlers import Context, Event, handler

NOOP = "BENCHMARK_NOOP"
SLEEPER = "BENCHMARK_SLEEPER"
FAILING_SESSION = "BENCHMARK_FAILING_SESSION"

_FAILING = os.environ.get(FAILING_SESSION)


@handler(os.environ.get(NOOP, "noop"), start="oldest")
async def noop(event: Event[SessionMeterValues], ctx: Context) -> None:
    """Do nothing, or fail."""
    if _FAILING is not None and event.key == _FAILING:
        raise RuntimeError


@handler(os.environ.get(SLEEPER, "sleeper"), start="oldest", concurrency=32)
async def sleeper(event: Event[SessionMeterValues], ctx: Context) -> None:
    """Sleep for a second."""
    await asyncio.sleep(1.0)
