"""Events of one drain that wait for their next attempt, the soonest first. Pure: the time is passed in."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterator

from handlers.outcomes import LONGEST_WAIT_S
from workers.drain.entry import Entry

_LONGEST_WAIT_MS = int(LONGEST_WAIT_S * 1000)
_LEAST_SORTED_OUT = 64


class Retries:
    """Events in the state `retry`, by when they are due."""

    def __init__(self) -> None:
        # Superseded and moved ones leave it late. At so many, it is sorted out.
        self._heap: list[tuple[int, tuple[int, int], Entry]] = []
        self._sorted_out_at = _LEAST_SORTED_OUT
        self._now_ms: float = float("inf")

    def wait(self, entry: Entry, due_ms: int) -> None:
        """Add an event that waits until a time."""
        entry.state, entry.due_ms = "retry", due_ms
        heapq.heappush(self._heap, (due_ms, entry.order, entry))
        if len(self._heap) > self._sorted_out_at:
            self._heap = [found for found in self._heap if _is_current(found[2], found[0])]
            heapq.heapify(self._heap)
            self._sorted_out_at = max(_LEAST_SORTED_OUT, 2 * len(self._heap))

    def next_due_ms(self) -> int | None:
        """Return when the next event is due."""
        return self._heap[0][0] if self._heap else None

    def hurry(self, stream_ids: Collection[str]) -> None:
        """End the waits of these events, where they still wait."""
        for entry in self._waiting():
            if entry.event.stream_id in stream_ids:
                self.wait(entry, 0)

    def shortened(self, now_ms: int) -> list[Entry]:
        """Record the time; return the events whose wait was cut, since the clock went back.

        So no change of a clock, and no other machine's clock, makes a wait longer than intended.
        """
        cut = []
        if now_ms < self._now_ms:
            for entry in self._waiting():
                latest_ms = now_ms + (_LONGEST_WAIT_MS if entry.wait_ms is None else entry.wait_ms)
                if (entry.due_ms or 0) > latest_ms:
                    self.wait(entry, latest_ms)
                    cut.append(entry)
        self._now_ms = now_ms
        return cut

    def due(self, now_ms: int) -> Iterator[Entry]:
        """Remove and return the events whose time has come. They still have the state `retry`."""
        while self._heap and self._heap[0][0] <= now_ms:
            due_ms, _, entry = heapq.heappop(self._heap)
            if _is_current(entry, due_ms):
                yield entry

    def _waiting(self) -> list[Entry]:
        return [entry for _, _, entry in self._heap if entry.state == "retry"]


def _is_current(entry: Entry, due_ms: int) -> bool:
    """Return whether an event still waits until then; else it was superseded or hurried meanwhile."""
    return entry.state == "retry" and entry.due_ms == due_ms
