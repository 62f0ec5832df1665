"""One lane of one handler: takes its lease, keeps its order, runs its events, settles what is done.

What Redis knows of an event decides what a crash means for it, so two rules run through this module:
an attempt starts only when Redis already knows that the event may be at work (it lies in (cur, runto], or in
`open` as running); and the cursor passes an unfinished event only in the same step that writes it into `open`.

Per entity key, events run in log order and one at a time. The next one starts only when Redis has the outcome of
the one before: else a crash in between would run the earlier one once more after the later one. Whatever waits for
a retry holds back the later events of its key, which are parked in `open` so that the cursor can go on.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from dataclasses import replace

import structlog

from workers.deliver import Attempt, HandlerEnded, Runtime, run
from workers.eventlog.connect import end_tasks
from workers.eventlog.errors import LeaseLost
from workers.eventlog.lease import Lease, Mode, Read, Settlement, Taken, clock_s
from workers.eventlog.ledger import StepLedger
from workers.eventlog.moments import now_ms
from workers.eventlog.record import OPEN_QUOTA, AttemptNote, id_order
from workers.ledger import Steps
from workers.outcomes import SUPERSEDED, AttemptTimedOut, DeliveryRevoked, Outcome, outcome_of
from workers.settling import Settling
from workers.window import Entry, Window

MAX_CRASHES = 3

_FIRST_BATCH, _MIN_BATCH, _MAX_BATCH = 8, 2, 256
_MAX_WINDOW = 512
_RENEW_S = 2.0
_SETTLE_S = 0.08  # outcomes are in Redis within 100 ms
_URGENT_S = 0.002  # sooner where the next event of an entity waits for it
_PASS_S = 0.5  # how long one slow event may hold the cursor
_LINGER_S = 0.008  # before falling asleep: what arrives now costs no new lease
_HOLD_MARGIN_S = 5.0  # on top of an attempt's time, until it has surely told how its steps ended
_ABANDON_S = 3.0  # for attempts that were cancelled to come to an end, while the lease still lives
_STAY_PER_OPEN_S, _STAY_AT_MOST_S = (
    0.001,
    10.0,
)  # awake with nothing to do, since coming back reads all of `open`
_POLL_S = 0.05  # for new events while earlier ones are still at work
_BREATH_S = 0.005  # how long one task may hold the event loop with events that never wait

_log = structlog.get_logger()


class Slots:
    """How many events one handler works on at the same time in this process, over all lanes."""

    def __init__(self, limit: int) -> None:
        self._free = limit
        self._waiting: deque[asyncio.Event] = deque()

    def try_take(self, waiter: asyncio.Event) -> bool:
        """Take one, or be woken when one is free."""
        if self._free:
            self._free -= 1
            return True
        if waiter not in self._waiting:
            self._waiting.append(waiter)
        return False

    def give_back(self) -> None:
        self._free += 1
        if self._waiting:
            self._waiting.popleft().set()

    @property
    def wanted(self) -> bool:
        """Whether another lane waits for one."""
        return bool(self._waiting)


class Drain:
    """Works through one (handler, lane) until nothing is left to do, the lease is lost, or it is told to stop.

    Attributes:
        outdated: only newer code may go on here.

    Args:
        suspects_turn: held while an event runs that may have killed a worker, so that no two of them run together
            in one process and an innocent one is not blamed.
        overdue: told when a thread outlives its time.
    """

    def __init__(
        self,
        lease: Lease,
        runtime: Runtime,
        slots: Slots,
        suspects_turn: asyncio.Lock,
        overdue: Callable[[], None],
    ) -> None:
        self.lease = lease
        self.started_s = clock_s()
        self._runtime = runtime
        self._handler = runtime.handler
        self._slots = slots
        self._suspects_turn = suspects_turn
        self._overdue = overdue
        self._loop = asyncio.get_running_loop()
        self._ledger = StepLedger(lease.log, lease, hold_s=self._handler.timeout_s + _HOLD_MARGIN_S)
        self._log = _log.bind(handler=runtime.handler.name, lane=lease.lane)
        self._wake = asyncio.Event()
        self._marked = asyncio.Event()
        self._stopping = False
        self._newest = True

        self._window = Window(self._handler.order, "")
        self._settling = Settling(self._log)
        self._tasks: set[asyncio.Task[None]] = set()
        self._suspect_task: asyncio.Task[None] | None = None
        self._outlived: set[Entry] = set()
        self._starting = 0

        self._batch = _FIRST_BATCH
        self._more = True
        self._read_at_s = self._read_next_s = 0.0
        self._cur_moved_s = 0.0
        self._told_full = False
        self._unread = False  # part of (cur, runto], which only newer code may judge
        self._fault: BaseException | None = None
        self.outdated = False

    def stop(self) -> None:
        """Start nothing new; finish what runs, hand the rest back."""
        self._stopping = True
        self._wake.set()

    async def run(self, grace_s: float) -> None:
        """Work until asleep, stopped, outdated or lost. Raises nothing but CancelledError.

        Args:
            grace_s: after `stop`, seconds that running attempts have to finish.
        """
        try:
            taken = await self.lease.take()
            if taken is None:
                return
            await self._begin(taken)
            if self.outdated or not await self._work():
                await self._hand_back(grace_s)
        except LeaseLost as error:
            self._log.warning("lease.lost", error=str(error), in_flight=len(self._window.running))
        except Exception:  # noqa: BLE001
            # A record we cannot read or a fault of ours: settle nothing, let the lease run out, say so.
            self._log.exception("drain.failed")
        finally:
            self._stopping = True
            await self._abandon()
        if settled := self._settling.settled:
            self._log.debug("lane.drained", settled=settled, seconds=round(clock_s() - self.started_s, 3))

    async def _begin(self, taken: Taken) -> None:
        """Put together all that was handed out before: what is open, and what lies in (cur, runto].

        All of it is read before anything starts, so that each event has one Entry and each key its order.
        """
        window = self._window = Window(self._handler.order, taken.cur)
        self._newest = taken.newest == self._runtime.version
        self._cur_moved_s = clock_s()
        for record in taken.open:
            window.recall(record)
        handed_out = id_order(taken.runto)
        until = max([handed_out, *(record.event.order for record in taken.open)])
        while id_order(window.pos) < until and not self.outdated:
            read = await self._read_on(Settlement(), "work", _MAX_BATCH)
            for event in read.events:
                window.reread(event, settled=event.stream_id in taken.ahead)
            if read.exhausted:
                break
        self._unread = self.outdated
        window.arrange(handed_out)
        self._drop_superseded()

    # The loop

    async def _work(self) -> bool:
        """True when the lease was given back because nothing is left to do."""
        lingered, idle_since_s = False, 0.0
        while not self._stopping:
            if self._fault is not None:
                raise self._fault
            if self.outdated and self._idle():
                return False
            self._wake.clear()
            self._window.start_due(now_ms())
            self._start()
            if self._starting:
                await asyncio.sleep(0)  # their first turn: what never waits is settled by the very next step
            now_s = clock_s()
            if self._idle():
                if not self._more and not lingered:
                    lingered = True
                    await self._rest(now_s + _LINGER_S)
                    continue
                lingered = False
                idle_since_s = idle_since_s or now_s
                appetite = self._appetite()
                stays = now_s - idle_since_s < min(
                    _STAY_AT_MOST_S, self._window.open_count * _STAY_PER_OPEN_S
                )
                read = await self._step("work" if stays else "sleep", appetite)
                if read.asleep:
                    return True
                if read.events:
                    idle_since_s = 0.0
                elif stays:
                    await self._rest(min(clock_s() + _POLL_S, self._next_retry_s()))
                    continue
                if not read.events and (read.exhausted or not appetite):
                    # Full, or the head of the retries is due by the clock of Redis and not yet by ours.
                    await self._rest(min(clock_s() + _RENEW_S, max(self._next_retry_s(), clock_s() + 0.02)))
                continue
            lingered, idle_since_s = False, 0.0
            appetite = self._appetite() if self._more or now_s >= self._read_next_s else 0
            if not appetite:
                self._read_next_s = max(self._read_next_s, now_s + _POLL_S)
            settle_at_s = self._settling.due_s or now_s + _RENEW_S
            renew_at_s = self.lease.renewed_s + _RENEW_S
            waited_for = self._window.unconfirmed and not self._window.running and not self._window.ready
            if appetite or self._window.to_mark or waited_for or now_s >= min(settle_at_s, renew_at_s):
                await self._step("work", appetite)
                continue
            await self._rest(min(settle_at_s, renew_at_s, self._read_next_s, self._next_retry_s()))
        return False

    def _idle(self) -> bool:
        window = self._window
        at_work = self._tasks or window.ready or window.to_mark or window.suspects or self._suspect_task
        return not at_work and window.nobody_waits()

    def _appetite(self) -> int:
        """How many events to read now."""
        window = self._window
        if self.outdated or window.suspects or self._suspect_task:
            return 0
        if window.open_count >= OPEN_QUOTA:
            if not self._told_full:
                self._told_full = True
                self._log.warning("handler.open_full", open=window.open_count)
            return 0
        if len(window) >= _MAX_WINDOW or len(window.ready) * 2 > self._batch:
            return 0
        return self._batch

    def _next_retry_s(self) -> float:
        due_ms = self._window.next_due_ms()
        return float("inf") if due_ms is None else clock_s() + max(0.0, (due_ms - now_ms()) / 1000)

    async def _rest(self, until_s: float) -> None:
        try:
            async with asyncio.timeout(max(0.0, until_s - clock_s())):
                await self._wake.wait()
        except TimeoutError:
            pass

    # Starting

    def _start(self, at_once: int = 1) -> None:
        """Start what is ready: with one task, which works off events that never wait; with more while they do."""
        if self._window.suspects or self._suspect_task:
            if self._suspect_task is None:
                self._suspect_task = asyncio.create_task(self._run_suspects())
            return
        tasks = min(at_once, len(self._window.ready) - self._starting)
        for _ in range(tasks):
            if not self._slots.try_take(self._wake):
                return
            self._starting += 1
            task = asyncio.create_task(self._run_ready())
            self._tasks.add(task)
            task.add_done_callback(self._ended)
        if tasks > 0:
            self._loop.call_soon(self._start_more, at_once * 2)

    def _start_more(self, at_once: int) -> None:
        """The tasks started last have had their turn; what is still ready waits for others that wait."""
        if self._window.ready and not self._stopping:
            self._start(at_once)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._slots.give_back()
        if not task.cancelled():
            self._fault = self._fault or task.exception()
        self._wake.set()

    async def _run_ready(self) -> None:
        self._starting -= 1
        try:
            now_s = clock_s()
            breath_s = now_s + _BREATH_S
            while self._window.ready and not self._stopping and now_s < self.lease.deadline_s:
                await self._attempt(self._window.ready.popleft())
                now_s = clock_s()
                if now_s > breath_s:
                    if self._slots.wanted:
                        return  # another lane's turn; ours comes again
                    await asyncio.sleep(0)
                    now_s = clock_s()
                    breath_s = now_s + _BREATH_S
        except DeliveryRevoked:
            pass  # the lease is gone; the loop finds out with its next step

    async def _run_suspects(self) -> None:
        """One at a time and alone, each counted in Redis before it starts."""
        suspects = self._window.suspects
        try:
            while suspects and not self._stopping:
                entry = suspects[0]
                if entry.suspect and self._window.is_first(entry):
                    async with self._suspects_turn:
                        if not self._stopping:
                            await self._run_suspect(entry)
                    if entry.suspect:
                        return
                elif entry.suspect:
                    self._window.park(entry)
                suspects.popleft()
        except DeliveryRevoked:
            pass  # the lease is gone; the loop finds out with its next step
        except Exception as error:  # noqa: BLE001
            self._fault = error
        finally:
            self._suspect_task = None
            self._wake.set()

    async def _run_suspect(self, entry: Entry) -> None:
        before = entry.log
        entry.crashes += 1
        entry.note(AttemptNote(now_ms(), "worker-died", f"{entry.crashes} of {MAX_CRASHES}"))
        self._log.info("delivery.suspected", event_id=entry.event.event_id, crashes=entry.crashes)
        if entry.crashes >= MAX_CRASHES:
            self._finish(entry, Outcome("dead", "worker-died"))
            return
        self._marked.clear()
        self._window.to_mark.append(entry)
        self._wake.set()
        await self._marked.wait()
        if self._stopping or not self.lease.alive:
            entry.crashes -= 1
            entry.log = before
            return
        await self._attempt(entry)

    async def _attempt(self, entry: Entry) -> None:
        entry.state = "running"
        began_ms = now_ms()
        entry.first_ms = entry.first_ms or began_ms
        self._window.running.add(entry)
        attempt = Attempt(
            event=entry.event,
            number=entry.attempts + 1,
            age_s=(began_ms - entry.first_ms) / 1000,
            allowed=self._allowed,
            overdue=lambda: self._outlives(entry),
            steps=lambda: Steps(self._ledger, entry.event.event_id, entry.event.key, self._loop),
            replayed=entry.replayed,
        )
        try:
            outcome = await run(self._runtime, attempt)
        except asyncio.CancelledError:
            if not self._stopping:  # then the handler cancelled its own task, which ends with this attempt
                self._finish(entry, self._cut_short(entry, HandlerEnded("it cancelled its own task")))
            raise
        finally:
            self._window.running.discard(entry)
        if attempt.misfits and outcome.kind != "retry":
            self._settling.misread(entry)
        if outcome.kind != "done" or attempt.actions or entry.log:
            entry.note(outcome.note(began_ms, attempt.actions))
        self._finish(entry, outcome)

    def _outlives(self, entry: Entry) -> None:
        self._outlived.add(entry)
        self._overdue()

    def _cut_short(self, entry: Entry, error: Exception) -> Outcome:
        outcome = outcome_of(
            error,
            self._handler,
            attempt=entry.attempts + 1,
            age_s=0.0,
            uniform=random.uniform,
        )
        entry.note(outcome.note(now_ms(), ()))
        return outcome

    def _allowed(self) -> bool:
        return self.lease.alive

    # Finishing

    def _finish(self, entry: Entry, outcome: Outcome) -> None:
        number = entry.attempts + 1
        entry.last_error = outcome.detail or outcome.reason
        entry.suspect = False
        if outcome.kind == "retry":
            entry.attempts += outcome.counts
            entry.crashes = 0  # it ran to an end and nobody died
            self._window.retry(entry, now_ms() + round(outcome.delay_s * 1000))
            self._settling.retried(entry, outcome, number)
            self._settle_within(_SETTLE_S)
        else:
            entry.attempts += outcome.kind == "dead"
            self._settling.ended(entry, outcome, number, now_ms())
            waited_for = self._window.settle(entry)
            self._settle_within(_URGENT_S if waited_for else _SETTLE_S)
        if self._window.superseded:
            self._drop_superseded()

    def _drop_superseded(self) -> None:
        """What gave way to a newer event is settled by that."""
        for entry in self._window.superseded:
            self._settling.ended(entry, SUPERSEDED, entry.attempts + 1, now_ms())
            self._settle_within(_SETTLE_S)
        self._window.superseded.clear()

    def _settle_within(self, seconds: float) -> None:
        if seconds < self._settling.within_s and self._settling.within(seconds, clock_s()):
            self._wake.set()

    # Settling

    async def _step(self, mode: Mode, count: int) -> Read:
        """Write what happened, and read on."""
        window = self._window
        marks = window.mark()
        asked_s = clock_s()
        settled, window.unconfirmed = window.unconfirmed, []
        settlement = self._settlement(asked_s)
        if mode == "sleep" and len(window):
            mode = "work"  # asleep, the cursor stands at the end of what was read
        read = await self._read_on(settlement, mode, count)
        window.confirm(settled)
        window.marked(marks)
        if any(entry.suspect for entry in marks):
            self._marked.set()
        if read.asleep or not read.scanned:
            return read
        for event in read.events:
            window.admit(event)
        self._drop_superseded()
        if count:
            self._adapt_batch(asked_s, len(read.events))
            self._more = not read.exhausted
            self._read_at_s = asked_s
            self._read_next_s = clock_s() + _POLL_S
        return read

    async def _read_on(self, settlement: Settlement, mode: Mode, count: int) -> Read:
        """One step, up to the first event that only newer code wants: only that code may settle it."""
        before = self._window.pos
        read = await self.lease.step(settlement, mode=mode, after=before, count=count)
        if (read.paused or read.changed) and not self._stopping:
            # What runs may finish. Paused, nobody goes on here; changed, whoever takes it anew sees all of it.
            self._log.info("lane.released", reason="paused" if read.paused else "changed")
            self.stop()
        if not read.scanned:
            return read
        self._newest = read.newest == self._runtime.version
        self._window.pos = read.scanned
        if self._newest:
            return read
        ours = []
        for event in read.events:
            if self._handler.model_of(event.type) is None:
                self.outdated, self._window.pos = True, before
                break
            ours.append(event)
            before = event.stream_id
        return replace(read, events=ours)

    def _settlement(self, now_s: float) -> Settlement:
        window = self._window
        before = window.cur
        window.advance()
        if self._stopping or len(window) > _MAX_WINDOW // 2 or now_s - self._cur_moved_s > _PASS_S:
            window.pass_unfinished(stopping=self._stopping)
        changes = window.changes()
        if not len(window) or window.cur != before:
            self._cur_moved_s = now_s
        return self._settling.settlement(changes)

    def _adapt_batch(self, asked_s: float, got: int) -> None:
        """Large batches where events are quick; small ones where they are slow, since a crash suspects them all."""
        if got < self._batch or not self._read_at_s:
            return
        since_s = asked_s - self._read_at_s
        if since_s < 0.05:
            self._batch = min(_MAX_BATCH, self._batch * 2)
        elif since_s > 0.2:
            self._batch = max(_MIN_BATCH, self._batch // 2)

    # Ending

    async def _hand_back(self, grace_s: float) -> None:
        """Let running attempts finish while the lease is kept alive, then give the lease back."""
        end_s = clock_s() + grace_s
        while (self._tasks or self._suspect_task) and clock_s() < end_s:
            if self._outlived and self._handler.isolation:
                break  # it ends with its process, in which there is nothing else
            self._wake.clear()
            self._marked.set()
            await self._step("work", 0)
            await self._rest(min(end_s, clock_s() + _SETTLE_S))
        window = self._window
        at_work = window.running | set(window.ready) | set(window.to_mark)
        await self._abandon()
        window.to_mark = []
        for entry in at_work:
            if entry.state in ("settled", "retry"):
                continue  # it came to an end while it was abandoned
            if entry in self._outlived:
                # A thread that never returns is an attempt too.
                self._finish(entry, self._cut_short(entry, AttemptTimedOut()))
            elif entry.in_open:
                # Stopped politely: it is handed back, not suspected.
                entry.crashes -= entry.suspect
                window.park(entry)
        for entry in window.suspects:
            # Not cleared yet: whoever comes next must suspect it as we did.
            if entry.suspect:
                window.suspect(entry)
        await self._step("leave" if self._unread else "release", 0)

    async def _abandon(self) -> None:
        """Cancel whatever still runs and wait until it is gone."""
        tasks = [*self._tasks, *([self._suspect_task] if self._suspect_task else [])]
        if await end_tasks(tasks, within_s=_ABANDON_S):
            self._overdue()  # it does not let itself be cancelled, so it ends with its process
