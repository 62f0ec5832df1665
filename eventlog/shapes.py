"""Stores what was seen of the structure of notifications: one record per type, which this room does not read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from eventlog.internal import SHAPE_DRIFTED, internal_event, key_of_shape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eventlog.log import EventLog

MOST_TYPES: Final = 200
"""How many types that the contract does not know may have a record."""

_NO_LIMIT: Final = 1_000_000


class Put(NamedTuple):
    """What became of a record: `put`, `moved` (another process changed it), or `full` (too many types).

    Attributes:
        wake: queues to wake.
    """

    outcome: Literal["put", "moved", "full"]
    wake: list[str]


async def stored_shapes(log: EventLog) -> dict[str, bytes]:
    """Return the records of all types."""
    found = await log.redis.hgetall(log.key("shapes"))
    return {name.decode(errors="replace"): record for name, record in found.items()}


async def shape_sizes(log: EventLog) -> dict[str, int]:
    """Return the bytes of each record by its type, sorted by type, without reading the records."""
    names = sorted(await log.redis.hkeys(log.key("shapes")))
    async with log.redis.pipeline(transaction=False) as asked:
        for name in names:
            asked.hstrlen(log.key("shapes"), name)
        sizes = await asked.execute() if names else []
    return {name.decode(errors="replace"): size for name, size in zip(names, sizes, strict=True)}


async def some_shapes(log: EventLog, types: Sequence[str]) -> dict[str, bytes]:
    """Return the records of these types that exist."""
    found = await log.redis.hmget(log.key("shapes"), types) if types else []
    return {name: record for name, record in zip(types, found, strict=True) if record is not None}


async def stored_shape(log: EventLog, type: str) -> bytes:
    """Return the record of a type; empty when there is none."""
    found: bytes | None = await log.redis.hget(log.key("shapes"), type)
    return found or b""


async def put_shape(
    log: EventLog, type: str, before: bytes, after: bytes, *, is_known: bool, drifted: Sequence[str] = ()
) -> Put:
    """Replace the record of a type, if it still is the one that was read, and announce new drifts with it.

    Args:
        before: the record as it was read; empty when there was none.
        is_known: whether the contract has the type; only others are limited in number.
        drifted: paths that differ, to be announced.
    """
    arguments = [log.prefix, type, before, after, _NO_LIMIT if is_known else MOST_TYPES]
    if drifted:
        event = internal_event(SHAPE_DRIFTED, key_of_shape(type), {"eventType": type, "paths": list(drifted)})
        arguments += event.arguments(log)
    outcome, wake = await log.scripts.put_shape(args=arguments)
    return Put(outcome.decode(), [queue.decode() for queue in wake])
