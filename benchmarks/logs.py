"""The event log as the benchmarks need it: filled, wanted by a handler, and counted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from time import perf_counter

from benchmarks.bodies import TYPE, body, session
from eventlog.clock import now_ms
from eventlog.connection.connect import connect
from eventlog.inspection.events import read_counts
from eventlog.log import MAX_BATCH, EventLog, NewEvent
from eventlog.operation.handlers import pause, resume
from eventlog.registry import Declaration
from eventlog.usage import standing

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


async def accepted(redis_url: str, prefix: str = "awr:") -> int:
    """Count the events in the log since its creation."""
    async with opened(redis_url, prefix) as log:
        return (await read_counts(log)).accepted


async def fill(redis_url: str, prefix: str, events: int) -> None:
    """Append events to an empty log."""
    async with opened(redis_url, prefix) as log:
        for first in range(0, events, MAX_BATCH):
            await log.append([event(number) for number in range(first, min(events, first + MAX_BATCH))])


async def hold(redis_url: str, prefix: str, handler: str) -> None:
    """Register a handler that begins at the oldest event, and pause it."""
    async with opened(redis_url, prefix) as log:
        await log.declare([Declaration(handler, "1", (TYPE,), "default", "entity", "oldest")])
        await pause(log, handler, reason="not yet measured", now_ms=now_ms())


async def let_go(redis_url: str, prefix: str, handler: str, time_limit_s: float) -> None:
    """Resume a handler once the log was measured and trimmed, as every ten seconds and when a process starts.

    Raises:
        TimeoutError: it was not in time.
    """
    began_ms = now_ms()
    async with asyncio.timeout(time_limit_s), opened(redis_url, prefix) as log:
        while (found := await standing(log)) is None or found.at_ms < began_ms:
            await asyncio.sleep(0.05)
        await resume(log, handler)


async def settled_per_s(redis_url: str, prefix: str, handler: str, events: int, time_limit_s: float) -> float:
    """Watch a handler get so many events done; counted from the first of them to the last.

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


async def counted(redis_url: str, prefix: str, handler: str) -> dict[str, int]:
    """Add up a handler's outcomes, including latencies (`ms<=N`)."""
    async with opened(redis_url, prefix) as log:
        stats = await log.redis.hgetall(log.key("stats", handler))
    return {name.decode(): int(value) for name, value in stats.items()}


async def when_all_done(redis_url: str, prefix: str, handler: str, time_limit_s: float) -> dict[str, int]:
    """Return the same once the handler has done all that was accepted.

    Raises:
        TimeoutError: it did not in time.
    """
    async with asyncio.timeout(time_limit_s):
        while True:
            events = await accepted(redis_url, prefix)
            counts = await counted(redis_url, prefix, handler)
            if events and counts.get("done", 0) >= events:
                return counts
            await asyncio.sleep(0.05)


async def offer(redis_url: str, prefix: str, first: int, per_s: float, seconds: float) -> int:
    """Append one event after the other, `per_s` of them each second; returns how many."""
    events = int(per_s * seconds)
    async with opened(redis_url, prefix) as log:
        started_s = perf_counter()
        for number in range(first, first + events):
            ahead_s = started_s + (number - first) / per_s - perf_counter()
            if ahead_s > 0:
                await asyncio.sleep(ahead_s)
            await log.append([event(number)])
    return events


def latency_ms(before: Mapping[str, int], after: Mapping[str, int], share: float) -> float:
    """Milliseconds from acceptance to the outcome that this share of the events did not exceed, rounded up to the
    bounds that the log counts by."""
    counts = {
        int(name.removeprefix("ms<=")): count - before.get(name, 0)
        for name, count in after.items()
        if name.startswith("ms<=")
    }
    left = share * sum(counts.values())
    for bound in sorted(counts):
        left -= counts[bound]
        if left <= 0:
            return float(bound)
    return float("inf")


async def bytes_used(redis_url: str) -> int:
    """Return the memory of the whole server."""
    async with opened(redis_url) as log:
        return int((await log.redis.info("memory"))["used_memory"])


def event(number: int) -> NewEvent:
    """One of the events that a log is filled with."""
    return NewEvent(TYPE, f"session:{session(number)}", body(number), now_ms(), "", "drop")
