"""The event log as the benchmarks need it: filled, wanted by a handler, and counted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import perf_counter

from benchmarks.bodies import TYPE, body, session
from workers.eventlog.connect import connect
from workers.eventlog.log import MAX_BATCH, Declaration, EventLog, NewEvent, now_ms

LOOK_S = 0.005


@asynccontextmanager
async def opened(redis_url: str, prefix: str = "awr:") -> AsyncIterator[EventLog]:
    """A log with a client of its own."""
    redis = connect(redis_url)
    try:
        yield EventLog(redis, prefix=prefix)
    finally:
        await redis.aclose()


async def declare(redis_url: str) -> None:
    """A handler that wants the events, so that an append does the work it does in production."""
    async with opened(redis_url) as log:
        await log.declare([Declaration("benchmark", "1", (TYPE,), "default", "entity", "now")])


async def accepted(redis_url: str) -> int:
    """Events in the log since it was made."""
    async with opened(redis_url) as log:
        return (await log.counts()).accepted


async def fill(redis_url: str, prefix: str, events: int) -> None:
    """Append events to an empty log."""
    async with opened(redis_url, prefix) as log:
        for first in range(0, events, MAX_BATCH):
            at = now_ms()
            await log.append(
                [
                    NewEvent(TYPE, f"session:{session(number)}", body(number), at, "", "drop")
                    for number in range(first, min(events, first + MAX_BATCH))
                ]
            )


async def settled_per_s(redis_url: str, prefix: str, handler: str, events: int, time_limit_s: float) -> float:
    """Watch a handler settle so many events; counted from the first that were settled to the last.

    Raises:
        TimeoutError: it did not in time.
    """
    first_count = first_s = 0.0
    async with asyncio.timeout(time_limit_s), opened(redis_url, prefix) as log:
        while True:
            count = int(await log.redis.hget(log.key("stats", handler), "done") or 0)
            now_s = perf_counter()
            if count >= events:
                return (count - first_count) / (now_s - first_s)
            if count and not first_count:
                first_count, first_s = count, now_s
            await asyncio.sleep(LOOK_S)
