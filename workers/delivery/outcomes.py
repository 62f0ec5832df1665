"""The one table: how an attempt ended -> done, skipped, retry in n seconds, or dead. `patience.py` computes n.

It also holds the ends without an attempt: not wanted, or superseded by a newer event.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Literal

from ampeco.errors import FieldMisfit, NotSupported, RateLimited
from eventlog.record import AttemptNote
from eventlog.text import REASON_CHARS, bounded
from handlers import GiveUp, Retry, Skip, Unavailable
from handlers.declaration import Handler
from handlers.outcomes import LoopGuarded, StepUncertain, Throttled
from workers.delivery.patience import (
    CODE_ERROR,
    CODE_ERRORS,
    CODE_ERRORS_FOR_S,
    Uniform,
    asked_pause_s,
    delay_s,
    row_lasts_s,
    within,
)
from workers.delivery.raised import (
    cause_of,
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
    with_text,
)


class PayloadMismatch(Exception):
    """The payload does not fit the type the handler declares; trying again cannot help."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class DryRunEnded(BaseException):
    """A dry run cannot go on: what comes next depends on a result that only the real call would give.

    Not an Exception, so that a handler's own `except Exception` does not swallow it.

    Args:
        step: what would be called.
    """

    def __init__(self, step: str) -> None:
        super().__init__(step)
        self.step = step


class HandlerEnded(Exception):
    """The handler raised what would end our task or process instead of its attempt."""


class AttemptTimedOut(Exception):
    """The attempt took longer than the handler's `timeout_s`."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended.

    Attributes:
        kind: `ended` is of dry runs alone.
        reason: stable slug, shared by logs, counters and dead letters.
        detail: what the handler's author said, or the class of the error; never values or messages of others.
        delay_s: for `retry`.
        counts: whether an attempt was spent.
        trace: where it failed, without values.
        dependency: what the handler called unavailable.
        asked_s: the pause that a service or the handler asked for.
        held: whether the handler starts nothing more now; what waits behind the event stays in its lane.
    """

    kind: Literal["done", "skipped", "superseded", "retry", "dead", "ended"]
    reason: str = ""
    detail: str = ""
    delay_s: float = 0.0
    counts: bool = True
    trace: str = ""
    dependency: str = ""
    asked_s: float | None = None
    held: bool = False

    def note(self, began_ms: int, actions: Sequence[str]) -> AttemptNote:
        """Return the note of the attempt."""
        return AttemptNote(began_ms, self.reason or self.kind, self.detail, tuple(actions))


DONE = Outcome("done")
NOT_WANTED = Outcome("skipped", "not-wanted")
FILTERED = Outcome("skipped", "filtered")
THROTTLED = Outcome("skipped", Throttled.slug)
SUPERSEDED = Outcome("superseded")
TIMER_OVER = Outcome("superseded", "timer-over", "the timer was cancelled or set again")
PAYLOAD_MISMATCH = "payload-mismatch"

# In a group of errors one decides: of these classes the first that is there, then any other error. `Skip` and
# `Retry(counts=False)` say that nothing went wrong, so they decide only where nothing else is in the group.
_FINAL = (DryRunEnded, GiveUp, NotSupported, PayloadMismatch, FieldMisfit, Retry, Unavailable, RateLimited)
_NEVER_AWAITED = (CoroutineType, GeneratorType, AsyncGeneratorType)


@dataclass(frozen=True, slots=True)
class _Delivery:
    """The facts by which the end of an attempt is judged, apart from what the handler raised or returned."""

    handler: Handler
    attempt: int
    age_s: float
    failing_s: float
    uniform: Uniform
    earlier: Sequence[AttemptNote]
    began_ms: int


def outcome_of(
    said: object,
    handler: Handler,
    *,
    attempt: int,
    age_s: float,
    failing_s: float = 0.0,
    uniform: Uniform,
    earlier: Sequence[AttemptNote] = (),
    began_ms: int = 0,
) -> Outcome:
    """Decide what becomes of a delivery, from what the handler raised or returned; a returned error counts as raised.

    It raises nothing, whatever that object is.

    Args:
        attempt: number of this attempt, 1 for the first.
        age_s: seconds since the first attempt.
        failing_s: seconds since the first attempt that counted; 0 if this may be the first.
        earlier: the last attempts before it, oldest first.
        began_ms: when this one began, Unix time in milliseconds.
    """
    if said is None:
        return DONE
    if not is_a(said, BaseException):
        return _returned(said)
    try:
        return _raised(said, _Delivery(handler, attempt, age_s, failing_s, uniform, earlier, began_ms))  # type: ignore[arg-type]
    except BaseException as error:  # noqa: BLE001 - a case that raised.py does not know must not end the drain
        return Outcome("dead", "unreadable-outcome", name_of(type(error)))


