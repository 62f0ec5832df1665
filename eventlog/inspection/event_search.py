"""Search events from the newest on, page by page and without bodies. A page reads a bounded number of entries.

The lanes are read side by side. An event is returned only when every lane was read back to it. So pages are in the
order of arrival, and no event is left out.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from eventlog.ids import end_before
from eventlog.inspection.delivery_state import HandlerFacts
from eventlog.log import EventLog
from eventlog.reading import arrived_ms
from eventlog.record import UnknownRecord, id_order, read_marks

LOOKS: Final = 2_000  # entries that one page may read
WAITING: Final = "waiting"
SETTLED: Final = "settled"
NOT_WANTED: Final = "not-wanted"
STATES: Final = (WAITING, "running", "retry", "parked", "replay", SETTLED)

_FIRST_LOOKS = 50  # of each lane
_MORE_LOOKS = 250  # of the lane that holds up the others
_GIVE = ("t", "k", "r", "m", "s")
_PLACE = re.compile(r"([0-9]{1,4})-(?!0+-0+\Z)([0-9]{1,15})-([0-9]{1,18})")


class Place(NamedTuple):
    """A place in the order of all lanes: by time of arrival, then by number, then by lane."""

    ms: int
    number: int
    lane: int

    @classmethod
    def of(cls, event_id: str) -> Place:
        """Return the place of an event's id; ValueError if it is none."""
        found = _PLACE.fullmatch(event_id)
        if found is None:
            raise ValueError("is not an event id")
        return cls(int(found[2]), int(found[3]), int(found[1]))

    @property
    def event_id(self) -> str:
        return f"{self.lane}-{self.ms}-{self.number}"

    def high_in(self, lane: int) -> str:
        """Return the highest id of a lane that lies before this place."""
        return f"{'(' if lane >= self.lane else ''}{self.ms}-{self.number}"


@dataclass(frozen=True)
class Wanted:
    """The conditions of a search; None means any.

    Attributes:
        since_ms, until_ms: when it arrived, the end exclusive.
        handler: whose state each event is given with.
        state: what the event must be to this handler, one of `STATES`.
    """

    type: str | None = None
    key: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    handler: HandlerFacts | None = None
    state: str | None = None


class Row(NamedTuple):
    """One event without its body.

    Attributes:
        size: of the body, in bytes.
        state: at the handler of the search, one of `STATES` or `NOT_WANTED`; empty without one.
    """

    place: Place
    type: str
    key: str | None
    received_at_ms: int
    size: int
    marks: tuple[str, ...]
    key_id: str
    state: str

    @property
    def event_id(self) -> str:
        return self.place.event_id


@dataclass(frozen=True)
class Found:
    """A page of events, newest first.

    Attributes:
        looked: entries that were read.
        back_to_ms: how far back in time they reach; None when everything that is kept was read.
        next: the event id to go on after; None when everything was read.
    """

    rows: tuple[Row, ...]
    looked: int
    back_to_ms: int | None
    next: str | None


async def search(log: EventLog, wanted: Wanted, *, before: Place | None = None, limit: int = 50) -> Found:
    """Return the newest events that fit, and that arrived before a place.

    Args:
        limit: most rows of the page.
    """
    lanes = _Lanes(log, wanted, before, limit)
    while True:
        await lanes.read_on()
        rows, horizon = lanes.complete()
        if len(rows) > limit:
            last = rows[limit - 1].place
            return Found(tuple(rows[:limit]), lanes.looked, last.ms, last.event_id)
        if horizon is None:
            return Found(tuple(rows), lanes.looked, None, None)
        if lanes.looked >= LOOKS:
            return Found(tuple(rows), lanes.looked, horizon.ms, horizon.event_id)


class _Lanes:
    """How far each lane was read, and what was found in it."""

    def __init__(self, log: EventLog, wanted: Wanted, before: Place | None, limit: int) -> None:
        self.looked = 0
        self._log = log
        self._wanted = wanted
        self._most = limit + 1
        self._start = before
        lanes = range(log.lanes) if wanted.key is None else (log.lane_of(wanted.key, b""),)
        self._ends: dict[int, Place | None] = dict.fromkeys(lanes)  # None: nothing of it was read
        self._rows: list[Row] = []

    async def read_on(self) -> None:
        """Read every lane a little at first, then the lane that was read least far back."""
        unread = [lane for lane, end in self._ends.items() if end is None]
        if unread:
            looks = min(_FIRST_LOOKS, max(1, LOOKS // (2 * len(unread))))
            await asyncio.gather(*(self._read(lane, looks) for lane in unread))
            return
        places: Mapping[int, Place] = {lane: end for lane, end in self._ends.items() if end is not None}
        await self._read(max(places, key=lambda lane: places[lane]), min(_MORE_LOOKS, LOOKS - self.looked))

    def complete(self) -> tuple[list[Row], Place | None]:
        """Return the rows to which every lane was read, newest first, and how far that is; None for the end."""
        horizon = max((end for end in self._ends.values() if end is not None), default=None)
        rows = [row for row in self._rows if horizon is None or row.place >= horizon]
        return sorted(rows, key=lambda row: row.place, reverse=True), horizon

    async def _read(self, lane: int, looks: int) -> None:
        end, wanted = self._ends[lane] or self._start, self._wanted
        high = end.high_in(lane) if end is not None else "+"
        if wanted.until_ms is not None and (end is None or end.ms >= wanted.until_ms):
            high = end_before(wanted.until_ms)
        conditions = {"t": wanted.type, "k": wanted.key}
        where = [part for field, value in conditions.items() if value is not None for part in (field, value)]
        types = sorted(wanted.handler.types) if wanted.handler is not None else []
        scanned, all_, looked, found = await self._log.scripts.find_newest(
            args=[
                *(self._log.prefix, lane, high, str(wanted.since_ms or "-"), looks, self._most),
                *(wanted.handler.name if wanted.handler is not None else "", wanted.state or ""),
                *(len(types), *types, len(where) // 2, *where, *_GIVE),
            ]
        )
        self.looked += looked
        if all_ or not scanned:
            self._ends.pop(lane)
        else:
            self._ends[lane] = Place(*id_order(scanned.decode()), lane)
        self._rows += [_row(lane, one) for one in found]


def _row(lane: int, found: Sequence[bytes]) -> Row:
    stream_id, size, state, type_, key, received, marks, key_id = found
    place = Place(*id_order(stream_id.decode()), lane)
    return Row(
        place,
        type_.decode(errors="replace"),
        key.decode(errors="replace") or None,
        arrived_ms(received, stream_id.decode()),
        int(size),
        _marks(marks.decode(errors="replace")),
        key_id.decode(errors="replace"),
        state.decode(),
    )


def _marks(text: str) -> tuple[str, ...]:
    try:
        return read_marks(text.split(","))[0] if text else ()
    except UnknownRecord:
        return ()
