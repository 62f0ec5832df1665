"""The pause before the next attempt, and when there is no further one. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from eventlog.record import AttemptNote
from handlers.declaration import Backoff, Handler
from handlers.outcomes import LONGEST_WAIT_S

CODE_ERRORS = (TypeError, AttributeError, KeyError, NameError, AssertionError)
"""Errors that are certainly faults of the handler's code. Retries for a day would only hide them."""

CODE_ERROR = "code-error"  # the reason of such an attempt, and of the dead letter
CODE_ERRORS_FOR_S = 600.0

_JITTER = 0.25  # of a pause that was asked for, added to it

Uniform = Callable[[float, float], float]


def delay_s(attempt: int, backoff: Backoff, uniform: Uniform) -> float:
    """Return the exponential backoff after this attempt (1 for the first), by default with equal jitter.

    Half of the pause is certain, so that no series of short pauses spends all attempts at once.
    """
    longest_s = min(backoff.cap_s, backoff.base_s * 2.0 ** (min(attempt, 64) - 1))
    return uniform(longest_s / 2, longest_s) if backoff.jitter else longest_s


def within(wait_s: float, limit_s: float, age_s: float, backoff: Backoff) -> float:
    """Shorten a wait so that the last attempt comes when the limit is reached, and not long before it."""
    return min(wait_s, max(limit_s - age_s, backoff.base_s))


def asked_pause_s(
    asked_s: float | None, reason: str, handler: Handler, earlier: Sequence[AttemptNote], uniform: Uniform
) -> float:
    """Return the pause before the next attempt, where a service or our budget refused this one and none is spent.

    Args:
        asked_s: the pause that was asked for; a random part is added, so that attempts spread. None for no such
            pause: then it grows with each attempt in a row that ended for this reason.
        earlier: the last attempts, oldest first.
    """
    if asked_s is None:
        return delay_s(1 + len(_row(earlier, reason)), handler.backoff, uniform)
    return min(LONGEST_WAIT_S, asked_s + uniform(0.0, max(asked_s * _JITTER, handler.backoff.base_s)))


def row_lasts_s(reason: str, earlier: Sequence[AttemptNote], began_ms: int) -> float:
    """Return for how long all attempts have ended for this reason, up to the one that began at `began_ms`."""
    row = _row(earlier, reason)
    return max(0.0, (began_ms - row[0].at_ms) / 1000) if row else 0.0


def _row(earlier: Sequence[AttemptNote], reason: str) -> list[AttemptNote]:
    """Return the last attempts in a row that ended for a reason, oldest first."""
    row: list[AttemptNote] = []
    for note in reversed(earlier):
        if note.outcome != reason:
            break
        row.append(note)
    return row[::-1]
