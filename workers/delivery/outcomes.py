"""The one table: how an attempt ended -> done, skipped, again in n seconds, or dead.

It also holds the ends without an attempt: not wanted, or superseded by a newer event.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from ampeco.errors import FieldMisfit, NotSupported, RateLimited
from eventlog.record import AttemptNote
from handlers import GiveUp, Retry, Skip
from handlers.declaration import Backoff, Handler


def delay_s(attempt: int, backoff: Backoff, uniform: Callable[[float, float], float]) -> float:
    """Return the exponential backoff after this attempt (1 for the first), by default with full jitter."""
    longest_s = min(backoff.cap_s, backoff.base_s * 2.0 ** (min(attempt, 32) - 1))
    return uniform(0.0, longest_s) if backoff.jitter else longest_s


_TRACE_FRAMES = 12


class PayloadMismatch(Exception):
    """The payload does not fit the type the handler declares; trying again cannot help."""


class AttemptTimedOut(Exception):
    """The attempt took longer than the handler's `timeout_s`."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended.

    Attributes:
        reason: stable slug, shared by logs, counters and dead letters.
        detail: what the handler's author said, or the class of the error; never values or messages of others.
        delay_s: for `retry`.
        counts: whether an attempt was spent.
        trace: where it failed, without values.
    """

    kind: Literal["done", "skipped", "superseded", "retry", "dead"]
    reason: str = ""
    detail: str = ""
    delay_s: float = 0.0
    counts: bool = True
    trace: str = ""

    def note(self, began_ms: int, actions: Sequence[str]) -> AttemptNote:
        """What is remembered of the attempt."""
        return AttemptNote(began_ms, self.reason or self.kind, self.detail, tuple(actions))


DONE = Outcome("done")
NOT_WANTED = Outcome("skipped", "not-wanted")
FILTERED = Outcome("skipped", "filtered")
SUPERSEDED = Outcome("superseded")
PAYLOAD_MISMATCH = "payload-mismatch"


def outcome_of(
    error: Exception | None,
    handler: Handler,
    *,
    attempt: int,
    age_s: float,
    uniform: Callable[[float, float], float],
) -> Outcome:
    """Decide what becomes of a delivery after what the handler raised; None when it returned.

    Args:
        attempt: number of this attempt, 1 for the first.
        age_s: seconds since the first attempt.
    """
    match error:
        case None:
            return DONE
        case Skip():
            return Outcome("skipped", "skipped", error.reason)
        case GiveUp():
            return Outcome("dead", error.slug, error.reason, trace=where(error))
        case PayloadMismatch():
            return Outcome("dead", PAYLOAD_MISMATCH, str(error))
        case Retry(counts=False):
            if age_s > handler.not_yet_for_s:
                return Outcome("dead", "too-early-for-too-long", error.reason)
            wait_s = delay_s(1, handler.backoff, uniform) if error.after_s is None else error.after_s
            wait_s = _within_patience(wait_s, handler, age_s)
            return Outcome("retry", "not-yet", error.reason, wait_s, counts=False)
        case NotSupported():
            return Outcome("dead", error.reason, error.operation, trace=where(error))
        case Retry():
            reason, detail, least_s = "retry-asked", error.reason, error.after_s
        case AttemptTimedOut():
            reason, detail, least_s = "timed-out", "", None
        case MemoryError():
            reason, detail, least_s = "out-of-memory", "", None
        case RateLimited():
            reason, detail, least_s = "rate-limited", "", error.retry_after_s
            if least_s is not None:
                least_s = _within_patience(least_s, handler, age_s)
        case _:
            misfit = misfit_in(error)
            if misfit is not None:  # the next attempt would read the same field
                return Outcome("dead", PAYLOAD_MISMATCH, misfit.field, trace=where(error))
            reason, detail, least_s = "error", type(error).__name__, None
    if attempt >= handler.max_attempts:
        return Outcome("dead", "attempts-exhausted", detail or reason, trace=where(error))
    wait_s = delay_s(attempt, handler.backoff, uniform) if least_s is None else least_s
    return Outcome("retry", reason, detail, wait_s, trace=where(error))


def misfit_in(error: BaseException | None) -> FieldMisfit | None:
    """The misfit that an error is, holds in a group, or was raised from.

    What was raised while a misfit was handled (`__context__`) is an error of its own: it may well go away.
    """
    seen: set[int] = set()  # causes may form a ring
    waiting = [error]
    while waiting:
        each = waiting.pop()
        if isinstance(each, FieldMisfit):
            return each
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        waiting.append(each.__cause__)
        if isinstance(each, BaseExceptionGroup):
            waiting.extend(each.exceptions)
    return None


def _within_patience(asked_s: float, handler: Handler, age_s: float) -> float:
    """The wait that AMPECO asks for, but no longer than until the handler gives up saying "not yet"."""
    return min(asked_s, max(handler.not_yet_for_s - age_s, handler.backoff.base_s))


def where(error: BaseException) -> str:
    """Class of the error and the lines it passed, innermost last. No messages, no values: both may be personal."""
    frames = traceback.extract_tb(error.__traceback__)[-_TRACE_FRAMES:]
    lines = [f"{frame.filename}:{frame.lineno} in {frame.name}" for frame in frames]
    cause = error.__cause__ or error.__context__
    head = type(error).__qualname__ + (f" from {type(cause).__qualname__}" if cause else "")
    # A file name can hold bytes that are no text, and the record can hold only text.
    return "\n".join([head, *lines]).encode("utf-8", "backslashreplace").decode()
