"""Who handles what in a chaos run: read by the recording handlers, and by the checker that judges them. Pure."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

UPDATE, START_STOP = "SessionUpdateNotification", "SessionStartStopNotification"
BOTH = (UPDATE, START_STOP)
STEP_SPAN = 20  # so many events of an entity share one once-only step of it


@dataclass(frozen=True)
class Role:
    """What one handler declares and may do.

    Attributes:
        steady: never waits on purpose, so a pair of it with events is runnable.
        dies_of: reasons for dead letters that are part of the play.
        filtered_every: events whose number it divides are not wanted; 0 for none.
    """

    order: Literal["entity", "none", "latest"]
    types: tuple[str, ...] = BOTH
    steady: bool = True
    dies_of: frozenset[str] = frozenset()
    filtered_every: int = 0

    def filters(self, n: int) -> bool:
        """Whether its `where` leaves this event out."""
        return self.filtered_every > 0 and n % self.filtered_every == 0


ROLES: Mapping[str, Role] = MappingProxyType(
    {
        "chaos.entity": Role("entity"),
        "chaos.none": Role("none", types=(UPDATE,), filtered_every=10),
        "chaos.thread": Role("entity", types=(START_STOP,), dies_of=frozenset({"gave-up"})),
        "chaos.latest": Role("latest", steady=False, dies_of=frozenset({"attempts-exhausted"})),
        "chaos.flaky": Role("entity", steady=False, dies_of=frozenset({"attempts-exhausted"})),
        "chaos.once": Role("entity", steady=False, dies_of=frozenset({"step-uncertain"})),
    }
)


def chance(*of: object) -> float:
    """A number from 0 to 1 that is the same whenever it is asked for the same."""
    return zlib.crc32(repr(of).encode()) / 2**32
