"""Whether the server keeps what it was given as durably as we were told it would."""

from __future__ import annotations

import re

import redis.asyncio
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.exceptions import ResponseError

from eventlog.log import EventLog

_REPLICATED = re.compile(r"replicated:([1-9]\d?)")


def check_durability(value: str) -> str:
    """The value, if it is one of `always`, `everysec` and `replicated:n`.

    Raises:
        ValueError: it is none.
    """
    if value not in ("always", "everysec") and not _REPLICATED.fullmatch(value):
        raise ValueError("must be always, everysec, or replicated:n with the number of replicas")
    return value


def replicas_of(durability: str) -> int:
    """How many replicas must have an event before it counts as accepted; 0 where none has to."""
    found = _REPLICATED.fullmatch(durability)
    return int(found[1]) if found else 0


async def shortfall(log: EventLog, durability: str) -> str | None:
    """What the server says that is weaker than was asked for, in a few words.

    None when it is as strong, or when the server does not tell (managed services often refuse CONFIG). Whether there
    are replicas enough is found out with every append.
    """
    try:
        found = await log.redis.config_get("appendonly", "appendfsync")
    except ResponseError:
        return None
    answer = {_text(name): _text(value) for name, value in found.items()}
    if answer.get("appendonly") == "no":
        return "appendonly is no"
    if not replicas_of(durability) and answer.get("appendfsync") not in (None, "always", durability):
        return f"appendfsync is {answer['appendfsync']}"
    return None


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


async def unguarded_master(client: redis.asyncio.Redis) -> str | None:
    """What the present master lacks, in a few words.

    A master that is cut off from the others does not know that it was replaced. It refuses writes then only where
    `min-replicas-to-write` (with a `min-replicas-max-lag`) tells it to.

    Returns:
        None when it is told to, and for a client that no sentinel guides.

    Raises:
        redis.RedisError: it could not be asked.
    """
    if not isinstance(client.connection_pool, SentinelConnectionPool):
        return None
    found = await client.info("replication")  # CONFIG may be forbidden, this is not
    return None if "min_slaves_good_slaves" in found else "min-replicas-to-write is 0"
