"""A `def` handler waits in its thread for what the event loop does, and checks now and then that the loop runs."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from tests.late_futures import let_waits_run_out
from workers.once.steps import Ledger, Steps


async def works() -> str:
    return "result"


async def fails() -> str:
    raise TimeoutError("of its own")


def test_a_result_that_comes_when_a_wait_is_over_is_no_time_out(monkeypatch) -> None:
    let_waits_run_out(monkeypatch)

    async def check() -> None:
        steps = Steps(cast("Ledger", None), "0-1-0", None, asyncio.get_running_loop())
        assert await asyncio.to_thread(steps._wait, works()) == "result"
        with pytest.raises(TimeoutError, match="of its own"):
            await asyncio.to_thread(steps._wait, fails())

    asyncio.run(check())
