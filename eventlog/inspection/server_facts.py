"""What the Redis server says about its version, memory, disk and replicas, for people who check a deployment."""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from redis.exceptions import ResponseError

from eventlog.log import EventLog
from eventlog.server import Server, server_of

_PINGS = 20
_WRITES = 5


@dataclass(frozen=True)
class ServerFacts(Server):
    """One answer to INFO, all of it, and the one setting that is only in CONFIG. None is unknown.

    Attributes:
        product: name and version, such as `Valkey 9.1.0`.
        major: first number of the Redis version that it is compatible with.
        file_fault: the last fault of the append-only file; empty without one.
        fsync: `appendfsync`; None where CONFIG is forbidden.
        max_memory, system_memory: in bytes; `max_memory` is 0 without a limit.
        replicas: those that are online.
        min_replicas: whether writes need a replica (`min-replicas-to-write`).
    """

    product: str
    major: int | None
    file_fault: str
    fsync: str | None
    used_memory: int | None
    max_memory: int | None
    system_memory: int | None
    replicas: int | None
    min_replicas: bool


async def server_facts(log: EventLog) -> ServerFacts:
    """Ask the server.

    Raises:
        redis.RedisError, OSError: it does not answer, or forbids INFO.
    """
    said: Mapping[str, Any] = await log.redis.info()
    try:
        configured = await log.redis.config_get("appendfsync")
    except ResponseError:  # forbidden, as managed services do
        configured = {}
    version = str(said.get("redis_version", ""))
    numbers = re.match(r"\d{1,4}", version)
    return ServerFacts(
        **vars(server_of(said)),
        product=_product(said, version),
        major=int(numbers[0]) if numbers else None,
        file_fault=_file_fault(said),
        fsync=_first(configured),
        used_memory=said.get("used_memory"),
        max_memory=said.get("maxmemory"),
        system_memory=said.get("total_system_memory"),
        replicas=_online(said),
        min_replicas="min_slaves_good_slaves" in said,
    )


@dataclass(frozen=True)
class Latency:
    """Seconds that calls took: the middle and the longest of some pings, and the middle of some writes."""

    ping_s: float
    longest_ping_s: float
    write_s: float


async def measured_latency(log: EventLog) -> Latency:
    """Time some pings, and some writes to a key of ours that has no meaning.

    Raises:
        redis.RedisError, OSError: the server does not answer, or takes no writes.
    """
    await log.redis.ping()  # opens the connection
    pings = [await _seconds(log.redis.ping) for _ in range(_PINGS)]
    key = log.key("writable")
    await log.scripts.probe(args=[key])  # loads the script
    writes = [await _seconds(log.scripts.probe, args=[key]) for _ in range(_WRITES)]
    return Latency(statistics.median(pings), max(pings), statistics.median(writes))


async def clock_difference_s(log: EventLog) -> float:
    """Return by how many seconds the clock of Redis is ahead of ours.

    Raises:
        redis.RedisError, OSError: the server does not answer.
    """
    before_s = time.time()
    seconds, micros = await log.redis.time()
    return float(seconds + micros / 1e6 - (before_s + time.time()) / 2)


async def _seconds(call: Any, **arguments: Any) -> float:
    started = time.perf_counter()
    await call(**arguments)
    return time.perf_counter() - started


def _product(said: Mapping[str, Any], version: str) -> str:
    if "valkey_version" in said:
        return f"Valkey {said['valkey_version']}"
    return f"Redis {version}" if version else ""


def _file_fault(said: Mapping[str, Any]) -> str:
    for name in ("aof_last_write_status", "aof_last_bgrewrite_status"):
        if said.get(name, "ok") != "ok":
            return f"{name} is {said[name]}"
    return ""


def _online(said: Mapping[str, Any]) -> int | None:
    if "connected_slaves" not in said:
        return None
    listed = [value for name, value in said.items() if re.fullmatch(r"slave\d+", name)]
    return sum(1 for one in listed if isinstance(one, dict) and one.get("state") == "online")


def _first(configured: Mapping[Any, Any]) -> str | None:
    for value in configured.values():
        return value.decode() if isinstance(value, bytes) else str(value)
    return None
