"""The fair share of one process: how many pairs of each handler it may keep, and how many it gives back. Pure.

Every process computes the same from the beats of all, so they need not agree on anything. The share limits
keeping, never taking: a process may take any pair that waits, except for a second one that another just gave back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from eventlog.presence import View

LATE_MS = 2_500  # since its last beat; such a process is given nothing


@dataclass(frozen=True)
class Seat:
    """One process among those that serve a handler.

    Attributes:
        held: pairs of the handler that it works on.
        room: how many more it can work on.
    """

    process: str
    held: int
    room: int


def quotas(active: int, seats: Sequence[Seat]) -> dict[str, int]:
    """Divide the active pairs of a handler among processes as evenly as their room allows.

    Processes that hold most keep one of the remainder each, so that nothing moves without need.
    """
    quota = {seat.process: 0 for seat in seats}
    open_, left = list(seats), active
    while open_ and left >= len(open_):
        each = left // len(open_)
        for seat in open_:
            more = min(each, seat.held + seat.room - quota[seat.process])
            quota[seat.process] += more
            left -= more
        open_ = [seat for seat in open_ if quota[seat.process] < seat.held + seat.room]
    for seat in sorted(open_, key=lambda seat: (-seat.held, seat.process))[:left]:
        quota[seat.process] += 1
    return quota


class Share:
    """The share of one process, from one view to the next.

    Attributes:
        hungry: the process holds less than its share of some handler.

    Args:
        process: its name among those of a view.
    """

    def __init__(self, process: str) -> None:
        self.hungry = False
        self._process = process
        self._quota: dict[str, int] = {}
        self._excess: dict[str, int] = {}

    def see(self, view: View, lasting: Mapping[str, int]) -> dict[str, int]:
        """Compute the share from a view.

        Args:
            lasting: how many pairs of each handler it has held for a while; no others are given back. A pair that
                often falls asleep and wakes up so never moves another one.

        Returns:
            How many pairs of each handler to give back: the excess that this view and the one before agree on.
        """
        self._quota, self.hungry = {}, False
        before, self._excess, give = self._excess, {}, {}
        for handler, quota, held in _shares(view, self._process):
            self._quota[handler] = quota
            self.hungry = self.hungry or held < quota
            excess = lasting.get(handler, 0) - quota
            if excess > 0 and handler in before:
                give[handler] = min(excess, before[handler])
            elif excess > 0:
                self._excess[handler] = excess
        return give

    def room(self, held: Mapping[str, int]) -> dict[str, int]:
        """Return how many given pairs of each handler it may take at once, with so many that it holds now."""
        return {handler: max(0, quota - held.get(handler, 0)) for handler, quota in self._quota.items()}

    def forget(self) -> None:
        """Limit nothing, since no view is recent enough."""
        self._quota, self._excess, self.hungry = {}, {}, False


def _shares(view: View, process: str) -> Iterator[tuple[str, int, int]]:
    """Yield, for each handler that a process serves, its share and how many pairs it holds."""
    held: dict[str, Counter[str | None]] = {}
    for handler in {handler for each in view.processes for handler in each.parts}:
        held[handler] = Counter(_holders(view, handler, process).values())
    busy = {handler for handler, holders in held.items() if holders}
    for handler in next(each for each in view.processes if each.name == process).parts:
        seats = []
        for each in view.processes:
            if (part := each.parts.get(handler)) is None:
                continue
            # What it has free is for all of its handlers with something to do.
            free = each.free // max(1, len(busy & each.parts.keys()))
            takes = not part.outdated and each.age_ms <= LATE_MS
            seats.append(Seat(each.name, held[handler][each.name], free if takes else 0))
        yield handler, quotas(held[handler].total(), seats)[process], held[handler][process]


def _holders(view: View, handler: str, process: str) -> dict[int, str | None]:
    """Return which process keeps each lane that has something to do; None where it waits for one.

    Of two processes that report a lane, the last one has it. No process keeps a due lane, except one that this
    process just asked for.
    """
    holders: dict[int, str | None] = {}
    for each in sorted(view.processes, key=lambda each: -each.age_ms):
        if part := each.parts.get(handler):
            holders |= dict.fromkeys(part.held, each.name)
            holders |= dict.fromkeys(part.ending)
    for lane in view.due.get(handler, ()):
        if holders.get(lane) != process:
            holders[lane] = None
    return holders
