"""`--part console`: every page of the console, in a process of its own, over a log with a million events."""

from __future__ import annotations

import asyncio
import http.client
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median
from time import perf_counter

import redis

from benchmarks import logs, machine
from benchmarks.report import Bound, Ratio, Series
from benchmarks.used import redis_s
from console.application import MOUNTED_AT
from tests.large_deployment import made, pages_of

PREFIX = "console:"
AT_MOST_MS, AT_MOST_BYTES, AT_MOST_PAGE_KIB = 150.0, 200_000, 100.0

_EACH = 10  # times that a page is asked for in a round
_LANES = 4


@dataclass
class Asked:
    """What one page cost each time.

    Attributes:
        used_ms: processor time of console and Redis together, means of a round each.
        redis_bytes: that Redis sent.
    """

    ms: list[float] = field(default_factory=list)
    used_ms: list[float] = field(default_factory=list)
    redis_bytes: list[int] = field(default_factory=list)
    page_bytes: list[int] = field(default_factory=list)

    def quantile_ms(self, share: float) -> float:
        """Return the time that this share of the answers did not exceed."""
        return sorted(self.ms)[min(len(self.ms) - 1, int(share * len(self.ms)))]


def console(redis_url: str, rounds: int, many: int) -> tuple[list[Series], list[Ratio | Bound], list[str]]:
    """Ask for each page in turn."""
    url, port = f"{redis_url}?db=11", machine.free_port()
    paths = asyncio.run(_written(url, many))
    environ = {
        "AWR_REDIS_URL": url,
        "AWR_KEY_PREFIX": PREFIX,
        "AWR_LANES": str(_LANES),
        "AWR_ADMIN_PORT": str(port),
        "AWR_LOG_LEVEL": "error",
    }
    asked = {path: Asked() for path in paths}
    with machine.measured(["commands", "console"], environ) as process, redis.Redis.from_url(url) as client:
        machine.wait_until_answering(port, process, f"{MOUNTED_AT}/help")
        for path in paths:
            _ask(port, path, client)  # templates and scripts are loaded
        for _ in range(rounds):
            for path, found in asked.items():
                used_s = (machine.cpu_s(process.pid) or 0.0) + redis_s(client)
                for _ in range(_EACH):
                    ms, redis_bytes, page_bytes = _ask(port, path, client)
                    found.ms.append(ms)
                    found.redis_bytes.append(redis_bytes)
                    found.page_bytes.append(page_bytes)
                used_s = (machine.cpu_s(process.pid) or 0.0) + redis_s(client) - used_s
                found.used_ms.append(used_s / _EACH * 1000)
    with redis.Redis.from_url(url) as client:
        client.flushdb()
    return _series(asked), _bounds(asked), _notes(asked)


async def _written(url: str, many: int) -> list[str]:
    async with logs.opened(url, PREFIX) as log, logs.opened(url, f"sample-{PREFIX}") as sample:
        log.lanes = sample.lanes = _LANES
        return list(await pages_of(await made(log, sample, many)))


def _ask(port: int, path: str, client: redis.Redis) -> tuple[float, int, int]:
    """Return milliseconds, bytes from Redis and bytes of a page.

    Raises:
        RuntimeError: there is no such page, or it could not be read.
    """
    sent = _sent(client)
    began = perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", f"{MOUNTED_AT}{path}")
    answer = connection.getresponse()
    text = answer.read()
    ms = (perf_counter() - began) * 1000
    connection.close()
    if answer.status not in (200, 404):
        raise RuntimeError(f"{path}: {answer.status}")
    return ms, _sent(client) - sent, len(text)


def _sent(client: redis.Redis) -> int:
    stats: Mapping[str, int] = client.info("stats")
    return stats["total_net_output_bytes"]


def _name(path: str) -> str:
    """Return a path without its ids, which differ from run to run."""
    plain = re.sub(r"\d{13}-\d+", "…", path)
    return plain if len(plain) <= 50 else f"{plain[:49]}…"


def _series(asked: Mapping[str, Asked]) -> list[Series]:
    return [
        Series(
            _name(path),
            [1000 / median(found.ms)],
            p50_ms=[median(found.ms)],
            p99_ms=[found.quantile_ms(0.99)],
        )
        for path, found in asked.items()
    ]


def _bounds(asked: Mapping[str, Asked]) -> list[Ratio | Bound]:
    costs = asked.values()
    return [
        Bound("slowest page, median, ms", [max(median(one.ms) for one in costs)], AT_MOST_MS),
        Bound("slowest page, p99, ms", [max(one.quantile_ms(0.99) for one in costs)], AT_MOST_MS),
        Bound(
            "most bytes from Redis for a page", [max(max(one.redis_bytes) for one in costs)], AT_MOST_BYTES
        ),
        Bound("largest page, KiB", [max(max(one.page_bytes) for one in costs) / 1024], AT_MOST_PAGE_KIB),
    ]


def _notes(asked: Mapping[str, Asked]) -> list[str]:
    notes = ["Of each page: processor time of console and Redis (ms), KB from Redis and KiB at most:"]
    notes += [
        f"  {_name(path):<50} {median(one.used_ms):7.1f} {max(one.redis_bytes) / 1000:7.1f} "
        f"{max(one.page_bytes) / 1024:7.1f}"
        for path, one in asked.items()
    ]
    return notes