def _raised(said: BaseException, delivery: _Delivery) -> Outcome:
    error = min(errors_in(said), key=_rank)
    kind = type(error)
    if issubclass(kind, DryRunEnded):
        return Outcome("ended", "dry-run", f"would do: {text_in(error, 'step')}")
    if issubclass(kind, Skip):
        return Outcome("skipped", "skipped", text_in(error, "reason"))
    if issubclass(kind, GiveUp):
        slug, detail = slug_in(error, "slug", GiveUp.slug), text_in(error, "reason")
        is_uncertain = issubclass(kind, StepUncertain)
        if is_uncertain and (cause := cause_of(error)) is not None:
            detail = f"{detail}: {name_of(type(cause))}"
        return Outcome("dead", slug, detail, trace=where(error, behind=is_uncertain))
    if issubclass(kind, PayloadMismatch):
        return Outcome("dead", PAYLOAD_MISMATCH, text_in(error, "reason"))
    if issubclass(kind, NotSupported):
        return Outcome("dead", NotSupported.reason, text_in(error, "operation"), trace=where(error))
    if issubclass(kind, Retry):
        return _retried(error, delivery)
    if issubclass(kind, Unavailable):
        return _held_up(error, "unavailable", text_in(error, "dependency"), delivery)
    if issubclass(kind, RateLimited):
        by_us = read(error, "status") is None  # our own budget refused it: nothing was sent
        return _held_up(error, RateLimited.reason, text_in(error, "operation") if by_us else "", delivery)
    if issubclass(kind, AttemptTimedOut):
        return _failed(error, "timed-out", "", delivery)
    if issubclass(kind, MemoryError):
        return _failed(error, "out-of-memory", "", delivery)
    misfit = first_behind(said, FieldMisfit)
    if misfit is not None:  # the next attempt would read the same field
        return Outcome("dead", PAYLOAD_MISMATCH, text_in(misfit, "field"), trace=where(error))
    shows_text = delivery.handler.error_text or issubclass(kind, HandlerEnded)  # its text is ours
    detail = with_text(error) if shows_text else name_of(kind)
    return _failed(error, CODE_ERROR if issubclass(kind, CODE_ERRORS) else "error", detail, delivery)


def _retried(error: BaseException, delivery: _Delivery) -> Outcome:
    """Return the outcome of a `Retry`."""
    after_s, fault = seconds_in(error, "after_s")
    detail = text_in(error, "reason")
    if fault:
        detail = f"{bounded(detail, REASON_CHARS - len(fault) - 2)}; {fault}"
    if not is_false(read(error, "counts")):
        return _failed(error, "retry-asked", detail, delivery, after_s)
    handler, age_s = delivery.handler, delivery.age_s
    if age_s > handler.not_yet_for_s:
        return Outcome("dead", "too-early-for-too-long", detail)
    reason = next((kind.slug for kind in (LoopGuarded, Throttled) if is_a(error, kind)), "not-yet")
    wait_s = after_s
    if wait_s is None:
        wait_s = asked_pause_s(None, reason, handler, delivery.earlier, delivery.uniform)
    wait_s = within(wait_s, handler.not_yet_for_s, age_s, handler.backoff)
    return Outcome("retry", reason, detail, wait_s, counts=False, asked_s=after_s)


def _held_up(error: BaseException, reason: str, detail: str, delivery: _Delivery) -> Outcome:
    """Return the outcome of an attempt that a service or our budget refused: none is spent, for a bounded time."""
    handler, age_s, trace = delivery.handler, delivery.age_s, where(error)
    if age_s > handler.not_yet_for_s:
        return Outcome("dead", f"{reason}-for-too-long", detail, trace=trace)
    asked_s, _ = seconds_in(error, "retry_after_s")
    wait_s = asked_pause_s(asked_s, reason, handler, delivery.earlier, delivery.uniform)
    wait_s = within(wait_s, handler.not_yet_for_s, age_s, handler.backoff)
    dependency = detail if is_a(error, Unavailable) else ""
    return Outcome("retry", reason, detail, wait_s, False, trace, dependency, asked_s)


def _failed(
    error: BaseException, reason: str, detail: str, delivery: _Delivery, after_s: float | None = None
) -> Outcome:
    """Return the outcome of an attempt that counts: another one by the handler's policy, or the end.

    Args:
        after_s: the pause that the author asks for; None leaves it to the policy.
    """
    handler, trace = delivery.handler, where(error)
    if handler.max_attempts is not None and delivery.attempt >= handler.max_attempts:
        return Outcome("dead", "attempts-exhausted", detail or reason, trace=trace)
    if delivery.failing_s >= handler.give_up_after_s:
        return Outcome("dead", "retried-too-long", detail or reason, trace=trace)
    if after_s is not None:
        return Outcome("retry", reason, detail, after_s, trace=trace, asked_s=after_s)
    wait_s = delay_s(delivery.attempt, handler.backoff, delivery.uniform)
    if reason == CODE_ERROR:
        row_s = min(row_lasts_s(CODE_ERROR, delivery.earlier, delivery.began_ms), delivery.failing_s)
        if row_s >= CODE_ERRORS_FOR_S:
            return Outcome("dead", CODE_ERROR, detail, trace=trace)
        wait_s = within(wait_s, CODE_ERRORS_FOR_S, row_s, handler.backoff)
    return Outcome(
        "retry",
        reason,
        detail,
        within(wait_s, handler.give_up_after_s, delivery.failing_s, handler.backoff),
        trace=trace,
    )


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
