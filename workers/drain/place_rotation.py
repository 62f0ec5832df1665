"""Decides which due pairs get a place in a process, and which drains make way for others. It knows no Redis."""

from __future__ import annotations

import random
from collections.abc import Sequence

Pair = tuple[str, int]

MAX_DRAINS = 256
SLICE_S = 3.0  # how long a drain keeps its place when others wait for one
_LEAST_SLICE_S, _ROUND_S = 0.5, 8.0  # shorter slices where many wait, so that each has one in this time,
_SLICE_EVENTS = 64  # but not so short that taking and releasing is most of the work

_STARTS = 8  # drains that begin between two checks
_CROWDED_STARTS = 64  # while most places are taken


class PlaceRotation:
    """The places of one process, and the pairs that take turns in them.

    Attributes:
        places: how many pairs may be at work at the same time.
        crowded: more pairs wait than there are free places.
    """

    def __init__(self, places: int) -> None:
        self.places = places
        self.crowded = False
        self._waiting = 0
        self._started_s: dict[str, float] = {}

    def is_full(self, taken: int) -> bool:
        """Whether pairs wait for a place and most places are taken.

        Args:
            taken: how many places are.
        """
        return self.crowded and taken > MAX_DRAINS * 3 // 4

    def next(self, wanted: Sequence[Pair], due: Sequence[Pair], taken: int) -> list[Pair]:
        """Return the pairs that begin now.

        Args:
            wanted: those that may.
            due: all that are due, the one that has waited longest first.
            taken: how many places are.
        """
        # No pair is always first, and processes do not all ask for the same one.
        order = random.sample(wanted, len(wanted))
        # Lane by lane, since handlers of one lane share what is read; the lane that has waited longest first.
        lanes = {lane: -place for place, (_, lane) in enumerate(reversed(due))}
        order.sort(key=lambda pair: lanes[pair[1]])
        if self.places == 1:  # with one place, handlers take turns: most lanes may be of one of them
            order.sort(key=lambda pair: self._started_s.get(pair[0], 0.0))
        free = self.places - taken
        self._waiting = len(order)
        self.crowded = len(order) > free
        starts = _CROWDED_STARTS if self.is_full(taken) else _STARTS
        return order[: min(free, starts)]

    def begun(self, pair: Pair, at_s: float) -> None:
        """Note that a pair got a place."""
        self._started_s[pair[0]] = at_s

    def makes_way(self, age_s: float, settled: int) -> bool:
        """Whether a drain has had its place for long enough, while others wait.

        Args:
            settled: deliveries that came to their end in that time.
        """
        slice_s = min(SLICE_S, max(_LEAST_SLICE_S, _ROUND_S / (1 + self._waiting / self.places)))
        return self.crowded and (age_s > SLICE_S or (age_s > slice_s and settled >= _SLICE_EVENTS))
