"""Select kept events of a handler by time, type and entity, for a replay. It only reads, page by page."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from eventlog.clock import rfc3339
from eventlog.entity_records import is_timer
from eventlog.log import EventLog
from eventlog.record import StoredEvent, decode_event

_LOOKS = 2_000  # events that one script may read
_GIVES, _BYTES = 256, 1 << 20  # and return; after each page of a replay, a drain reads all of `open` again


@dataclass(frozen=True)
class Selection:
    """Selects kept events of a handler.

    Attributes:
        from_ms, to_ms: when they arrived, both inclusive.
        types: notification types; `*` for all.
        key: entity key, or None for all.
    """

    handler: str
    from_ms: int
    to_ms: int
    types: tuple[str, ...]
    key: str | None = None

    def document(self) -> dict[str, Any]:
        """Return the selection as the audit records it, with times in RFC 3339."""
        return {
            "handler": self.handler,
            "from": rfc3339(self.from_ms),
            "to": rfc3339(self.to_ms),
            "types": list(self.types),
            "key": self.key,
        }

    def lanes(self, log: EventLog) -> tuple[int, ...]:
        """Return the lanes that can hold selected events."""
        return tuple(range(log.lanes)) if self.key is None else (log.lane_of(self.key, b""),)


def types_to_replay(wanted: Iterable[str], named: Collection[str]) -> tuple[str, ...]:
    """Return the types of a selection: those that are named, or all that a handler wants but timers.

    Replayed events set their timers again, so timers of that time are replayed only where their type is named.
    """
    return tuple(sorted(set(named) or {each for each in wanted if not is_timer(each)}))


@dataclass(frozen=True)
class Survey:
    """The size of a selection, and when its first and its last event arrived.

    Attributes:
        looked: most events that were read; 0 where all were.
        is_complete: False when the bound was reached, so there may be more.
    """

    by_type: Mapping[str, int]
    first_ms: int | None
    last_ms: int | None
    looked: int = 0
    is_complete: bool = True

    @property
    def total(self) -> int:
        return sum(self.by_type.values())


async def survey(log: EventLog, selection: Selection, *, looks: int | None = None) -> Survey:
    """Count the events of a selection.

    Args:
        looks: about how many events may be read, all lanes together; None for all.
    """
    counts: Counter[str] = Counter()
    first: int | None = None
    last: int | None = None
    lanes = selection.lanes(log)
    each = _LOOKS if looks is None else max(1, looks // len(lanes))
    is_complete = True
    for lane in lanes:
        after, done = "", False
        while not done:
            scanned, done, found = await _match(
                log, selection, lane, after, gives=_LOOKS, max_bytes=0, looks=each
            )
            after = scanned or after
            for raw_id, type_name in found:
                at_ms = int(raw_id.partition(b"-")[0])
                first = at_ms if first is None else min(first, at_ms)
                last = at_ms if last is None else max(last, at_ms)
                counts[type_name.decode("utf-8", "replace")] += 1
            if looks is not None and not done:
                is_complete = False
                break
    return Survey(dict(sorted(counts.items())), first, last, looks or 0, is_complete)


async def events(log: EventLog, selection: Selection) -> AsyncIterator[StoredEvent]:
    """Yield the selected events lane by lane, each lane in order."""
    for lane in selection.lanes(log):
        after, done = "", False
        while not done:
            after, done, page = await page_after(log, selection, lane, after)
            for event in page:
                yield event


async def page_after(
    log: EventLog, selection: Selection, lane: int, after: str
) -> tuple[str, bool, list[StoredEvent]]:
    """Read the selected events of a lane that follow an id.

    Args:
        after: stream id; empty for the first page.

    Returns:
        The last id that was read, whether it was the last page, and the events.
    """
    scanned, done, found = await _match(log, selection, lane, after, gives=_GIVES, max_bytes=_BYTES)
    return scanned, done, [decode_event(lane, raw_id, fields) for raw_id, fields in found]


async def _match(
    log: EventLog,
    selection: Selection,
    lane: int,
    after: str,
    *,
    gives: int,
    max_bytes: int,
    looks: int = _LOOKS,
) -> tuple[str, bool, list[tuple[bytes, Any]]]:
    low = f"({after}" if after else str(selection.from_ms)
    limits: list[str | int] = [low, selection.to_ms, looks, gives, max_bytes]
    scanned, done, found = await log.scripts.match(
        args=[log.prefix, lane, *limits, selection.key or "", *selection.types]
    )
    return scanned.decode(), bool(done), found
