"""What many handlers and several worker processes cost and bring, in rounds of all measurements.

Processor time is printed beside the rates, since other processes disturb it least: of the worker, and of Valkey's
main thread. A round counts only where others used little (`others.py`).
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import redis

from benchmarks import logs, machine, ten_workers
from benchmarks.bodies import TYPE
from benchmarks.grow_handlers import MANY
from benchmarks.grow_workers import ONE, SHARE, TWO, second_worker
from benchmarks.others import quiet_rounds
from benchmarks.report import Bound, Ratio, Series
from benchmarks.used import Used, redis_s
from eventlog.registry import Declaration

HANDLERS = (1, 10, 50, 200)

_LIMIT_S = 600.0  # no further round begins
_LEAST_SHARE = 60  # of `many`: so many events at least, where handlers are many
_FIRST = 0.05  # of all deliveries: start-up, which does not count
_TIME_LIMIT_S = 180.0
_PREFIX = "grow:"

_DELIVERIES = {number: f"deliveries, {number} handlers" for number in HANDLERS}
_APPENDS = {number: f"appends, {number} registered handlers" for number in (1, 200)}


def grow(redis_url: str, rounds: int, many: int) -> tuple[list[Series], list[Ratio | Bound], list[str]]:
    """Measure all of it in each round.

    Args:
        many: deliveries of each row.
    """
    url = f"{redis_url}?db=9"

    def round_() -> dict[str, Used]:
        used = {}
        for number, title in _DELIVERIES.items():
            used[title] = deliveries(url, number, many // min(number, _LEAST_SHARE))
        for number, title in _APPENDS.items():
            used[title] = asyncio.run(appends(url, number))
        return used | second_worker(f"{redis_url}?db=10") | ten_workers.measure(f"{redis_url}?db=11")

    found, notes = quiet_rounds(round_, rounds, _LIMIT_S)
    rows = {title: [used[title] for used in found] for title in found[0]}
    rates = {title: [used.per_s for used in row] for title, row in rows.items()}
    one = rates[_DELIVERIES[1]]
    verdicts: list[Ratio | Bound] = [
        Ratio(f"{number} handlers / one", rates[_DELIVERIES[number]], one, least)
        for number, least in {10: 1.3, 50: 1.0, 200: 0.8}.items()
    ]
    verdicts += [
        Ratio("appends, 200 registered handlers / one", rates[_APPENDS[200]], rates[_APPENDS[1]], 0.9),
        Bound(
            "Valkey, us per delivery, 10 handlers", [used.redis_us for used in rows[_DELIVERIES[10]]], 11.0
        ),
        Ratio("two processes / one, busy handler", rates[TWO], rates[ONE], 1.7),
        Ratio("second worker's share, 5 s after its start", rates[SHARE], [1.0] * len(found), 0.4),
        Bound("ten workers: those that settled nothing", rates[ten_workers.STARVED], 0.0),
        Bound("ten workers: s over share + 1, longest", rates[ten_workers.OVER], 5.0),
    ]
    shown = [*_DELIVERIES.values(), *_APPENDS.values(), ONE, TWO]
    return [_series(title, rows[title]) for title in shown], verdicts, notes


def deliveries(url: str, handlers: int, events: int) -> Used:
    """Drain a log of so many events with so many handlers in one process.

    Raises:
        TimeoutError: it took too long.
    """
    names = [f"many-{number}" for number in range(handlers)]
    total = handlers * events
    with redis.Redis.from_url(url) as client:
        client.flushdb()
        asyncio.run(logs.fill(url, _PREFIX, events))
        file = Path(__file__).with_name("grow_handlers.py")
        with machine.measured(
            ["commands", "worker", "--child", "--load", str(file)], _environ(url, names)
        ) as worker:
            _wait_until(client, names, int(total * _FIRST))
            first = _done(client, names)
            began = time.monotonic(), machine.cpu_s(worker.pid) or 0.0, redis_s(client)
            _wait_until(client, names, total)
            ended = time.monotonic(), machine.cpu_s(worker.pid) or 0.0, redis_s(client)
    return Used.between(began, ended, total - first)


async def appends(url: str, handlers: int, batches: int = 400) -> Used:
    """Append batches of 32 events to a log for which so many handlers are registered, one after the other."""
    async with logs.opened(url, _PREFIX) as log:
        await log.redis.flushdb()
        names = [f"many-{number}" for number in range(handlers)]
        await log.declare([Declaration(name, "1", (TYPE,), "default", "entity", "now") for name in names])
        prepared = [[logs.event(batch * 32 + n) for n in range(32)] for batch in range(batches)]
        with redis.Redis.from_url(url) as client:
            began = time.monotonic(), time.process_time(), redis_s(client)
            for batch in prepared:
                await log.append(batch)
            ended = time.monotonic(), time.process_time(), redis_s(client)
    return Used.between(began, ended, batches * 32)


def _environ(url: str, names: list[str]) -> dict[str, str]:
    return {
        "AWR_REDIS_URL": url,
        "AWR_REGISTER": "off",
        "AWR_KEY_PREFIX": _PREFIX,
        "AWR_HANDLERS_ALLOW": ",".join(names),
        "AWR_PLUGINS_STRICT": "true",
        "AWR_LOG_LEVEL": "error",
        MANY: ",".join(names),
    }


def _done(client: Any, names: list[str]) -> int:
    asked = client.pipeline(transaction=False)
    for name in names:
        asked.hget(f"{_PREFIX}stats:{name}", "done")
    return sum(int(done or 0) for done in asked.execute())


def _wait_until(client: Any, names: list[str], many: int) -> None:
    deadline_s = time.monotonic() + _TIME_LIMIT_S
    while _done(client, names) < many:
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"{len(names)} handlers were not done with {many:,} deliveries in time")
        time.sleep(0.1)


def _series(title: str, used: list[Used]) -> Series:
    ours, theirs = (
        sorted(getattr(each, name) for each in used)[len(used) // 2] for name in ("ours_us", "redis_us")
    )
    return Series(f"{title} ({ours:.0f} + {theirs:.0f} us)", [each.per_s for each in used])
