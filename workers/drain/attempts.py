"""The attempts of one drain, each from the event to what is written down of its outcome.

`runner.py` decides when an attempt may start. `workers/delivery/attempt.py` is one run of the handler.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from types import FrameType

from eventlog.clock import now_ms
from eventlog.errors import LeaseLost
from eventlog.lease import clock_s
from eventlog.record import HURRIED_MS
from eventlog.step_ledger import StepLedger
from eventlog.throttle import ThrottleSlots
from handlers.declaration import Handler
from handlers.entity_notes import EntityNotes
from workers.delivery.attempt import Attempt, Runtime, outcome_after, run, traced
from workers.delivery.handler_call import frames_in_thread
from workers.delivery.loop_guard import LoopGuard
from workers.delivery.outcomes import TIMER_OVER, AttemptTimedOut, HandlerEnded, Outcome
from workers.delivery.stacks import inwards, line_in
from workers.delivery.throttling import Throttling
from workers.drain.entity_records import EntityRecords
from workers.drain.entry import Entry
from workers.drain.parts import DrainParts
from workers.once.step import DeliveryRevoked
from workers.once.steps import Steps

MOST_TRIALS = 20  # of events that call nothing, after which the handler goes on
HOLD_MARGIN_S = 5.0  # on top of an attempt's time, until it has surely said how its steps ended


class Attempts:
    """Makes attempts under the lease of one drain.

    Attributes:
        stopping: whether no attempt begins and those at work may be cancelled.
        tries: whether one event at a time runs, until one shows that the service that the handler needs is back.
        outlived: events whose attempt exceeds its time and cannot be ended.
    """

    def __init__(self, parts: DrainParts) -> None:
        lease, runtime = parts.lease, parts.runtime
        self.stopping = False
        self.tries = False
        self.outlived: set[Entry] = set()
        self._lease = lease
        self._runtime = runtime
        self._shared = parts.shared
        self._window = parts.window
        self._pending = parts.pending
        self._log = parts.log
        self._records = parts.records
        self._loop = asyncio.get_running_loop()
        self._ledger = StepLedger(lease.log, lease, hold_s=runtime.handler.timeout_s + HOLD_MARGIN_S)
        self._run: Callable[[Runtime, Attempt], Awaitable[Outcome]]
        self._run = run if runtime.tracing is None else partial(traced, runtime.tracing)
        self._throttle = runtime.handler.throttle
        self._slots = ThrottleSlots(lease.log, lease)
        self._tried = 0
        self._worked_s = self._since_s = 0.0

    @property
    def worked_s(self) -> float:
        """Return for how many seconds events of this drain have been at work, without the turns of other drains."""
        return self._worked_s + (clock_s() - self._since_s if self._window.running else 0.0)

    @property
    def ends_with_process(self) -> bool:
        """Whether an attempt that cannot be ended is alone in a process of its own."""
        return bool(self.outlived) and self._runtime.handler.isolation is not None

    async def run(self, entry: Entry, began_s: float) -> float:
        """Run the handler, and pass its outcome to window and settlement.

        Args:
            began_s: when the attempt begins, in the clock of leases.

        Returns:
            When the attempt ended.
        """
        began_ms = now_ms()
        if self._shared.pace.bounds:
            self._shared.pace.start(began_ms - entry.event.received_at_ms, began_s)
        if not self._window.running:
            self._since_s = began_s
        self._window.begin(entry, began_ms)
        attempt = self._prepared(entry, began_ms)
        try:
            if self._records is not None:
                outcome = await self._run_with(self._records, entry, attempt)
            else:
                outcome = await self._run(self._runtime, attempt)
        except asyncio.CancelledError as error:
            if not self.stopping:  # then the handler cancelled its own task, which ends with this attempt
                ended = HandlerEnded("it cancelled its own task").with_traceback(error.__traceback__)
                self._cut_short(entry, ended)
            raise
        finally:
            now_s = clock_s()
            self._window.running.discard(entry)
            if not self._window.running:
                self._worked_s += now_s - self._since_s
        self._pending.ran(now_s - began_s)
        self._take_in(entry, attempt, outcome, began_ms)
        if self.tries:
            await self._conclude_trial(attempt, outcome)
        return now_s

    def end_outlived(self, entry: Entry) -> None:
        """Count a thread that never returns as an attempt."""
        self._cut_short(entry, AttemptTimedOut())

    def report_overdue(self, entry: Entry | None) -> None:
        """Report that nothing ends the attempt of an event; None where it is not known which."""
        event_id = "" if entry is None else entry.event.event_id
        where = "" if entry is None else self._line_of(entry)
        self._shared.overdue(self._runtime.handler.name, event_id, where)

    def _prepared(self, entry: Entry, began_ms: int) -> Attempt:
        attempt = Attempt(
            event=entry.event,
            number=entry.attempts + 1,
            age_s=self._since(entry.first_ms, began_ms) if entry.first_ms < began_ms else 0.0,
            allowed=lambda: self._lease.alive,
            overdue=lambda: self._outlives(entry),
            steps=lambda: self._steps(entry),
            replayed=entry.replayed,
            watch=self._shared.watch,
        )
        if entry.log:
            attempt.earlier, attempt.began_ms = entry.log, began_ms
        if entry.attempts:
            attempt.failing_s = self._since(entry.failed_ms or entry.first_ms, began_ms)
        if entry.own is None and self._runtime.key_of is not None:
            entry.own = self._runtime.key_of(entry.event)  # after a death its key may not be asked for sooner
        if entry.own is not None and entry.own.dead is not None:
            attempt.unkeyed = entry.own.dead
        if self._throttle is not None:
            attempt.throttling = Throttling(self._slots, self._throttle, entry.key, entry.event.event_id)
        return attempt

    def _since(self, since_ms: int, until_ms: int) -> float:
        """Return the seconds of a span of time, without those in which a service that the handler needs was away."""
        return (until_ms - since_ms) / 1000 - self._shared.watch.lost_s(since_ms, until_ms)

    async def _run_with(self, records: EntityRecords, entry: Entry, attempt: Attempt) -> Outcome:
        """Run the handler with its notes, unless the event is a timer that was cancelled or set again."""
        try:
            attempt.entity = await records.notes(entry)
        except LeaseLost as error:
            raise DeliveryRevoked from error
        try:
            if records.is_over(entry):
                return TIMER_OVER
            return await self._run(self._runtime, attempt)
        finally:
            records.release(entry)

    def _take_in(self, entry: Entry, attempt: Attempt, outcome: Outcome, began_ms: int) -> None:
        if attempt.misfits and outcome.kind != "retry":
            self._pending.misread(entry)
        if attempt.calls is not None:
            self._pending.called(attempt.calls)
        if outcome.kind != "done" or attempt.actions or entry.log:
            entry.note(outcome.note(began_ms, attempt.called(reads=outcome.kind != "done")))
        self._pending.finish(entry, outcome)
        if self._records is not None and outcome.kind in ("done", "skipped"):
            self._records.keep(entry, attempt.entity)  # after its end, so that a timer can set itself again
            self._tell_timers(entry, attempt.entity)

    def _tell_timers(self, entry: Entry, notes: EntityNotes) -> None:
        for name, timer in notes.changes.items():
            fields = {"event_id": entry.event.event_id, "notification": entry.event.type, "key": entry.key}
            if timer is None:
                self._log.debug("timer.cancelled", timer=name, **fields)
            else:
                self._log.debug("timer.set", timer=name, after_s=round(timer.delay_s, 3), **fields)

    async def _conclude_trial(self, attempt: Attempt, outcome: Outcome) -> None:
        """After a trial: let all events run, or one more if this one showed nothing."""
        if attempt.failed:
            return  # its report holds the handler for longer
        watch = self._shared.watch
        self._tried += 1
        if attempt.answered or self._tried >= MOST_TRIALS or (outcome.kind == "done" and watch.is_by_authors):
            self.tries = False
            await watch.passed()
            self._shared.pace.recover(clock_s(), clock_s())

    def _cut_short(self, entry: Entry, error: Exception) -> None:
        ended_ms = now_ms()
        outcome = outcome_after(error, self._runtime.handler, self._prepared(entry, ended_ms))
        entry.note(outcome.note(ended_ms, ()))
        self._pending.finish(entry, outcome)

    def _outlives(self, entry: Entry) -> None:
        self.outlived.add(entry)
        self.report_overdue(entry)

    def _line_of(self, entry: Entry) -> str:
        """Return the line of the handler where the attempt of an event stands; empty if it is not known."""
        handler = self._runtime.handler
        if not handler.is_async:
            return line_in(frames_in_thread(handler, entry.event.event_id), handler)
        for task in asyncio.all_tasks():
            frames = list(inwards(task.get_coro()))
            if any((found := attempt_in(frame)) is not None and found[1] is entry for frame in frames):
                return line_in(reversed(frames), handler)
        return ""

    def _steps(self, entry: Entry) -> Steps:
        guard = LoopGuard(
            self._lease.log,
            self._lease.handler,
            entry.event,
            depth=self._shared.loop_depth,
            lifted=entry.due_ms == HURRIED_MS,
            alive=lambda: self._lease.alive,
            lines=self._runtime.lines,
        )
        return Steps(self._ledger, entry.event.event_id, entry.key, self._loop, guard)


def attempt_in(frame: FrameType) -> tuple[Handler, Entry] | None:
    """Return the handler and the event of an attempt that runs in a frame; None for any other frame."""
    if frame.f_code is not _RUN:
        return None
    attempts, entry = frame.f_locals.get("self"), frame.f_locals.get("entry")
    if not isinstance(attempts, Attempts) or not isinstance(entry, Entry):
        return None
    return attempts._runtime.handler, entry  # noqa: SLF001 - of the same module


_RUN = Attempts.run.__code__
