"""Waiting events of types that a new version of a handler no longer wants.

`declare` notes the types when it registers the version. The worker that declared it counts their events once and logs
them, since no handler will get them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eventlog.internal import is_internal, is_wanted
from eventlog.reading import object_of, readable
from eventlog.record import UnknownRecord, decode_open, id_order

if TYPE_CHECKING:
    from eventlog.log import EventLog

_SLICE = 2_000  # entries per script call
_MOST = 100_000  # entries of a handler that are read
_MOST_OPEN = 2_000  # open records of a lane that are read
_MOST_TYPES = 50  # that are named


@dataclass(frozen=True)
class Unwanted:
    """The types that the newest version of a handler does not want, although the version before it did.

    Attributes:
        since_ms: when that version was registered.
        waiting: events by type that waited for it then; None before they are counted.
        is_exact: otherwise there are at least so many.
    """

    version: str
    since_ms: int
    types: frozenset[str]
    waiting: Mapping[str, int] | None = None
    is_exact: bool = True

    def covers(self, type: str | None) -> bool:
        """Return whether the handler no longer wants events of this type."""
        return type is not None and (type in self.types or ("*" in self.types and not is_internal(type)))

    @property
    def events(self) -> int:
        """Return how many events waited, of all types."""
        return sum((self.waiting or {}).values())


async def unwanted(log: EventLog) -> dict[str, Unwanted]:
    """Return the types that the newest versions no longer want, by handler."""
    found = await log.redis.hgetall(log.key("unwanted"))
    read = {name.decode("utf-8", "replace"): readable(_read, object_of(said)) for name, said in found.items()}
    return {name: one for name, one in read.items() if one is not None}


async def count_unwanted(log: EventLog, name: str) -> Unwanted | None:
    """Count the waiting events of the types that a handler no longer wants, and record the numbers.

    Returns:
        None when it wants all that it wanted before.
    """
    said = await log.redis.hget(log.key("unwanted"), name)
    if said is None:
        return None
    record = object_of(said)
    if readable(_read, record) is None:
        return None
    types = frozenset(record["types"])
    wants = frozenset((await log.redis.hget(log.key("wants"), name) or b"").decode().split("\n"))
    counts: Counter[str] = Counter()

    def is_dropped(type: str) -> bool:
        """Return whether this type is asked for, as `unwanted.lua` finds it of events after the cursor."""
        return type in types or ("*" in types and not is_internal(type) and not is_wanted(wants, type))

    left, is_exact = _MOST, True
    for lane in range(log.lanes):
        after: Any = ""
        while left > 0:
            after, *found = await log.scripts.unwanted(args=[log.prefix, name, lane, after, _SLICE, *types])
            counts.update({kind.decode(): n for kind, n in zip(found[::2], found[1::2], strict=True)})
            left -= _SLICE
            if not after:
                break
        is_exact = is_exact and not after
        is_exact = await _count_open(log, name, lane, is_dropped, counts) and is_exact
    record["waiting"], record["exact"] = dict(counts.most_common(_MOST_TYPES)), is_exact
    if await log.redis.hget(log.key("unwanted"), name) == said:  # no newer version was registered meanwhile
        await log.redis.hset(log.key("unwanted"), name, json.dumps(record))
    return _read(record)


async def _count_open(
    log: EventLog, name: str, lane: int, is_dropped: Callable[[str], bool], counts: Counter[str]
) -> bool:
    """Add what is open before the cursor; return whether all of it was read."""
    cur = await log.redis.hget(log.key("cur"), f"{name}|{lane}")
    if cur is None:
        return True
    looked, at = 0, 0
    while looked < _MOST_OPEN:
        at, found = await log.redis.hscan(log.key("open", name, lane), at, count=100)
        for id_, data in found.items():
            looked += 1
            try:
                record = decode_open(lane, id_, data)
            except UnknownRecord:
                continue
            if is_dropped(record.event.type) and id_order(id_.decode()) <= id_order(cur.decode()):
                counts[record.event.type] += 1
        if at == 0:
            return True
    return False


def _read(record: Mapping[str, Any]) -> Unwanted:
    return Unwanted(
        record["version"],
        record["at"],
        frozenset(record["types"]),
        record.get("waiting"),
        record.get("exact", True),
    )
