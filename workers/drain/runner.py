"""Runs the ready events of one drain, as many at a time as the handler has slots.

An attempt starts only under a live lease and before a stop. A crash suspect runs alone, counted in Redis first.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from redis.exceptions import RedisError

from eventlog.blocked_notes import BlockedNote, take_note
from eventlog.clock import now_ms
from eventlog.connection.connect import end_tasks
from eventlog.errors import LeaseLost
from eventlog.lease import Lease, clock_s
from eventlog.record import HURRIED_MS, AttemptNote
from eventlog.step_ledger import StepLedger
from eventlog.throttle import ThrottleSlots
from handlers.declaration import Handler
from handlers.entity_notes import EntityNotes
from workers.delivery.attempt import Attempt, Runtime, frames_in_thread, run, traced
from workers.delivery.loop_guard import LoopGuard
from workers.delivery.outcomes import TIMER_OVER, AttemptTimedOut, HandlerEnded, Outcome, outcome_of
from workers.delivery.stacks import inwards, line_in
from workers.delivery.throttling import Throttling
from workers.drain.entity_records import EntityRecords
from workers.drain.entry import Entry
from workers.drain.pace import Pace
from workers.drain.service_watch import HandlerWatch
from workers.drain.settlement import PendingOutcomes
from workers.drain.steps_at_once import StepsAtOnce
from workers.drain.turns import Turns
from workers.drain.window import Window
from workers.once.step import DeliveryRevoked
from workers.once.steps import Steps

MAX_CRASHES = 3
WORKER_DIED, LOOP_BLOCKED = "worker-died", "loop-blocked"
MOST_TRIALS = 20  # of events that call nothing, after which the handler goes on
LOOP_DEPTH = 5

HOLD_MARGIN_S = 5.0  # on top of an attempt's time, until it has surely said how its steps ended
_SLOT_S = 0.005  # how long one lane keeps a slot for which another one waits
_ABANDON_S = 3.0  # for attempts that were cancelled to come to an end, while the lease still lives


class Slots:
    """How many events one handler works on at the same time in this process, over all lanes."""

    def __init__(self, limit: int) -> None:
        self._free = limit
        self._waiting: deque[asyncio.Event] = deque()

    def try_take(self, waiter: asyncio.Event) -> bool:
        """Take one; else `waiter` is set when one is free."""
        if self._free:
            self._free -= 1
            return True
        if waiter not in self._waiting:
            self._waiting.append(waiter)
        return False

    def give_back(self) -> None:
        """Free one, and wake the drain that has waited longest."""
        self._free += 1
        if self._waiting:
            self._waiting.popleft().set()

    @property
    def wanted(self) -> bool:
        """Whether another lane waits for one."""
        return bool(self._waiting)


@dataclass(frozen=True)
class Shared:
    """What the drains of one handler share in a process.

    Attributes:
        suspects_turn: held while an event runs that may have killed a worker. So no two of them run together in one
            process, and an innocent one is not blamed.
        overdue: called when an attempt outlives its time and nothing can end it, with the handler's name, the event's
            id, and the line where it stands.
        turns: of the event loop, for all handlers of the process.
        pace: of events that waited long.
        watch: follows the services that the handler needs; None where nothing does.
        loop_depth: most actions of a chain for one entity.
        steps: under way, of all handlers of the process.
    """

    slots: Slots
    suspects_turn: asyncio.Lock
    overdue: Callable[[str, str, str], None]
    turns: Turns = field(default_factory=Turns)
    pace: Pace = field(default_factory=lambda: Pace(None))
    watch: HandlerWatch | None = None
    loop_depth: int = LOOP_DEPTH
    steps: StepsAtOnce = field(default_factory=StepsAtOnce)


class Runner:
    """The attempts of one drain.

    Its tasks are no asyncio.TaskGroup. A group's exit waits without limit for a task that does not let itself be
    cancelled, and cancels each only once, which Python 3.11 can swallow. When a task fails, a group also cancels the
    drain's own task, which the dispatcher's watch would take for its own cancel and undo.

    Attributes:
        starting: tasks that have not had their first turn.
        stopping: nothing new starts.
        tries: one event at a time runs, until one says that what the handler needs is back.
        outlived: events whose attempt is over its time and cannot be ended.
        fault: what ended a task and is no handler's fault.

    Args:
        wake: set when the drain must look again.
        records: what the handler keeps of entities; None when it keeps nothing.
    """

    def __init__(
        self,
        lease: Lease,
        runtime: Runtime,
        shared: Shared,
        window: Window,
        pending: PendingOutcomes,
        wake: asyncio.Event,
        log: Any,
        records: EntityRecords | None = None,
    ) -> None:
        self.starting = 0
        self.stopping = False
        self.tries = False
        self.outlived: set[Entry] = set()
        self.fault: BaseException | None = None
        self._lease = lease
        self._runtime = runtime
        self._shared = shared
        self._window = window
        self._pending = pending
        self._wake = wake
        self._log = log
        self._records = records
        self._loop = asyncio.get_running_loop()
        self._ledger = StepLedger(lease.log, lease, hold_s=runtime.handler.timeout_s + HOLD_MARGIN_S)
        self._throttle = runtime.handler.throttle
        self._slots = ThrottleSlots(lease.log, lease)
        self._tasks: set[asyncio.Task[None]] = set()
        self._suspect_task: asyncio.Task[None] | None = None
        self._marked = asyncio.Event()
        self._queued = 0  # tasks that wait for a turn of the event loop
        self._paced_until_s = 0.0
        self._tried = 0
        self._worked_s = self._since_s = 0.0

    @property
    def busy(self) -> bool:
        """Whether anything runs or is about to."""
        return bool(self._tasks or self._suspect_task)

    @property
    def suspects(self) -> bool:
        """Whether suspects run or wait to run; until they are done nothing else starts."""
        return bool(self._window.suspects or self._suspect_task)

    @property
    def worked_s(self) -> float:
        """Return for how many seconds events of this drain have been at work, without the turns of other drains."""
        return self._worked_s + (clock_s() - self._since_s if self._window.running else 0.0)

    @property
    def ends_with_process(self) -> bool:
        """Whether an attempt that cannot be ended runs in a process of its own, in which there is nothing else."""
        return bool(self.outlived) and self._runtime.handler.isolation is not None

    def start(self, at_once: int = 1) -> None:
        """Start what is ready: with one task, which works off events that never wait; with more while they do."""
        if self.suspects:
            if self._suspect_task is None:
                self._suspect_task = asyncio.create_task(self._run_suspects())
            return
        if self.tries and self._tasks:
            return
        if self._queued or (self._shared.pace.bounds and self._is_paced(clock_s())):
            return
        tasks = min(1 if self.tries else at_once, len(self._window.ready) - self.starting)
        for _ in range(tasks):
            if not self._shared.slots.try_take(self._wake):
                return
            self.starting += 1
            task = asyncio.create_task(self._run_ready())
            self._tasks.add(task)
            task.add_done_callback(self._ended)
        if tasks > 0:
            self._loop.call_soon(self._start_more, at_once * 2)

    def marked(self, entries: Iterable[Entry]) -> None:
        """Redis holds these as running."""
        if any(entry.suspect for entry in entries):
            self._marked.set()

    def stop(self) -> None:
        """Start nothing new."""
        self.stopping = True
        self._wake.set()

    def release_suspect(self) -> None:
        """After a stop: the suspect that waits for its mark does not run."""
        self._marked.set()

    def end_outlived(self, entry: Entry) -> None:
        """Count a thread that never returns as an attempt."""
        self._cut_short(entry, AttemptTimedOut())

    async def end(self) -> None:
        """Cancel what still runs and wait until it is gone."""
        tasks = [*self._tasks, *([self._suspect_task] if self._suspect_task else [])]
        if await end_tasks(tasks, within_s=_ABANDON_S):
            # It does not let itself be cancelled, so it ends with its process.
            entry = next(iter(self._window.running), None)
            self._report_overdue(entry)

    def _start_more(self, at_once: int) -> None:
        """The tasks started last have had their turn; what is still ready waits for others that wait."""
        if self._window.ready and not self.stopping:
            self.start(at_once)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._shared.slots.give_back()
        if not task.cancelled():
            self.fault = self.fault or task.exception()
        self._wake.set()

    async def _run_ready(self) -> None:
        self.starting -= 1
        handler, turns, started = self._runtime.handler.name, self._shared.turns, False
        is_bounded = self._shared.pace.bounds
        try:
            now_s = clock_s()
            slot_until_s = now_s + _SLOT_S
            while self._window.ready and not self.stopping and now_s < self._lease.deadline_s:
                if started and now_s > slot_until_s and self._shared.slots.wanted:
                    return  # another lane's turn, also where each event waits and no turn of the loop runs out
                if is_bounded and self._is_paced(now_s):
                    return
                if turns.may_go_on(handler, now_s, begun=started):
                    started = True
                    now_s = await self._attempt(self._window.ready.popleft(), now_s)
                    if self.tries:
                        return
                elif started and self._shared.slots.wanted:
                    return  # another lane's turn; ours comes again
                else:
                    started = False
                    await self._next_turn(handler)
                    now_s = clock_s()
        except DeliveryRevoked:
            pass  # the lease is gone; the drain finds out with its next step

    async def _next_turn(self, handler: str) -> None:
        self._queued += 1
        try:
            await self._shared.turns.next(handler)
        finally:
            self._queued -= 1
        self._loop.call_soon(self._start_more, len(self._tasks) + 1)

    def _is_paced(self, now_s: float) -> bool:
        """Whether the next event is an old one that the bound holds back; then the drain is woken in time."""
        pace = self._shared.pace
        if not self._window.ready:
            return False
        wait_s = pace.wait_s(now_ms() - self._window.ready[0].event.received_at_ms, now_s)
        if wait_s and now_s >= self._paced_until_s:
            self._paced_until_s = now_s + wait_s
            self._loop.call_later(wait_s, self._wake.set)
        return wait_s > 0

    async def _run_suspects(self) -> None:
        """One at a time and alone, each counted in Redis before it starts."""
        suspects = self._window.suspects
        try:
            while suspects and not self.stopping:
                entry = suspects[0]
                if entry.suspect and self._window.is_first(entry):
                    async with self._shared.suspects_turn:
                        if not self.stopping:
                            await self._run_suspect(entry)
                    if entry.suspect:
                        return
                elif entry.suspect:
                    self._window.park(entry)
                suspects.popleft()
        except DeliveryRevoked:
            pass  # the lease is gone; the drain finds out with its next step
        except Exception as error:  # noqa: BLE001
            self.fault = error
        finally:
            self._suspect_task = None
            self._wake.set()

    async def _run_suspect(self, entry: Entry) -> None:
        before, crashes = entry.log, entry.crashes + 1
        blocked = await self._blocked_by(entry)
        reason = WORKER_DIED if blocked is None else LOOP_BLOCKED
        where = "" if blocked is None else blocked.where
        count = f"{crashes} of {MAX_CRASHES}"
        self._window.count_crash(
            entry, AttemptNote(now_ms(), reason, f"{where} ({count})" if where else count)
        )
        event_id = entry.event.event_id
        self._log.info("delivery.suspected", event_id=event_id, crashes=crashes, reason=reason, where=where)
        if crashes >= MAX_CRASHES:
            self._pending.finish(
                entry, Outcome("dead", reason, where, trace=blocked.trace if blocked else "")
            )
            return
        self._marked.clear()
        self._window.to_mark.append(entry)
        self._wake.set()
        await self._marked.wait()
        if self.stopping or not self._lease.alive:
            self._window.uncount_crash(entry, before)
            return
        await self._attempt(entry, clock_s())

    async def _blocked_by(self, entry: Entry) -> BlockedNote | None:
        """Return what the process that died knew of an event that blocked its loop."""
        with contextlib.suppress(RedisError, OSError):  # then the reason is less exact, and nothing else
            return await take_note(self._lease.log, self._lease.handler, entry.event.event_id)
        return None

    async def _attempt(self, entry: Entry, now_s: float) -> float:
        """Run the handler, and take in what came of it.

        Args:
            now_s: when it begins, in the clock of leases.

        Returns:
            When it ended.
        """
        began_ms = now_ms()
        if self._shared.pace.bounds:
            self._shared.pace.start(began_ms - entry.event.received_at_ms, now_s)
        if not self._window.running:
            self._since_s = now_s
        self._window.begin(entry, began_ms)
        began_s = now_s
        watch = self._shared.watch
        age_s = (began_ms - entry.first_ms) / 1000
        if age_s and watch is not None:
            age_s -= watch.lost_s(entry.first_ms, began_ms)
        attempt = Attempt(
            event=entry.event,
            number=entry.attempts + 1,
            age_s=age_s,
            allowed=lambda: self._lease.alive,
            overdue=lambda: self._outlives(entry),
            steps=lambda: self._steps(entry),
            replayed=entry.replayed,
            watch=watch,
        )
        if entry.log:
            attempt.earlier, attempt.began_ms = entry.log, began_ms
        if entry.own is None and self._runtime.key_of is not None:
            entry.own = self._runtime.key_of(entry.event)  # after a death its key may not be asked for sooner
        if entry.own is not None and entry.own.dead is not None:
            attempt.unkeyed = entry.own.dead
        if self._throttle is not None:
            attempt.throttling = Throttling(self._slots, self._throttle, entry.key, entry.event.event_id)
        try:
            if self._records is not None:
                outcome = await self._run_with(self._records, entry, attempt)
            elif self._runtime.tracing is None:
                outcome = await run(self._runtime, attempt)
            else:
                outcome = await traced(self._runtime.tracing, self._runtime, attempt)
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
        if attempt.misfits and outcome.kind != "retry":
            self._pending.misread(entry)
        self._pending.ran(now_s - began_s)
        if attempt.calls is not None:
            self._pending.called(attempt.calls)
        if outcome.kind != "done" or attempt.actions or entry.log:
            self._window.note(entry, outcome.note(began_ms, attempt.called(reads=outcome.kind != "done")))
        self._pending.finish(entry, outcome)
        if self._records is not None and outcome.kind in ("done", "skipped"):
            self._records.keep(entry, attempt.entity)  # after its end, so that a timer can set itself again
            self._tell_timers(entry, attempt.entity)
        if self.tries:
            await self._conclude_trial(attempt, outcome)
        return now_s

    async def _run_with(self, records: EntityRecords, entry: Entry, attempt: Attempt) -> Outcome:
        """Run the handler with its notes, unless the event is a timer that was cancelled or set again."""
        try:
            attempt.entity = await records.notes(entry)
        except LeaseLost as error:
            raise DeliveryRevoked from error
        try:
            if records.is_over(entry):
                return TIMER_OVER
            if self._runtime.tracing is None:
                return await run(self._runtime, attempt)
            return await traced(self._runtime.tracing, self._runtime, attempt)
        finally:
            records.release(entry)

    def _tell_timers(self, entry: Entry, notes: EntityNotes) -> None:
        for name, timer in notes.changes.items():
            fields = {"event_id": entry.event.event_id, "notification": entry.event.type, "key": entry.key}
            if timer is None:
                self._log.debug("timer.cancelled", timer=name, **fields)
            else:
                self._log.debug("timer.set", timer=name, after_s=round(timer.delay_s, 3), **fields)

    async def _conclude_trial(self, attempt: Attempt, outcome: Outcome) -> None:
        """After an event that tried: go on with all others, or with one more if this one did not say enough."""
        watch = self._shared.watch
        if watch is None or attempt.failed:
            return  # its report holds the handler for longer
        self._tried += 1
        if attempt.answered or self._tried >= MOST_TRIALS or (outcome.kind == "done" and watch.is_by_authors):
            self.tries = False
            await watch.passed()
            self._shared.pace.recover(clock_s(), clock_s())

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

    def _outlives(self, entry: Entry) -> None:
        self.outlived.add(entry)
        self._report_overdue(entry)

    def _report_overdue(self, entry: Entry | None) -> None:
        handler = self._runtime.handler
        event_id = entry.event.event_id if entry is not None else ""
        self._shared.overdue(handler.name, event_id, self._line_of(entry) if entry is not None else "")

    def _line_of(self, entry: Entry) -> str:
        """Return the line of the handler where the attempt of an event stands; empty if it is not known."""
        handler = self._runtime.handler
        if not handler.is_async:
            return line_in(frames_in_thread(handler, entry.event.event_id), handler)
        for task in (*self._tasks, self._suspect_task):
            frames = list(inwards(task.get_coro())) if task is not None else []
            if any(entry_of(frame) is entry for frame in frames):
                return line_in(reversed(frames), handler)
        return ""

    def _cut_short(self, entry: Entry, error: Exception) -> None:
        handler, number = self._runtime.handler, entry.attempts + 1
        outcome = outcome_of(error, handler, attempt=number, age_s=0.0, uniform=random.uniform)
        self._window.note(entry, outcome.note(now_ms(), ()))
        self._pending.finish(entry, outcome)


def entry_of(frame: FrameType) -> Entry | None:
    """Return the event whose attempt runs in a frame; None for any other frame."""
    if frame.f_code is not _ATTEMPT:
        return None
    found = frame.f_locals.get("entry")
    return found if isinstance(found, Entry) else None


def handler_of(frame: FrameType) -> Handler | None:
    """Return the handler of an attempt that runs in a frame; None for any other frame."""
    if frame.f_code is not _ATTEMPT:
        return None
    runner: Runner = frame.f_locals["self"]
    return runner._runtime.handler  # noqa: SLF001 - of the same module


_ATTEMPT = Runner._attempt.__code__  # noqa: SLF001 - of the same module
