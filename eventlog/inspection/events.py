"""Read kept events and totals: one event by its id, the newest events, and the counters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from eventlog.clock import LAST_MS
from eventlog.errors import UnknownRecord
from eventlog.ids import EVENT_ID, id_order
from eventlog.log import EventLog
from eventlog.reading import whole
from eventlog.record import StoredEvent, decode_event

UNREADABLE = "(cannot be read)"  # stands for the type of a record that this release cannot read
_PAGE = 200


@dataclass(frozen=True)
class LogCounts:
    """Totals since the log was made.

    Attributes:
        by_type: accepted events per notification type.
        internal: events this service made itself, per type; they are not among the accepted.
        duplicates_by_reason: `DuplicateReason` -> count. Earlier versions counted no reasons.
    """

    accepted: int
    duplicates: int
    quarantined: int
    by_type: Mapping[str, int]
    internal: Mapping[str, int] = field(default_factory=dict)
    duplicates_by_reason: Mapping[str, int] = field(default_factory=dict)


async def read_counts(log: EventLog) -> LogCounts:
    """Return the totals since the log was made."""
    found = await log.redis.hgetall(log.key("counts"))
    raw = {name.decode("utf-8", "replace"): whole(value) or 0 for name, value in found.items()}
    return LogCounts(
        accepted=raw.get("accepted", 0),
        duplicates=raw.get("duplicates", 0),
        quarantined=raw.get("quarantined", 0),
        by_type=_counted("accepted:", raw),
        internal=_counted("internal:", raw),
        duplicates_by_reason=_counted("duplicates:", raw),
    )


async def read_event(log: EventLog, event_id: str) -> StoredEvent | None:
    """Return a kept event by its id; None when there is none."""
    found = EVENT_ID.fullmatch(event_id)
    if found is None:
        return None
    lane, stream_id = found.groups()
    page = await log.redis.xrange(log.key("events", lane), min=stream_id, max=stream_id)
    return stored_event(int(lane), *page[0]) if page else None


def stored_event(lane: int, raw_id: bytes, fields: Mapping[bytes, bytes]) -> StoredEvent:
    """Decode an entry of a lane as the Redis client returns it."""
    return decode_event(lane, raw_id, [part for pair in fields.items() for part in pair])


def listed_event(lane: int, raw_id: bytes, fields: Mapping[bytes, bytes]) -> StoredEvent:
    """Decode an entry of a lane for a list. One that cannot be read hides no other: its id stands there alone."""
    try:
        return stored_event(lane, raw_id, fields)
    except UnknownRecord:
        stream_id = raw_id.decode()
        return StoredEvent(lane, stream_id, UNREADABLE, None, b"", min(id_order(stream_id)[0], LAST_MS))


async def list_events(
    log: EventLog, *, limit: int = 50, type: str | None = None, key: str | None = None
) -> list[StoredEvent]:
    """Return the newest events first, at most `limit`, filtered by exact type or entity key."""
    lanes = range(log.lanes) if key is None else (log.lane_of(key, b""),)
    found: list[StoredEvent] = []
    for lane in lanes:
        before, kept = "+", 0
        while kept < limit:
            page = await log.redis.xrevrange(log.key("events", lane), max=before, count=_PAGE)
            for raw_id, fields in page:
                event = listed_event(lane, raw_id, fields)
                if (type is None or event.type == type) and (key is None or event.key == key):
                    found.append(event)
                    kept += 1
            if len(page) < _PAGE:
                break
            before = f"({page[-1][0].decode()}"
    found.sort(key=lambda event: event.order, reverse=True)
    return found[:limit]


def _counted(marker: str, counts: Mapping[str, int]) -> dict[str, int]:
    """Return the counters whose names start with a marker, without the marker."""
    return {name.removeprefix(marker): n for name, n in counts.items() if name.startswith(marker)}
