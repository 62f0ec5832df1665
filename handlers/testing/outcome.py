"""The outcome of a delivery, in the words of a handler's author."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

from eventlog.called import read_call
from handlers.declaration import Handler
from handlers.entity_notes import EntityNotes
from handlers.outcomes import CallNotDeclared, StateRefused
from handlers.testing.fake_ampeco import Called
from workers.delivery import outcomes
from workers.delivery.dry_run import DryAction

_IN_WORDS = frozenset({"skipped", "retry-asked", "not-yet", "gave-up", "dry-run"})
"""Reasons that say no more than their kind: what the author said is more."""


class PlannedTimer(NamedTuple):
    """A timer that a handler asked for with `ctx.later`.

    Attributes:
        delay_s: seconds until it falls due.
        data: as JSON gives it back; None without.
    """

    name: str
    delay_s: float
    data: Any = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one attempt ended.

    Attributes:
        kind: `done`, `skipped`, `retry` (again after `after_s`) or `dead` (kept for a human); `ended` for a dry run
            that cannot go on, since what comes next depends on a result that it does not have; `superseded` for a
            timer that was cancelled or set again after it fell due.
        reason: the words of `Skip`, `Retry` or `GiveUp`; else the slug, e.g. `filtered`, `payload-mismatch`,
            `call-not-declared`, `throttled`, `unavailable`, `error`, `code-error`; empty when it is done.
        after_s: for `retry`: seconds until the next attempt. With jitter they are drawn by lot.
        calls: requests to AMPECO that change something, and those that were refused as not declared. In a dry run,
            those that would have been made.
        steps: names of the once-only steps that were called in this attempt; in a dry run, would have been.
        reads: requests that change nothing.
        slug: the stable word for `reason`, as logs and dead letters have it.
        detail: the author's words, or the class of the error.
        counts: whether an attempt was spent.
        where: for an error: its class and the lines it passed.
        remembered: names of the once-only steps that gave their recorded result instead of being called.
        timers: timers that were set; in a dry run, would have been. None of an attempt that is not done or skipped.
        cancelled: names of the timers that were cancelled.
        state: `ctx.entity_state` as it is kept after the attempt, in a dry run as it would be; None without one.
    """

    kind: Literal["done", "skipped", "superseded", "retry", "dead", "ended"]
    reason: str = ""
    after_s: float | None = None
    calls: tuple[Called, ...] = ()
    steps: tuple[str, ...] = ()
    reads: tuple[Called, ...] = ()
    slug: str = ""
    detail: str = ""
    counts: bool = True
    where: str = ""
    remembered: tuple[str, ...] = ()
    timers: tuple[PlannedTimer, ...] = ()
    cancelled: tuple[str, ...] = ()
    state: Any = None

    @property
    def operations(self) -> list[str]:
        """The names of the operations in `calls`."""
        return [call.operation for call in self.calls]


def outcome_from(
    came_of: outcomes.Outcome,
    called: Sequence[Called] | None,
    noted: Sequence[str],
    steps: Sequence[str],
    would_call: Sequence[DryAction] = (),
    remembered: Sequence[str] = (),
) -> Outcome:
    """Translate the worker's outcome.

    Args:
        called: the requests that the fake answered; None where there is no fake.
        noted: the worker's notes of actions, each a line of `eventlog.called`.
        would_call: the requests of a dry run.
        remembered: the steps that gave their recorded result.
    """
    in_notes = [
        Called(call.operation, call.path, None, call.status, call.outcome)
        for call in map(read_call, noted)
        if call is not None
    ]
    refused = [call for call in in_notes if call.outcome == CallNotDeclared.slug]
    if called is None:
        called = [call for call in in_notes if call.outcome != CallNotDeclared.slug]
    planned = [Called(each.operation, each.path, _body(each.body)) for each in would_call]
    kind: Any = came_of.kind
    return Outcome(
        kind=kind,
        reason=came_of.detail if came_of.reason in _IN_WORDS and came_of.detail else came_of.reason,
        after_s=came_of.delay_s if came_of.kind == "retry" else None,
        calls=(*(call for call in called if not call.reads), *refused, *planned),
        steps=tuple(steps),
        reads=tuple(call for call in called if call.reads),
        slug=came_of.reason,
        detail=came_of.detail,
        counts=came_of.counts,
        where=came_of.trace,
        remembered=tuple(remembered),
    )


def with_notes(outcome: Outcome, handler: Handler, notes: EntityNotes) -> Outcome:
    """Add what the attempt noted of the entity, where that counts."""
    if outcome.kind not in ("done", "skipped"):
        return outcome
    timers = [timer for timer in notes.changes.values() if timer is not None]
    return replace(
        outcome,
        timers=tuple(
            PlannedTimer(timer.name, timer.delay_s, json.loads(timer.data) if timer.data else None)
            for timer in timers
        ),
        cancelled=tuple(name for name, timer in notes.changes.items() if timer is None),
        state=_state_of(handler, notes.document),
    )


def _state_of(handler: Handler, document: str) -> Any:
    if not document:
        return None
    try:
        return EntityNotes("", model=handler.entity_state, document=document).read()
    except StateRefused:  # it does not fit, and the handler did not look at it
        return None


def _body(raw: bytes) -> Any:
    return json.loads(raw) if raw else None
