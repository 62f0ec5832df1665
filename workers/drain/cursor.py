"""The cursor of one drain: how far it is, which events lie beyond it, and what Redis does not know yet. Pure.

The cursor passes an event that is settled, or that is in `open`. The window decides which event may start.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable

from eventlog.lease import Settlement
from eventlog.record import OpenRecord, OpenState
from workers.drain.entry import Entry

_MOST_SETTLED = 64  # that the heap of open events holds, more than are open


class Cursor:
    """The events between the cursor and what was read last, and those that are open.

    Attributes:
        cur, pos: settled or open up to here; read up to here.
        open_count: how many are in `open`.
        parked: how many of them are parked.
    """

    def __init__(self, cur: str) -> None:
        self.cur = self.pos = cur
        self.open_count = self.parked = 0
        self._entries: deque[Entry] = deque()
        self._passable = 0  # of them; so that no step has to look at all of a window that holds none
        self._closed: list[Entry] = []  # since the last changes
        self._puts: dict[str, OpenRecord] = {}
        self._dels: list[str] = []
        self._passed: list[str] = []
        self._wanted_passed = 0  # since the last changes
        self._opened: list[tuple[tuple[int, int], Entry]] = []  # a heap; settled ones leave it late

    def __len__(self) -> int:
        """How many events lie between the cursor and what was read."""
        return len(self._entries)

    def add(self, entry: Entry) -> None:
        """Add an event that was read after the others."""
        entry.beyond = True
        self._entries.append(entry)
        self._passable += _is_passable(entry)

    def found_open(self, entry: Entry, state: OpenState) -> None:
        """Add an event that Redis holds in `open`, in this state."""
        entry.in_open = True
        self._park(entry, state == "parked")
        if len(self._opened) > 2 * self.open_count + _MOST_SETTLED:
            self._opened = [found for found in self._opened if found[1].state != "settled"]
            heapq.heapify(self._opened)
        self.open_count += 1
        heapq.heappush(self._opened, (entry.order, entry))

    def put(self, entry: Entry, state: OpenState) -> None:
        """Put an event into `open`, or change what `open` holds of it."""
        if not entry.in_open:
            self.found_open(entry, state)
            self._passable += entry.beyond
        self._park(entry, state == "parked")
        self._puts[entry.event.stream_id] = entry.record(state)

    def close(self, entry: Entry) -> None:
        """Note that an event is settled."""
        entry.state = "settled"
        self._closed.append(entry)
        self._passable += entry.beyond and not entry.in_open
        if entry.in_open:
            self.open_count -= 1
            self._park(entry, False)
            self._puts.pop(entry.event.stream_id, None)
            self._dels.append(entry.event.stream_id)

    def advance(self) -> None:
        """Move the cursor over all that is settled or open."""
        while self._passable and _is_passable(self._entries[0]):
            entry = self._entries.popleft()
            entry.beyond = False
            self._passable -= 1
            self._wanted_passed += 1
            self.cur = entry.event.stream_id
            if entry.ahead:
                self._passed.append(entry.event.stream_id)
        if not self._entries:
            self.cur = self.pos

    def pass_unfinished(self, state_of: Callable[[Entry], OpenState]) -> None:
        """Open what is unfinished before the last that is settled or open, so that the cursor can pass it.

        Args:
            state_of: returns the state that `open` then holds of an event.
        """
        left = self._passable
        for entry in self._entries:
            if not left:
                return
            if _is_passable(entry):
                left -= 1
            else:
                self.put(entry, state_of(entry))

    def changes(self) -> Settlement:
        """Move the cursor as far as it goes, and return what Redis does not know yet."""
        self.advance()
        passed, self._passed = self._passed, []
        ahead = []
        for entry in self._closed:
            if entry.beyond and not entry.ahead:
                entry.ahead = True
                ahead.append(entry.event.stream_id)
        self._closed = []
        puts, dels = list(self._puts.values()), self._dels
        self._puts, self._dels = {}, []
        wanted_passed, self._wanted_passed = self._wanted_passed, 0
        return Settlement(
            self.cur,
            puts,
            dels,
            ahead=ahead,
            passed=passed,
            wanted_passed=wanted_passed,
            beyond=self._passable,
            oldest=self._oldest(),
            parked=self.parked,
        )

    def _park(self, entry: Entry, parked: bool) -> None:
        self.parked += parked - entry.parked
        entry.parked = parked

    def _oldest(self) -> str | None:
        """Id of the oldest event that is not settled. The first after the cursor is neither settled nor open."""
        while self._opened and self._opened[0][1].state == "settled":
            heapq.heappop(self._opened)
        first = self._entries[0] if self._entries else None
        if self._opened and (first is None or self._opened[0][0] < first.order):
            first = self._opened[0][1]
        return first.event.stream_id if first is not None else None


def _is_passable(entry: Entry) -> bool:
    return entry.state == "settled" or entry.in_open
