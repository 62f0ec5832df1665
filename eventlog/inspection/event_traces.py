"""Reads what one handler has of one event: open record, ends of deliveries, dead letter. No body is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from eventlog.history import decode, id_bytes
from eventlog.inspection.delivery_state import State
from eventlog.inspection.search import End
from eventlog.log import EventLog
from eventlog.record import OpenRecord, StoredEvent, decode_open, id_order

_LOOKS = 1_000  # entries that one call may read
_NEAR_LOOKS = 100  # letters that are read around the time of an end
_UNBOUNDED = 1 << 40


class Limits(NamedTuple):
    """What may be read to explain one event.

    Attributes:
        ends: entries of all histories.
        letters: dead letters of all handlers.
        equals: events before it, to find one with its body.
        copies: dropped copies that are given.
        bytes: of open records and ends.
        gap_bytes: of the records of gaps.
    """

    ends: int = _UNBOUNDED
    letters: int = _UNBOUNDED
    equals: int = _UNBOUNDED
    copies: int = _UNBOUNDED
    bytes: int = _UNBOUNDED
    gap_bytes: int = _UNBOUNDED


ALL: Final = Limits()
OF_PAGE: Final = Limits(ends=10_000, letters=5_000, equals=2_000, copies=50, bytes=100_000, gap_bytes=30_000)


class EventLetter(NamedTuple):
    """A dead letter of the event, without its body. Long texts are cut."""

    id: str
    type: str
    key: str
    reason: str


@dataclass
class EventTraces:
    """What one handler has of the event.

    Attributes:
        open: its open record, and the one that it is parked behind, of which only id and time are known.
        size: of the body in that record, in bytes.
        cut: the state of an open record that was beyond the bound of bytes.
        is_partial: whether only a part of its history was read.
    """

    open: list[OpenRecord] = field(default_factory=list)
    size: int = 0
    cut: State | None = None
    ends: list[End] = field(default_factory=list)
    is_partial: bool = False
    letter: EventLetter | None = None


class EventReader:
    """Reads the traces of one event, handler by handler, within limits for all of them.

    Args:
        handlers: how many there are. Each may read an equal share of the entries that are left.
    """

    def __init__(self, log: EventLog, lane: int, stream_id: str, handlers: int, limits: Limits) -> None:
        self._log = log
        self._lane = lane
        self._id = stream_id
        self._handlers = handlers
        self._ends, self._letters, self._bytes = limits.ends, limits.letters, limits.bytes

    async def read(self, handler: str) -> EventTraces:
        """Return what a handler has of the event. To be called once for each handler."""
        found = EventTraces()
        await self._read_open(handler, found)
        await self._read_ends(handler, found)
        if not found.open and found.cut is None:
            found.letter = await self._letter(handler, found)
        self._handlers -= 1
        return found

    async def _read_open(self, handler: str, found: EventTraces) -> None:
        args = self._log.prefix, handler, self._lane, self._bytes, self._id
        head, found.size = await self._log.scripts.open_heads(args=args)
        if head.startswith(b"["):
            found.cut = head[1:-1].decode()
        elif head:
            self._bytes -= len(head)
            record = decode_open(self._lane, self._id.encode(), head)
            found.open = [record, *await self._before(handler, record)]

    async def _before(self, handler: str, record: OpenRecord) -> Sequence[OpenRecord]:
        """Return the record that a parked one waits for: the oldest before it that has its key."""
        key, oldest, cursor = record.event.key, None, b"0"
        if record.state != "parked" or key is None:
            return ()
        while True:
            cursor, raw_id, due = await self._log.scripts.open_before(
                args=[
                    *(self._log.prefix, handler, self._lane, cursor, _LOOKS),
                    *(self._id, key, record.own_key or ""),
                ]
            )
            if raw_id and (oldest is None or id_order(raw_id.decode()) < oldest.event.order):
                id_ = raw_id.decode()
                event = StoredEvent(self._lane, id_, "", key, b"", id_order(id_)[0])
                oldest = OpenRecord(event, "retry", int(due) if due else None, own_key=record.own_key)
            if cursor == b"0":
                return () if oldest is None else (oldest,)

    async def _read_ends(self, handler: str, found: EventTraces) -> None:
        """Read how its deliveries ended, from its arrival on. A replay adds an end, so reading goes on after one.

        Where not all may be read, the end of a delivery that waited for long is looked for where it should be.
        """
        try:
            packed_id = id_bytes(self._id)
        except OverflowError:  # no event has an id of such a time
            return
        arrived = str(id_order(self._id)[0])
        left, from_ = self._ends // self._handlers, arrived
        while left > 0:
            size = min(_LOOKS, left)
            last, is_all = await self._some_ends(handler, found, packed_id, from_, "on", size)
            if is_all:
                return
            left, self._ends, from_ = left - size, self._ends - size, f"({last}"
        found.is_partial = True
        if not found.ends:
            await self._some_ends(handler, found, packed_id, arrived, "around", _LOOKS)

    async def _some_ends(
        self, handler: str, found: EventTraces, packed_id: bytes, from_: str, way: str, looks: int
    ) -> tuple[str, bool]:
        """Add the ends of a part of the history; return the last id that was read, and whether that was all."""
        last, is_all, *rest = await self._log.scripts.ends(
            args=[
                *(self._log.prefix, handler, self._lane, from_, way, looks, packed_id),
                max(1, self._bytes),
            ]
        )
        for entry_id, packed in zip(rest[::2], rest[1::2], strict=True):
            self._bytes -= len(packed)
            at_ms = id_order(entry_id.decode())[0]
            found.ends += [End(at_ms, settled) for settled in decode(packed)]
        return last.decode(), bool(is_all)

    async def _letter(self, handler: str, found: EventTraces) -> EventLetter | None:
        """Return its dead letter.

        The end of that delivery was written in the same change, so it shows where the letter is.
        """
        dead_ms = next((end.at_ms for end in reversed(found.ends) if end.settled.outcome == "dead"), None)
        if dead_ms is not None:
            near, _, _ = await self._newest_letter(handler, f"({dead_ms + 1}-0", _NEAR_LOOKS)
            if near is not None:
                return near
        elif found.ends and not found.is_partial:
            return None
        left, high = self._letters // self._handlers, "+"
        while left > 0:
            size = min(_LOOKS, left)
            letter, last, is_all = await self._newest_letter(handler, high, size)
            if letter is not None or is_all:
                return letter
            left, self._letters, high = left - size, self._letters - size, f"({last}"
        return None

    async def _newest_letter(
        self, handler: str, high: str, looks: int
    ) -> tuple[EventLetter | None, str, bool]:
        event_id = f"{self._lane}-{self._id}"
        answer: list[Any] = await self._log.scripts.newest_letters(
            args=[self._log.prefix, handler, "event", event_id, high, looks, 1]
        )
        last, is_all, *raw = answer
        if not raw:
            return None, last.decode(), bool(is_all)
        id_, _, type_, key, reason = (value.decode(errors="replace") for value in raw)
        return EventLetter(f"{handler}/{id_}", type_, key, reason), last.decode(), bool(is_all)


async def equal_before(log: EventLog, lane: int, stream_id: str, limits: Limits) -> str | None:
    """Return the id of the last event before one that has its body; None if none was found."""
    left, high = limits.equals, f"({stream_id}"
    while left > 0:
        size = min(_LOOKS, left)
        last, is_all, found = await log.scripts.equal_before(args=[log.prefix, lane, stream_id, high, size])
        if found:
            return f"{lane}-{found.decode()}"
        if is_all:
            return None
        left, high = left - size, f"({last.decode()}"
    return None
