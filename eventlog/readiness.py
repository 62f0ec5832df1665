"""Readiness of the log: tries what the endpoint does, so that a missing permission shows before the first event.

The empty append runs every second and changes nothing. The full one runs once, at the claim, under a prefix of its
own, and removes what it wrote.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from redis.exceptions import OutOfMemoryError, RedisError, ResponseError

from eventlog.clock import now_ms
from eventlog.connection.reasons import FULL, reason_of

if TYPE_CHECKING:
    from eventlog.log import EventLog

_TRIED = "tried:"  # after the log's own prefix, so that the same permissions count
_HOURS = 24


async def ready(log: EventLog) -> None:
    """Check that Redis takes an append, and passes writes to the required number of replicas.

    Raises:
        redis.RedisError, OSError: it does not.
    """
    await log.channel.call(log.scripts.append, [log.prefix, _HOURS, log.wake_throttle_ms])
    if log.replicas:  # WAIT needs a write to wait for
        await log.channel.call(log.scripts.probe, [log.key("writable")], replicas=log.replicas)


async def ready_to_drain(log: EventLog) -> bool:
    """Check the same for a worker, which also works on a full server: what it settles makes room.

    Returns:
        Whether Redis takes an append.

    Raises:
        redis.RedisError, OSError: Redis cannot be used.
    """
    try:
        await ready(log)
    except RedisError as error:
        if reason_of(error).slug != FULL:
            raise
        return False
    return True


async def try_append(log: EventLog) -> None:
    """Append one event of a handler under a prefix of its own, and remove it.

    Raises:
        redis.RedisError, OSError: Redis refused a part of it.
    """
    prefix = log.key(_TRIED.rstrip(":")) + ":"
    nonce = os.urandom(12)
    # The arguments of one event: see append.lua.
    event: list[Any] = ["e", 0, "tried", "", b"{}", now_ms(), "", "", nonce, "mark", "", nonce, "tried"]
    await log.redis.hset(f"{prefix}routes", "tried", "tried\ttried")
    answers, *_ = await log.channel.call(log.scripts.append, [prefix, _HOURS, 1, *event])
    refused = answers[0][1:].decode() if answers[0].startswith(b"!") else ""
    kept = [
        f"{prefix}{name}" for name in ("events:0", "added", "counts", "routes", "due:tried", "wake:tried")
    ]
    await log.redis.delete(*kept)  # the rest ends by itself
    if refused.startswith("OOM"):
        raise OutOfMemoryError(refused)
    if refused:  # only the append itself answers like this, and Redis 7.0 does not name it
        raise ResponseError(f"{refused}, permission to run the 'xadd' command")
