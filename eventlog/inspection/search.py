"""Search the log page by page and without bodies, so that no search blocks Redis for long."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Literal, NamedTuple

from eventlog.history import Settled, decode, id_bytes, key_bytes
from eventlog.log import EventLog
from eventlog.record import OpenRecord, decode_open

LOOKS = 1_000  # entries that one call may read


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
    """The end of a delivery, and when it came."""

    at_ms: int
    settled: Settled


async def find(
    log: EventLog, stream: str, where: Sequence[Where], give: Sequence[str], *, since: str = "-"
) -> AsyncIterator[Found]:
    """Yield the entries of a stream that meet all conditions, oldest first.

    Args:
        give: names of the fields to return; a missing field is empty.
        since: first id to read.
    """
    conditions = [part for condition in where for part in condition]
    done = False
    while not done:
        scanned, all_, found = await log.scripts.find(
            args=[stream, since, LOOKS, len(where), *conditions, *give]
        )
        for stream_id, size, *fields in found:
            yield Found(stream_id.decode(), size, tuple(fields))
        done, since = bool(all_), f"({scanned.decode()}"


async def find_open(log: EventLog, handler: str, lane: int, key: str) -> dict[str, tuple[OpenRecord, int]]:
    """Map the stream ids of an entity's open records, in log order, to the record without its body, and its size."""
    found: dict[str, tuple[OpenRecord, int]] = {}
    cursor = b"0"
    while True:
        cursor, *rest = await log.scripts.find_open(args=[log.prefix, handler, lane, cursor, LOOKS, key])
        for raw_id, head, size in zip(rest[::3], rest[1::3], rest[2::3], strict=True):
            record = decode_open(lane, raw_id, head)
            found[record.event.stream_id] = record, size
        if cursor == b"0":
            return dict(sorted(found.items(), key=lambda item: item[1][0].event.order))


async def open_record(log: EventLog, handler: str, lane: int, stream_id: str) -> OpenRecord | None:
    """Return the open record of one event at a handler; None when there is none."""
    raw = await log.redis.hget(log.key("open", handler, lane), stream_id)
    return decode_open(lane, stream_id.encode(), raw) if raw else None


async def ends_of_event(log: EventLog, handler: str, lane: int, stream_id: str) -> list[End]:
    """Return the ends of one event's deliveries to a handler, oldest first. A replay adds one."""
    ms = stream_id.partition("-")[0]
    ends = await _ends(log, handler, lane, id_bytes(stream_id), since=ms)
    return [end for end in ends if end.settled.stream_id == stream_id]


async def ends_of_entity(log: EventLog, handler: str, lane: int, key: str) -> list[End]:
    """Return the ends of an entity's deliveries to a handler, oldest first."""
    needle = key_bytes(key)
    ends = await _ends(log, handler, lane, needle, since="-")
    return [end for end in ends if end.settled.key_hash == int.from_bytes(needle)]


async def _ends(log: EventLog, handler: str, lane: int, needle: bytes, *, since: str) -> list[End]:
    stream = log.key("history", handler, lane)
    return [
        End(int(found.stream_id.partition("-")[0]), settled)
        async for found in find(log, stream, [Where("d", "has", needle)], ["d"], since=since)
        for settled in decode(found.fields[0])
    ]
