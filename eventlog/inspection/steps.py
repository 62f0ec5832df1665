"""The once-only steps that handlers took for an event or an entity, for people. No results."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from eventlog.log import EventLog

_MOST = 20  # of each ledger
_MOST_OF_ALL = 40  # a name has up to 200 characters, and a page has a bound


class StepNote(NamedTuple):
    """One step.

    Attributes:
        state: `done`, `begun` or `uncertain` (its end is not known); `unknown` in a record of another version.
        at_ms: when it was begun, or its end was recorded.
    """

    name: str
    state: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class StepNotes:
    """The steps of one handler.

    Attributes:
        notes: the first ones, by name; none where the handlers before took too many.
        count: of all.
    """

    handler: str
    notes: tuple[StepNote, ...]
    count: int


async def steps_of(log: EventLog, scope: str, handlers: Iterable[str]) -> list[StepNotes]:
    """Return the steps of these handlers; nothing of those that took none.

    Args:
        scope: an event's id, or an entity key.
    """
    names = list(handlers)
    pairs = [part for name in names for part in (name, scope)]
    answers = await log.scripts.steps(args=[log.prefix, _MOST, _MOST_OF_ALL, *pairs]) if names else []
    return [
        StepNotes(name, tuple(_notes(rest)), count)
        for name, (count, *rest) in zip(names, answers, strict=True)
        if count
    ]


def _notes(found: list[bytes]) -> Iterable[StepNote]:
    for name, state, at_ms in zip(found[::3], found[1::3], found[2::3], strict=True):
        yield StepNote(name.decode(), state.decode(), int(at_ms))
