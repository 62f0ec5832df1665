"""One run of a handler: what it raised is told as the handler raised it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from handlers import Context, Event, Raw, handler
from workers.deliver import Attempt, Runtime, run
from workers.eventlog.record import StoredEvent


def ran(function: Any) -> str:
    """Where its only attempt failed."""
    runtime = Runtime(handler("h", on=["*"], max_attempts=1)(function), "v1")
    stored = StoredEvent(0, "1-0", "t", None, b"{}", 0)

    def unused() -> None:
        raise AssertionError

    attempt = Attempt(stored, 1, 0.0, lambda: True, unused, unused)  # type: ignore[arg-type]
    return asyncio.run(run(runtime, attempt)).trace


@pytest.mark.parametrize("waits", [True, False])
def test_an_error_that_was_dealt_with_is_not_the_cause_of_the_next(waits):
    async def fails(event: Event[Raw], ctx: Context) -> None:
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        if waits:
            loop.call_soon(future.set_exception, KeyError())
        else:
            future.set_exception(KeyError())
        try:
            await future
        except KeyError:
            pass
        raise ValueError

    assert ran(fails).splitlines()[0] == "ValueError"
