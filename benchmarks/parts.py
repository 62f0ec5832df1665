"""`python -m benchmarks --part ...`: measurements that take minutes, each in its own run.

flat: whether a log that is a hundred times as long drains as fast, and what a waiting event costs in memory.
slow: what a handler that takes a second gets done, and whether another one in the same worker notices.
poison: whether an entity whose events always fail holds back the others.
grow: what many handlers and several worker processes cost and bring (see `grow.py`).
neighbour: what a sender notices while another one sends the dearest bodies (see `neighbour.py`).
attacks: how long an honest sender waits during attacks of senders without a signature (see `under_attack.py`).
console: how long each page of the console takes over a log with a million events (see `console.py`).
live: what a page that follows the log costs a receiver (see `live_console.py`).
"""

from __future__ import annotations

import asyncio
import time

import redis

from benchmarks import logs, workers
from benchmarks.bodies import body, session
from benchmarks.console import console
from benchmarks.grow import grow
from benchmarks.live_console import live
from benchmarks.neighbour import neighbour
from benchmarks.report import Bound, Ratio, Series
from benchmarks.under_attack import attacked

Part = tuple[list[Series], list[Ratio | Bound], list[str]]
"""Rows, what is expected of them, and notes for people."""

SHORT = 10_000
OF_LONG = (
    50_000  # a drain reads up to 512 events of a lane ahead, which its first 10,000 would have to pay for
)

_TIME_LIMIT_S = 120.0
_ROOM = {"AWR_LOG_MAX_BYTES": str(4 << 30)}  # a log that is nearly full is measured more often
_SLEEPER_S = 8.0
_OTHER_PER_S = 100.0


def flat(redis_url: str, rounds: int, many: int) -> Part:
    """Drain a short log and the first 50,000 events of a long one, in turns."""
    short, long = Series(f"drain, {SHORT:,} waiting"), Series(f"drain, {many:,} waiting")
    cost = []
    for url, events in ((f"{redis_url}?db=5", SHORT), (f"{redis_url}?db=6", many)):
        before = asyncio.run(logs.bytes_used(url))
        asyncio.run(logs.fill(url, "flat:", events))
        cost.append((asyncio.run(logs.bytes_used(url)) - before) / events)
    for number in range(rounds):
        for series, url, settled in (
            (short, f"{redis_url}?db=5", SHORT),
            (long, f"{redis_url}?db=6", min(many, OF_LONG)),
        ):
            name = f"noop-{number}"
            asyncio.run(logs.hold(url, "flat:", name))
            with workers.at_work(url, "flat:", {workers.NOOP: name}, _ROOM):
                asyncio.run(logs.let_go(url, "flat:", name, _TIME_LIMIT_S))
                series.per_s.append(_done_per_s(url, "flat:", name, settled))
    allowed = 1.3 * len(body(0)) + 200
    return (
        [short, long],
        [
            Ratio(f"{many:,} waiting / {SHORT:,} waiting", long.per_s, short.per_s, 0.9),
            Bound(f"bytes per waiting event (body {len(body(0))})", cost[1:], allowed),
        ],
        [],
    )


def slow(redis_url: str, rounds: int, many: int) -> Part:
    """Measure a quick handler next to one that sleeps for a second and has a backlog, then the quick one alone."""
    url = f"{redis_url}?db=7"
    series = Series("handler that takes 1 s, 32 at a time")
    beside, alone = Series("another handler beside it"), Series("that handler alone")
    for number in range(rounds):
        for with_sleeper in (True, False):
            with redis.Redis.from_url(url) as client:
                client.flushdb()
            names = {workers.NOOP: f"noop-{number}"}
            if with_sleeper:
                names[workers.SLEEPER] = f"sleeper-{number}"
                asyncio.run(logs.fill(url, "slow:", 500))
            with workers.at_work(url, "slow:", names):
                p99_ms, per_s = asyncio.run(_beside(url, number))
            if with_sleeper:
                series.per_s.append(per_s)
            other = beside if with_sleeper else alone
            other.per_s.append(_OTHER_PER_S)
            other.p99_ms.append(p99_ms)
    return (
        [series, beside, alone],
        [
            Ratio("events/s of the handler that takes 1 s", series.per_s, [1.0] * rounds, 25),
            # The log counts in coarse steps, so one of them is not a difference.
            Ratio("p99 of another handler, alone / beside it", alone.p99_ms, beside.p99_ms, 0.5),
        ],
        [],
    )


async def _beside(url: str, number: int) -> tuple[float, float]:
    """Return p99 of the quick handler at a steady offer, and the rate of the slow one during that time."""
    quick, sleeper = f"noop-{number}", f"sleeper-{number}"
    await logs.offer(url, "slow:", 10_000, _OTHER_PER_S, 1.0)
    quick_before = await logs.when_all_done(url, "slow:", quick, _TIME_LIMIT_S)  # so both are at work
    sleeper_before, since_s = await logs.counted(url, "slow:", sleeper), time.monotonic()
    await logs.offer(url, "slow:", 20_000, _OTHER_PER_S, _SLEEPER_S)
    sleeper_after, until_s = await logs.counted(url, "slow:", sleeper), time.monotonic()
    quick_after = await logs.when_all_done(url, "slow:", quick, _TIME_LIMIT_S)
    done = sleeper_after.get("done", 0) - sleeper_before.get("done", 0)
    return logs.latency_ms(quick_before, quick_after, 0.99), done / (until_s - since_s)


def poison(redis_url: str, rounds: int, many: int) -> Part:
    """Drain the same log with a handler that does nothing, and with one that fails for one entity of 500."""
    url = f"{redis_url}?db=8"
    asyncio.run(logs.fill(url, "poison:", many))
    well, ill = Series("drain, nothing fails"), Series("drain, one entity always fails")
    others = sum(session(number) != session(0) for number in range(many))
    for number in range(rounds):
        for series, environ in ((well, {}), (ill, {workers.FAILING_SESSION: f"session:{session(0)}"})):
            name = f"noop-{number}-{'ill' if environ else 'well'}"
            with workers.at_work(url, "poison:", {workers.NOOP: name}, environ):
                series.per_s.append(_done_per_s(url, "poison:", name, others))
    return [well, ill], [Ratio("the others / nothing fails", ill.per_s, well.per_s, 0.9)], []


def _done_per_s(url: str, prefix: str, name: str, events: int) -> float:
    return asyncio.run(logs.settled_per_s(url, prefix, name, events, _TIME_LIMIT_S))


PARTS = {
    "flat": (flat, 1_000_000),
    "slow": (slow, 0),
    "poison": (poison, 60_000),
    "grow": (grow, 60_000),
    "neighbour": (neighbour, 0),
    "attacks": (attacked, 100),
    "console": (console, 1_000_000),
    "live": (live, 0),
}
"""Name -> what measures it, and how many events it wants."""
