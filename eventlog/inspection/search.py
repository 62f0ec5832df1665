"""Search the log page by page and without bodies, so that no search blocks Redis for long."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Literal, NamedTuple

from eventlog.history import Settled, decode, key_bytes
from eventlog.log import EventLog
from eventlog.record import OpenRecord, decode_open, id_order

LOOKS = 1_000  # entries that one call may read
_ALL_BYTES = 1 << 40


class Where(NamedTuple):
    """A condition on a field of an entry: it equals (`is`) or contains (`has`) the value."""

    field: str
    relation: Literal["is", "has"]
    value: bytes | str


class Found(NamedTuple):
    """An entry of a stream: `size` of its body in bytes, and the requested `fields`."""

    stream_id: str
    size: int
    fields: tuple[bytes, ...]


class End(NamedTuple):
    """The end of a delivery, and its time."""

    at_ms: int
    settled: Settled


async def find(
    log: EventLog,
    stream: str,
    where: Sequence[Where],
    give: Sequence[str],
    *,
    since: str = "-",
    most: int = LOOKS,
) -> AsyncIterator[Found]:
    """Yield the entries of a stream that meet all conditions, oldest first.

    Args:
        give: names of the fields to return; a missing field is empty.
        since: first id to read.
        most: entries that one call may return.
    """
    conditions = [part for condition in where for part in condition]
    done = False
    while not done:
        scanned, all_, found = await log.scripts.find(
            args=[stream, since, LOOKS, most, len(where), *conditions, *give]
        )
        for stream_id, size, *fields in found:
            yield Found(stream_id.decode(), size, tuple(fields))
        done, since = bool(all_), f"({scanned.decode()}"


async def find_open(log: EventLog, handler: str, lane: int, key: str) -> dict[str, tuple[OpenRecord, int]]:
    """Map the stream ids of an entity's open records, in log order, to the record without its body, and its size."""
    found: dict[str, tuple[OpenRecord, int]] = {}
    cursor = b"0"
    while True:
        cursor, *rest = await log.scripts.find_open(
            args=[log.prefix, handler, lane, cursor, LOOKS, key, _ALL_BYTES]
        )
        for raw_id, head, size in zip(rest[::3], rest[1::3], rest[2::3], strict=True):
            record = decode_open(lane, raw_id, head)
            found[record.event.stream_id] = record, size
        if cursor == b"0":
            return dict(sorted(found.items(), key=lambda item: item[1][0].event.order))


async def ends_of_entity(log: EventLog, handler: str, lane: int, key: str) -> list[End]:
    """Return the ends of an entity's deliveries to a handler, oldest first."""
    needle = key_bytes(key)
    stream = log.key("history", handler, lane)
    ends = [
        End(id_order(found.stream_id)[0], settled)
        async for found in find(log, stream, [Where("d", "has", needle)], ["d"])
        for settled in decode(found.fields[0])
    ]
    return [end for end in ends if end.settled.key_hash == int.from_bytes(needle)]
