"""The one table: how an attempt ended -> done, skipped, again in n seconds, or dead.

It also holds the ends without an attempt: not wanted, or superseded by a newer event.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Literal

from ampeco.errors import FieldMisfit, NotSupported, RateLimited
from eventlog.record import AttemptNote
from eventlog.text import REASON_CHARS, bounded
from handlers import GiveUp, Retry, Skip
from handlers.declaration import Backoff, Handler
from handlers.outcomes import LoopGuarded
from workers.delivery.said import (
    errors_in,
    first_behind,
    is_a,
    is_false,
    name_of,
    read,
    seconds_in,
    slug_in,
    text_in,
    where,
)


def delay_s(attempt: int, backoff: Backoff, uniform: Callable[[float, float], float]) -> float:
    """Return the exponential backoff after this attempt (1 for the first), by default with full jitter."""
    longest_s = min(backoff.cap_s, backoff.base_s * 2.0 ** (min(attempt, 32) - 1))
    return uniform(0.0, longest_s) if backoff.jitter else longest_s


class PayloadMismatch(Exception):
    """The payload does not fit the type the handler declares; trying again cannot help."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


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


# In a group of errors one decides: of these classes the first that is there, then any other error. `Skip` and
# `Retry(counts=False)` say that nothing went wrong, so they decide only where nothing else is in the group.
_FINAL = (GiveUp, NotSupported, PayloadMismatch, FieldMisfit, Retry, RateLimited)
_NEVER_AWAITED = (CoroutineType, GeneratorType, AsyncGeneratorType)


def outcome_of(
    said: object,
    handler: Handler,
    *,
    attempt: int,
    age_s: float,
    uniform: Callable[[float, float], float],
) -> Outcome:
    """Decide what becomes of a delivery after what the handler raised or returned; an error counts as raised.

    It raises nothing, whatever that object is.

    Args:
        attempt: number of this attempt, 1 for the first.
        age_s: seconds since the first attempt.
    """
    if said is None:
        return DONE
    if not is_a(said, BaseException):
        return _returned(said)
    try:
        return _raised(said, handler, attempt, age_s, uniform)  # type: ignore[arg-type]
    except BaseException as error:  # noqa: BLE001 - a case that said.py does not know must not end the drain
        return Outcome("dead", "unreadable-outcome", name_of(type(error)))


def _raised(
    said: BaseException,
    handler: Handler,
    attempt: int,
    age_s: float,
    uniform: Callable[[float, float], float],
) -> Outcome:
    error = min(errors_in(said), key=_rank)
    kind = type(error)
    if issubclass(kind, Skip):
        return Outcome("skipped", "skipped", text_in(error, "reason"))
    if issubclass(kind, GiveUp):
        slug = slug_in(error, "slug", GiveUp.slug)
        return Outcome("dead", slug, text_in(error, "reason"), trace=where(error))
    if issubclass(kind, PayloadMismatch):
        return Outcome("dead", PAYLOAD_MISMATCH, text_in(error, "reason"))
    if issubclass(kind, NotSupported):
        return Outcome("dead", NotSupported.reason, text_in(error, "operation"), trace=where(error))
    least_s: float | None = None
    if issubclass(kind, Retry):
        least_s, fault = seconds_in(error, "after_s")
        detail = text_in(error, "reason")
        if fault:
            detail = f"{bounded(detail, REASON_CHARS - len(fault) - 2)}; {fault}"
        if is_false(read(error, "counts")):
            slug = LoopGuarded.slug if issubclass(kind, LoopGuarded) else "not-yet"
            return _not_yet(detail, least_s, handler, age_s, uniform, reason=slug)
        reason = "retry-asked"
    elif issubclass(kind, AttemptTimedOut):
        reason, detail = "timed-out", ""
    elif issubclass(kind, MemoryError):
        reason, detail = "out-of-memory", ""
    elif issubclass(kind, RateLimited):
        reason, detail = RateLimited.reason, ""
        least_s, _ = seconds_in(error, "retry_after_s")
        if read(error, "status") is None:  # our own budget refused it: nothing was sent
            return _not_yet(text_in(error, "operation"), least_s, handler, age_s, uniform, reason=reason)
        if least_s is not None:
            least_s = _within_patience(least_s, handler, age_s)
    else:
        misfit = first_behind(said, FieldMisfit)
        if misfit is not None:  # the next attempt would read the same field
            return Outcome("dead", PAYLOAD_MISMATCH, text_in(misfit, "field"), trace=where(error))
        reason, detail = "error", name_of(kind)
    if attempt >= handler.max_attempts:
        return Outcome("dead", "attempts-exhausted", detail or reason, trace=where(error))
    wait_s = delay_s(attempt, handler.backoff, uniform) if least_s is None else least_s
    return Outcome("retry", reason, detail, wait_s, trace=where(error))


def _rank(error: BaseException) -> int:
    """Return the place of an error among those of its group: the least one decides."""
    for place, kind in enumerate(_FINAL):
        if is_a(error, kind):
            too_early = kind is Retry and is_false(read(error, "counts"))
            return len(_FINAL) + 1 if too_early else place
    return len(_FINAL) + (2 if is_a(error, Skip) else 0)


def _returned(said: object) -> Outcome:
    """Return the outcome of a handler that returned this: done, unless its work was never begun."""
    if not is_a(said, _NEVER_AWAITED):
        return DONE
    if type(said) is CoroutineType:
        said.close()  # it was never begun, so nothing of it runs
    return Outcome("dead", "never-awaited", f"it returned a {name_of(type(said))} that nothing awaits")


def _not_yet(
    detail: str,
    least_s: float | None,
    handler: Handler,
    age_s: float,
    uniform: Callable[[float, float], float],
    *,
    reason: str = "not-yet",
) -> Outcome:
    if age_s > handler.not_yet_for_s:
        return Outcome("dead", "too-early-for-too-long", detail)
    wait_s = delay_s(1, handler.backoff, uniform) if least_s is None else least_s
    return Outcome("retry", reason, detail, _within_patience(wait_s, handler, age_s), counts=False)


def _within_patience(asked_s: float, handler: Handler, age_s: float) -> float:
    """The wait that AMPECO asks for, but no longer than until the handler gives up saying "not yet"."""
    return min(asked_s, max(handler.not_yet_for_s - age_s, handler.backoff.base_s))
