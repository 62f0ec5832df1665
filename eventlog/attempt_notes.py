"""The notes of a delivery's attempts, as `open`, dead letters and the history keep them."""

from __future__ import annotations

import json
from typing import Any, Final, NamedTuple

from eventlog.called import more
from eventlog.text import bounded

KEPT_ATTEMPTS: Final = 10
KEPT_ACTIONS: Final = 50  # of one attempt
ACTION_CHARS: Final = 300


class AttemptNote(NamedTuple):
    """One attempt, kept for `explain` and the history.

    Attributes:
        at_ms: when it began.
        outcome: slug of how it ended (`done`, `timed-out`, `gave-up`, ...).
        detail: the author's words or the class of the error.
        actions: what it called at AMPECO, each a line of `called.py`. Calls that change nothing are among them only
            where the attempt did not succeed.
    """

    at_ms: int
    outcome: str
    detail: str = ""
    actions: tuple[str, ...] = ()


def kept_note(note: AttemptNote) -> AttemptNote:
    """Return what the log keeps of a note: bounded and valid texts, and the first actions."""
    actions = tuple(bounded(action, ACTION_CHARS) for action in note.actions[:KEPT_ACTIONS])
    if len(note.actions) > KEPT_ACTIONS:
        actions = (*actions[:-1], more(len(note.actions) - KEPT_ACTIONS + 1))
    return AttemptNote(note.at_ms, kept_text(note.outcome), kept_text(note.detail), actions)


def with_note(log: tuple[AttemptNote, ...], note: AttemptNote) -> tuple[AttemptNote, ...]:
    """Add a note to the kept ones, oldest first. When they are too many, the oldest goes.

    Where the two oldest ended alike, the second goes: the first of a row tells for how long it has lasted. No time is
    after that of the new note: it would be of a clock that was ahead.
    """
    log = tuple(each._replace(at_ms=note.at_ms) if each.at_ms > note.at_ms else each for each in log)
    if len(log) < KEPT_ATTEMPTS:
        return (*log, note)
    at = int(log[0].outcome == log[1].outcome)
    return (*log[:at], *log[at + 1 :], note)


def kept_text(value: object) -> str:
    """Return what the log keeps of a text. Older code also stored other JSON values, where an author gave one."""
    if isinstance(value, str):
        return bounded(value)
    return "" if value is None else bounded(json.dumps(value))


def notes_of(log: Any) -> tuple[AttemptNote, ...]:
    """Read notes from JSON. Those of older code may be long, and hold half a surrogate pair.

    Raises:
        TypeError, ValueError: the notes have another shape.
    """
    return tuple(
        kept_note(AttemptNote(at_ms, outcome, detail, tuple(actions)))
        for at_ms, outcome, detail, actions in log
    )
