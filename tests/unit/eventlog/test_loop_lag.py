"""How late the event loop was."""

from __future__ import annotations

import asyncio
import time

from eventlog.loop_lag import LoopLag


def test_a_blocked_loop_is_seen_and_a_quiet_one_is_not_blamed():
    async def measured() -> float:
        lag = LoopLag()
        lag.start()
        lag.start()
        assert lag.seconds == 0.0
        await asyncio.sleep(0)
        time.sleep(0.4)
        while not lag.seconds:
            await asyncio.sleep(0.01)
        lag.stop()
        return lag.seconds

    assert asyncio.run(measured()) > 0.2
