"""Finds pairs that are due with nobody on them, in every receiver and worker, one of them at a time.

It trusts neither that an RQ job exists nor that one was ever made: a wake-up that was lost costs some seconds.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

import structlog
from redis.exceptions import RedisError

from workers.eventlog.log import EventLog

TICK_S = 1.0
RECOMPUTE_S = 60.0

_log = structlog.get_logger()


class Wakes(Protocol):
    """Whoever can wake the workers of a queue."""

    def wake(self, queues: list[str]) -> None: ...


async def tick_forever(log: EventLog, waker: Wakes, stop: asyncio.Event) -> None:
    """Look once a second until told to stop; Redis being away only pauses it."""
    loop = asyncio.get_running_loop()
    recomputed_at_s = float("-inf")
    run_id = ""
    while not stop.is_set():
        try:
            if await log.elected(TICK_S * 0.9):
                current = await log.run_id()
                if current != run_id or loop.time() - recomputed_at_s >= RECOMPUTE_S:
                    # A Redis that came back may have forgotten the last hints.
                    await log.recompute()
                    recomputed_at_s, run_id = loop.time(), current
                if queues := await log.sweep():
                    waker.wake(queues)
        except (RedisError, OSError) as error:
            _log.debug("ticker.paused", error=type(error).__name__)
        try:
            async with asyncio.timeout(TICK_S):
                await stop.wait()
        except TimeoutError:
            pass
