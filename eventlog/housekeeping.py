"""What has to be looked at again and again, in every receiver and worker, by one of them at a time.

Pairs that are due with nobody on them: it trusts neither that an RQ job exists nor that one was ever made, so a
wake-up that was lost costs some seconds. And what the log takes up, which is not the business of whoever appends.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

import structlog
from redis.exceptions import RedisError

from eventlog.log import EventLog
from eventlog.retention import Keep, keep

TICK_S = 1.0
RECOMPUTE_S = 60.0
KEEP_S = 10.0
KEEP_SOON_S = 2.0  # while there is little room

_KEEPER = "keeper"
_log = structlog.get_logger()


class Wakes(Protocol):
    """Whoever can wake the workers of a queue."""

    def wake(self, queues: list[str]) -> None: ...


async def tick_forever(log: EventLog, waker: Wakes, stop: asyncio.Event, rules: Keep) -> None:
    """Look once a second until told to stop; Redis being away only pauses it.

    Args:
        rules: what of the log is to be kept.
    """
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
            if await log.elected(KEEP_S, _KEEPER):
                await _keep(log, rules)
        except (RedisError, OSError) as error:
            _log.debug("ticker.paused", error=type(error).__name__)
        try:
            async with asyncio.timeout(TICK_S):
                await stop.wait()
        except TimeoutError:
            pass


async def _keep(log: EventLog, rules: Keep) -> None:
    found = await keep(log, rules)
    if found.given_up:
        _log.warning("log.trimmed_early", events=found.given_up, bytes=found.bytes, max_bytes=found.max_bytes)
    if found.is_tight:
        await log.redis.pexpire(log.key(_KEEPER), int(KEEP_SOON_S * 1000))
