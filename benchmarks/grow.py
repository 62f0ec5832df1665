"""What many handlers cost: deliveries of one worker process, and accepted events while many are registered.

Processor time counts, since other processes disturb it least: of the worker, and of Valkey's main thread.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

from benchmarks import logs, machine
from benchmarks.bodies import TYPE
from benchmarks.grow_handlers import MANY
from benchmarks.grow_workers import second_worker
from benchmarks.report import Bound, Ratio, Series
from eventlog.registry import Declaration

HANDLERS = (1, 10, 50, 200)

_DELIVERIES = 60_000
_LEAST_EVENTS = 1_000
_FIRST = 0.05  # of all deliveries: start-up, which does not count
_TIME_LIMIT_S = 180.0
_PREFIX = "grow:"


@dataclass(frozen=True)
class Used:
    """Of some deliveries or accepted events: how many in a second, and microseconds of processor time for each."""

    per_s: float
    ours_us: float
    redis_us: float


def grow(redis_url: str, rounds: int, many: int) -> tuple[list[Series], list[Ratio | Bound]]:
    """Drain with 1 to 200 handlers, and accept with one and with 200, in turns.

    Args:
        many: deliveries of each row.
    """
    url = f"{redis_url}?db=9"
    drained: dict[int, list[Used]] = {number: [] for number in HANDLERS}
    accepted: dict[int, list[Used]] = {1: [], 200: []}
    for _ in range(rounds):
        for number, used in drained.items():
            used.append(deliveries(url, number, max(_LEAST_EVENTS, many // number)))
        for number, used in accepted.items():
            used.append(asyncio.run(appends(url, number)))
    series = [_series(f"deliveries, {number} handlers", used) for number, used in drained.items()]
    series += [_series(f"appends, {number} registered handlers", used) for number, used in accepted.items()]
    one = [used.per_s for used in drained[1]]
    expected = {10: 1.3, 50: 1.0, 200: 0.8}
    ratios: list[Ratio | Bound] = [
        Ratio(f"{number} handlers / one", [used.per_s for used in drained[number]], one, least)
        for number, least in expected.items()
    ]
    rates = ([used.per_s for used in accepted[number]] for number in (200, 1))
    ratios.append(Ratio("appends, 200 registered handlers / one", *rates, 0.9))
    ratios.append(Bound("Valkey, us per delivery, 10 handlers", [u.redis_us for u in drained[10]], 11.0))
    more_series, more_ratios = second_worker(redis_url, rounds)
    return series + more_series, ratios + more_ratios


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
            began = time.monotonic(), machine.cpu_s(worker.pid) or 0.0, _redis_s(client), _done(client, names)
            _wait_until(client, names, total)
            ended = time.monotonic(), machine.cpu_s(worker.pid) or 0.0, _redis_s(client), total
    wall_s, ours_s, redis_s, many = (after - before for before, after in zip(began, ended, strict=True))
    return Used(many / wall_s, ours_s / many * 1e6, redis_s / many * 1e6)


async def appends(url: str, handlers: int, batches: int = 400) -> Used:
    """Append batches of 32 events to a log for which so many handlers are registered, one after the other."""
    async with logs.opened(url, _PREFIX) as log:
        await log.redis.flushdb()
        names = [f"many-{number}" for number in range(handlers)]
        await log.declare([Declaration(name, "1", (TYPE,), "default", "entity", "now") for name in names])
        prepared = [[logs.event(batch * 32 + n) for n in range(32)] for batch in range(batches)]
        with redis.Redis.from_url(url) as client:
            redis_s, ours_s, began_s = _redis_s(client), time.process_time(), time.monotonic()
            for batch in prepared:
                await log.append(batch)
            wall_s = time.monotonic() - began_s
            redis_s, ours_s = _redis_s(client) - redis_s, time.process_time() - ours_s
    many = batches * 32
    return Used(many / wall_s, ours_s / many * 1e6, redis_s / many * 1e6)


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


def _redis_s(client: Any) -> float:
    used = client.info("cpu")
    return float(used["used_cpu_user_main_thread"] + used["used_cpu_sys_main_thread"])


def _series(title: str, used: list[Used]) -> Series:
    ours, theirs = (
        sorted(getattr(each, name) for each in used)[len(used) // 2] for name in ("ours_us", "redis_us")
    )
    return Series(f"{title} ({ours:.0f} + {theirs:.0f} us)", [each.per_s for each in used])
