"""Check that the current Redis is as durable as configured."""

from __future__ import annotations

import re

import redis.asyncio
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.exceptions import ResponseError

from eventlog.log import EventLog
from eventlog.server import server

_REPLICATED = re.compile(r"replicated:([1-9]\d?)")


def check_durability(value: str) -> str:
    """Return the value if it is one of `always`, `everysec` and `replicated:n`.

    Raises:
        ValueError: it is none of them.
    """
    if value not in ("always", "everysec") and not _REPLICATED.fullmatch(value):
        raise ValueError("must be always, everysec, or replicated:n with the number of replicas")
    return value


def replicas_of(durability: str) -> int:
    """Return how many replicas must have an event before it counts as accepted; 0 if none."""
    found = _REPLICATED.fullmatch(durability)
    return int(found[1]) if found else 0


class DurabilityUnknown(Exception):
    """The server does not say how durable it is."""


async def shortfall(log: EventLog, durability: str) -> str | None:
    """Return in a few words which setting of the server is weaker than configured.

    Every append checks whether there are enough replicas, so this function does not.

    Returns:
        None when the server is as durable as configured.

    Raises:
        DurabilityUnknown: the server has an append-only file, or does not say so, and forbids CONFIG, as managed
            services often do. Then it is unknown when the file is written.
        redis.RedisError, OSError: the server did not answer.
    """
    try:
        found = await log.redis.config_get("appendonly", "appendfsync")
    except ResponseError:
        if (await server(log)).keeps_file is False:
            return "appendonly is no"
        raise DurabilityUnknown from None
    answer = {_text(name): _text(value) for name, value in found.items()}
    if answer.get("appendonly") == "no":
        return "appendonly is no"
    if not replicas_of(durability) and answer.get("appendfsync") not in (None, "always", durability):
        return f"appendfsync is {answer['appendfsync']}"
    return None


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


async def unguarded_master(client: redis.asyncio.Redis) -> str | None:
    """Return in a few words which protection the current master lacks.

    A master that is cut off from the others does not know that it was replaced. It refuses writes then only if
    `min-replicas-to-write` (with a `min-replicas-max-lag`) is set.

    Returns:
        None when the setting is there, and for a client without sentinels.

    Raises:
        redis.RedisError: the master did not answer.
    """
    if not isinstance(client.connection_pool, SentinelConnectionPool):
        return None
    found = await client.info("replication")  # CONFIG may be forbidden, INFO is not
    return None if "min_slaves_good_slaves" in found else "min-replicas-to-write is 0"
