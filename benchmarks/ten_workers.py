"""How ten worker processes share the 16 lanes of a backlog: who gets nothing, and who keeps more than its share."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from contextlib import ExitStack

import redis

from benchmarks import logs
from benchmarks.grow_handlers import BUSY
from benchmarks.grow_workers import PREFIX, worker
from benchmarks.used import Used
from eventlog.log import EventLog
from eventlog.presence import Process, present

STARVED, OVER = "ten workers: settled nothing", "ten workers: over share + 1"

_WORKERS, _LANES = 10, 16
_BACKLOG = 80_000
_START_S = 120.0
_WATCH_S = 12.0
_LOOK_S = 0.25


def measure(url: str) -> dict[str, Used]:
    """Start ten workers with a backlog, and watch them once all are there."""
    with redis.Redis.from_url(url) as client:
        client.flushdb()
    asyncio.run(logs.fill(url, PREFIX, _BACKLOG))
    with ExitStack() as stack:
        for _ in range(_WORKERS):
            stack.enter_context(worker(url))
        starved, over_s = asyncio.run(_watched(url))
    return {STARVED: Used(starved), OVER: Used(over_s)}


async def _watched(url: str) -> tuple[int, float]:
    """Return how many processes settled nothing, and the longest time that one held more than its share + 1."""
    deadline_s = time.monotonic() + _START_S
    rates: dict[str, float] = defaultdict(float)
    since_s: dict[str, float] = {}
    longest_s = 0.0
    async with logs.opened(url, PREFIX) as log:
        while len(await _serving(log)) < _WORKERS:
            if time.monotonic() > deadline_s:
                raise TimeoutError("ten workers did not come up")
            await asyncio.sleep(_LOOK_S)
        until_s = time.monotonic() + _WATCH_S
        while (now_s := time.monotonic()) < until_s:
            for process in await _serving(log):
                part = process.parts[BUSY]
                rates[process.name] = max(rates[process.name], part.per_s)
                if len(part.held | part.ending) > _LANES / _WORKERS + 1:
                    longest_s = max(longest_s, now_s - since_s.setdefault(process.name, now_s))
                else:
                    since_s.pop(process.name, None)
            await asyncio.sleep(_LOOK_S)
    return _WORKERS - sum(rate > 0 for rate in rates.values()), longest_s


async def _serving(log: EventLog) -> list[Process]:
    return [process for process in await present(log) if BUSY in process.parts]
