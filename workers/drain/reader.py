"""When one drain reads new events, how many, and when it falls asleep. Pure: the time is passed in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from eventlog.lease import Read
from eventlog.record import OPEN_QUOTA, StoredEvent
from workers.drain.window import Window

FIRST_BATCH, MIN_BATCH, MAX_BATCH = 8, 2, 256
MAX_WINDOW = 512
POLL_S = 0.05  # between two reads that found nothing new
FULL_S = 0.2  # between two looks without room and with nothing running: the next to end wakes the drain

_READS_AGAIN = 0.9  # of the quota; below it a lane that was full reads again
_QUICK_S, _SLOW_S = 0.05, 0.2  # for a whole batch
_STAY_PER_OPEN_S, _STAY_AT_MOST_S = 0.001, 10.0  # awake while idle, since coming back reads all of `open`

Rest = Literal["linger", "stay", "sleep"]


class Reader:
    """Decides when to read and how much, from the handler's speed so far.

    Attributes:
        batch: events to ask for at a time.
        next_s: when to read again at the latest, in the drain's clock.
        full: whether `open` holds as many records as it may, so that nothing is read.
        outdated: whether the next event is for newer code, and only that may go on.

    Args:
        version: of the code of this process.
        wants: returns something true for the types that this code's handler wants.
    """

    def __init__(self, window: Window, version: str, wants: Callable[[str], object]) -> None:
        self.batch = FIRST_BATCH
        self.next_s = 0.0
        self.full = False
        self.outdated = False
        self._window = window
        self._version = version
        self._wants = wants
        self._more = True
        self._worked_s: float | None = None
        self._lingered = False
        self._idle_since_s: float | None = None

    def begin(self, open_count: int) -> None:
        """Begin with so many records in `open`; a lane that was full needs some room before it reads."""
        self.full = open_count >= OPEN_QUOTA * _READS_AGAIN

    def appetite(self, *, suspects: bool) -> int:
        """Return for how many events there is room; 0 where half a batch is still ready.

        Args:
            suspects: whether an event must run alone first, since it may have killed a worker.
        """
        window = self._window
        if self.outdated or suspects:
            return 0
        self.full = window.cursor.open_count >= (OPEN_QUOTA * _READS_AGAIN if self.full else OPEN_QUOTA)
        if self.full or len(window.cursor) >= MAX_WINDOW or len(window.ready) * 2 > self.batch:
            return 0
        return self.batch

    def due(self, now_s: float, *, suspects: bool) -> int:
        """Return how many events to read now, while others are at work; 0 unless more are there, or it is time."""
        self.idle_no_more()
        count = 0
        if self._more or now_s >= self.next_s:
            count = self.appetite(suspects=suspects)
            if not count:
                self.next_s = now_s + (POLL_S if self._window.running else FULL_S)
        return count

    def got(self, events: int, exhausted: bool, worked_s: float, now_s: float) -> None:
        """Adapt to the answer to a read.

        Large batches where events are quick; small ones where they are slow, since a crash suspects them all.

        Args:
            exhausted: whether the log holds nothing after them.
            worked_s: how long attempts have run when the read was sent. A batch took the time from one full read to
                the next, without the turns of other handlers.
        """
        if events >= self.batch and self._worked_s is not None:
            took_s = worked_s - self._worked_s
            if took_s < _QUICK_S:
                self.batch = min(MAX_BATCH, self.batch * 2)
            elif took_s > _SLOW_S:
                self.batch = max(MIN_BATCH, self.batch // 2)
        self._more = not exhausted
        self._worked_s = worked_s
        self.next_s = now_s + POLL_S

    def rest(self, now_s: float) -> Rest:
        """Return what a drain with nothing to do does next.

        Returns:
            `linger`: wait a moment, then ask again, for what arrives now costs no new lease.
            `stay`: read and keep the lease. `sleep`: read, and give the lease back if nothing is there.
        """
        if not self._more and not self._lingered:
            self._lingered = True
            return "linger"
        self._lingered = False
        if self._idle_since_s is None:
            self._idle_since_s = now_s
        stays_s = min(_STAY_AT_MOST_S, self._window.cursor.open_count * _STAY_PER_OPEN_S)
        return "stay" if now_s - self._idle_since_s < stays_s else "sleep"

    def idle_no_more(self) -> None:
        """Note that there is something to do again."""
        self._lingered = False
        self._idle_since_s = None

    def ours(self, read: Read, before: str) -> tuple[Sequence[StoredEvent], str]:
        """Return the events of a read that this code may settle, and the id up to which they are complete.

        Where newer code is declared, an event that this code does not want may be one that the newer code wants.

        Args:
            before: the id after which was read.
        """
        place = self.first_for_newer(read.events, read.newest)
        if place is None:
            return read.events, read.scanned
        return read.events[:place], read.events[place - 1].stream_id if place else before

    def first_for_newer(self, events: Sequence[StoredEvent], newest: str) -> int | None:
        """Find the first event that only newer code may settle; then this code is outdated.

        Args:
            newest: version of the handler's newest declaration.
        """
        if newest != self._version:
            for place, event in enumerate(events):
                if not self._wants(event.type):
                    self.outdated = True
                    return place
        return None
