"""Who handles what in a chaos run: read by the recording handlers, and by the checker that judges them. Pure."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

UPDATE, START_STOP = "SessionUpdateNotification", "SessionStartStopNotification"
BOTH = (UPDATE, START_STOP)
WIDENED = "chaos.widened"  # the handler that wants more types from its next version on
STEP_SPAN = 20  # so many events of an entity share one once-only step of it


@dataclass(frozen=True)
class Role:
    """What one handler declares and may do.

    Attributes:
        steady: never waits on purpose, so a pair of it with events is runnable.
        dies_of: reasons for dead letters that are part of the play.
        leaves_out: by their number, events that its `where` does not want.
        isolated: runs in forks.
        later_types: what the next version of its code wants as well, which is deployed during the run.
        slots: how many events of a key may be done within an hour, which is longer than any run; 0 = any number.
        parts: so many keys it makes of each entity, by the number of the event; 0 = it has no keys of its own.
    """

    order: Literal["entity", "none", "latest"]
    types: tuple[str, ...] = BOTH
    steady: bool = True
    dies_of: frozenset[str] = frozenset()
    leaves_out: Callable[[int], bool] = lambda n: False
    isolated: bool = False
    later_types: tuple[str, ...] = ()
    slots: int = 0
    parts: int = 0

    def subject(self, key: str, n: int) -> str:
        """The handler's key of an event."""
        return f"{key}/{n % self.parts}" if self.parts else key


ROLES: Mapping[str, Role] = MappingProxyType(
    {
        "chaos.entity": Role("entity"),
        "chaos.none": Role("none", types=(UPDATE,), leaves_out=lambda n: n % 10 == 0),
        "chaos.thread": Role("entity", types=(START_STOP,), dies_of=frozenset({"gave-up"})),
        "chaos.latest": Role("latest", steady=False, dies_of=frozenset({"attempts-exhausted"})),
        "chaos.flaky": Role("entity", steady=False, dies_of=frozenset({"attempts-exhausted"})),
        "chaos.isolated": Role(
            "entity", types=(UPDATE,), steady=False, leaves_out=lambda n: n % 5 != 0, isolated=True
        ),
        "chaos.once": Role("entity", steady=False, dies_of=frozenset({"step-uncertain"})),
        "chaos.throttled": Role("entity", types=(UPDATE,), steady=False, slots=3, parts=2),
        WIDENED: Role("entity", types=(UPDATE,), steady=False, later_types=(START_STOP,)),
    }
)


def chance(*of: object) -> float:
    """A number from 0 to 1 that is the same whenever it is asked for the same."""
    return zlib.crc32(repr(of).encode()) / 2**32
