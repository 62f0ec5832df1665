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
import heapq
import logging
import random
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import structlog

from workers.deliver import Attempt, Runtime, run
from workers.eventlog.connect import end_tasks
from workers.eventlog.errors import LeaseLost
from workers.eventlog.lease import Lease, Mode, Read, Settlement, Taken, clock_s
from workers.eventlog.ledger import StepLedger
from workers.eventlog.log import now_ms
from workers.eventlog.record import AttemptNote, DeadLetter, OpenRecord, OpenState, StoredEvent, id_order
from workers.ledger import Steps
from workers.outcomes import AttemptTimedOut, DeliveryRevoked, Outcome, outcome_of

MAX_CRASHES = 3
OPEN_QUOTA = 10_000

_MIN_BATCH, _MAX_BATCH = 16, 256
_MAX_WINDOW = 512
_RENEW_S = 2.0
_SETTLE_S = 0.08  # outcomes are in Redis within 100 ms
_URGENT_S = 0.002  # sooner where the next event of an entity waits for it
_PASS_S = 0.5  # how long one slow event may hold the cursor
_LINGER_S = 0.008  # before falling asleep: what arrives now costs no new lease
_HOLD_MARGIN_S = 5.0  # on top of an attempt's time, until it has surely told how its steps ended
_ABANDON_S = 5.0  # for attempts that were cancelled to come to an end
_POLL_S = 0.05  # for new events while earlier ones are still at work
_BREATH_S = 0.005  # how long one task may hold the event loop with events that never wait
_LATENCY_BOUNDS_MS = (1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100, 150, 200, 300, 500, 700, 1_000, 2_000, 5_000,
                      10_000, 30_000, 60_000, 300_000, 3_600_000)  # fmt: skip
_LATENCY_NAMES = tuple(f"ms<={bound}" for bound in _LATENCY_BOUNDS_MS)

_log = structlog.get_logger()

State = Literal["waiting", "ready", "running", "retry", "settled"]


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


class Entry:
    """One event on its way through this drain."""

    __slots__ = (
        "ahead",
        "attempts",
        "crashes",
        "event",
        "first_ms",
        "in_open",
        "last_error",
        "log",
        "order",
        "replayed",
        "state",
        "suspect",
    )

    def __init__(self, event: StoredEvent) -> None:
        self.event = event
        self.order = event.order
        self.state: State = "waiting"
        self.attempts = 0
        self.crashes = 0
        self.first_ms = 0
        self.last_error = ""
        self.replayed = False
        self.log: tuple[AttemptNote, ...] = ()
        self.ahead = False  # settled in Redis although the cursor is not there yet
        self.in_open = False  # in Redis, or on its way there with the next step
        self.suspect = False  # may have been at work when a worker died

    def record(self, state: OpenState, due_ms: int | None = None) -> OpenRecord:
        return OpenRecord(
            self.event,
            state,
            due_ms,
            self.attempts,
            self.crashes,
            self.first_ms,
            self.last_error,
            self.replayed,
            self.log,
        )


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
        self._tells_all = self._log.is_enabled_for(logging.DEBUG)
        self._wake = asyncio.Event()
        self._stopping = False
        self._newest = True

        self._cur = self._pos = ""
        self._window: deque[Entry] = deque()
        self._keys: dict[str, deque[Entry]] = {}
        self._open_count = 0
        self._ready: deque[Entry] = deque()
        self._to_mark: list[Entry] = []
        self._retries: list[tuple[int, tuple[int, int], Entry]] = []
        self._suspects: deque[Entry] = deque()
        self._running: set[Entry] = set()
        self._outlived: set[Entry] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._suspect_task: asyncio.Task[None] | None = None
        self._marked: asyncio.Event = asyncio.Event()

        self._puts: dict[str, OpenRecord] = {}
        self._dels: list[str] = []
        self._dead: list[DeadLetter] = []
        self._stats: Counter[str] = Counter()
        self._settle_at_s: float | None = None
        self._cur_moved_s = 0.0
        self._unblocked: list[deque[Entry]] = []
        self._batch = 32
        self._read_at_s = 0.0
        self._read_next_s = 0.0
        self._more = True
        self._starting = 0
        self._told_full = False
        self._fault: BaseException | None = None
        self.settled = 0
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
            self._log.warning("lease.lost", error=str(error), in_flight=len(self._running))
        except Exception:  # noqa: BLE001
            # A record we cannot read or a fault of ours: settle nothing, let the lease run out, say so.
            self._log.exception("drain.failed")
        finally:
            await self._abandon()
        if self.settled:
            self._log.debug(
                "lane.drained", settled=self.settled, seconds=round(clock_s() - self.started_s, 3)
            )

    # What lies before us

    async def _begin(self, taken: Taken) -> None:
        """Put together all that was handed out before: what is open, and what lies in (cur, runto].

        All of it is read before anything starts, so that each event has one Entry and each key its order.
        """
        self._cur = self._pos = taken.cur
        self._newest = taken.newest == self._runtime.version
        self._cur_moved_s = clock_s()
        known = {record.event.stream_id: self._entry_of(record) for record in taken.open}
        states = {record.event.stream_id: record for record in taken.open}
        handed_out = id_order(taken.runto)
        until = max([handed_out, *(entry.order for entry in known.values())])
        while id_order(self._pos) < until and not self.outdated:
            read = await self._read_on(Settlement(), "work", _MAX_BATCH)
            for event in read.events:
                entry = known.setdefault(event.stream_id, Entry(event))
                if event.stream_id in taken.ahead:
                    entry.ahead = True
                    if not entry.in_open:  # else it was put there again after it was settled
                        entry.state = "settled"
                self._window.append(entry)
            if read.exhausted:
                break
        for entry in sorted(known.values(), key=lambda entry: entry.order):
            if entry.state == "settled":
                continue
            record = states.get(entry.event.stream_id)
            first = self._enqueue(entry)
            if record is None:
                self._place(entry, first=first, suspect=entry.order <= handed_out)
            elif record.state == "retry":
                entry.state = "retry"
                heapq.heappush(self._retries, (record.due_ms or 0, entry.order, entry))
            elif record.state == "running":
                entry.suspect = True
                self._suspects.append(entry)
            elif first:
                self._make_ready(entry)

    def _entry_of(self, record: OpenRecord) -> Entry:
        entry = Entry(record.event)
        entry.attempts, entry.crashes = record.attempts, record.crashes
        entry.first_ms, entry.last_error = record.first_ms, record.last_error
        entry.replayed, entry.log = record.replayed, record.log
        entry.in_open = True
        self._open_count += 1
        return entry

    def _admit(self, event: StoredEvent) -> None:
        entry = Entry(event)
        self._window.append(entry)
        self._place(entry, first=self._enqueue(entry), suspect=False)

    def _place(self, entry: Entry, *, first: bool, suspect: bool) -> None:
        if not first and self._keys[entry.event.key or ""][0].state == "retry":
            self._park(entry)
        elif suspect:
            entry.suspect = True
            self._suspects.append(entry)
        elif first:
            self._make_ready(entry)

    def _enqueue(self, entry: Entry) -> bool:
        """Queue up behind the earlier events of the key; True for the first, and where order does not matter."""
        key = self._key(entry)
        if key is None:
            return True
        queue = self._keys.setdefault(key, deque())
        queue.append(entry)
        return len(queue) == 1

    def _key(self, entry: Entry) -> str | None:
        return entry.event.key if self._handler.order == "entity" else None

    def _make_ready(self, entry: Entry) -> None:
        entry.state = "ready"
        if entry.in_open:
            self._to_mark.append(entry)  # Redis must know that it runs before it does
            self._wake.set()
        else:
            self._ready.append(entry)

    def _park(self, entry: Entry) -> None:
        """Nothing of it has started, so it is no suspect any more either."""
        entry.suspect = False
        self._write(entry, entry.record("parked"))

    def _write(self, entry: Entry, record: OpenRecord) -> None:
        if not entry.in_open:
            entry.in_open = True
            self._open_count += 1
        self._puts[entry.event.stream_id] = record

    # The loop

    async def _work(self) -> bool:
        """True when the lease was given back because nothing is left to do."""
        lingered = False
        while not self._stopping:
            if self._fault is not None:
                raise self._fault
            if self.outdated and self._idle():
                return False
            self._wake.clear()
            self._start_due_retries()
            self._start()
            now_s = clock_s()
            if self._idle():
                if not self._more and not lingered:
                    lingered = True
                    await self._rest(now_s + _LINGER_S)
                    continue
                lingered = False
                appetite = self._appetite()
                read = await self._step("sleep", appetite)
                if read.asleep:
                    return True
                if not read.events and (read.exhausted or not appetite):
                    # Full, or the head of the retries is due by the clock of Redis and not yet by ours.
                    await self._rest(min(clock_s() + _RENEW_S, max(self._next_retry_s(), clock_s() + 0.02)))
                continue
            lingered = False
            appetite = self._appetite() if self._more or now_s >= self._read_next_s else 0
            if not appetite:
                self._read_next_s = max(self._read_next_s, now_s + _POLL_S)
            settle_at_s = self._settle_at_s or now_s + _RENEW_S
            renew_at_s = self.lease.renewed_s + _RENEW_S
            waited_for = self._unblocked and not self._tasks and not self._ready
            if appetite or self._to_mark or waited_for or now_s >= min(settle_at_s, renew_at_s):
                await self._step("work", appetite)
                continue
            await self._rest(min(settle_at_s, renew_at_s, self._read_next_s, self._next_retry_s()))
        return False

    def _idle(self) -> bool:
        at_work = self._tasks or self._ready or self._to_mark or self._suspects or self._suspect_task
        return not at_work and all(len(queue) == 1 for queue in self._unblocked)

    def _appetite(self) -> int:
        """How many events to read now."""
        if self.outdated:
            return 0
        if self._open_count >= OPEN_QUOTA:
            if not self._told_full:
                self._told_full = True
                self._log.warning("handler.open_full", open=self._open_count)
            return 0
        if self._suspects or self._suspect_task:
            return 0
        if len(self._window) >= _MAX_WINDOW or len(self._ready) * 2 > self._batch:
            return 0
        return self._batch

    def _next_retry_s(self) -> float:
        if not self._retries:
            return float("inf")
        return clock_s() + max(0.0, (self._retries[0][0] - now_ms()) / 1000)

    async def _rest(self, until_s: float) -> None:
        try:
            async with asyncio.timeout(max(0.0, until_s - clock_s())):
                await self._wake.wait()
        except TimeoutError:
            pass

    # Starting

    def _start_due_retries(self) -> None:
        now = now_ms()
        while self._retries and self._retries[0][0] <= now:
            _, _, entry = heapq.heappop(self._retries)
            if self._first_of_key(entry):
                self._make_ready(entry)
            else:
                entry.state = "waiting"  # behind an earlier event that somebody put there again

    def _start(self) -> None:
        if self._suspects or self._suspect_task:
            if self._suspect_task is None:
                self._suspect_task = asyncio.create_task(self._run_suspects())
            return
        for _ in range(len(self._ready) - self._starting):
            if not self._slots.try_take(self._wake):
                return
            self._starting += 1
            task = asyncio.create_task(self._run_ready())
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._slots.give_back()
        if not task.cancelled():
            self._fault = self._fault or task.exception()
        self._wake.set()

    async def _run_ready(self) -> None:
        self._starting -= 1
        try:
            breath_s = clock_s() + _BREATH_S
            while self._ready and not self._stopping and self.lease.alive:
                entry = self._ready.popleft()
                self._finish(entry, await self._attempt(entry))
                if clock_s() > breath_s:
                    await asyncio.sleep(0)
                    breath_s = clock_s() + _BREATH_S
        except DeliveryRevoked:
            pass  # the lease is gone; the loop finds out with its next step

    async def _run_suspects(self) -> None:
        """One at a time and alone, each counted in Redis before it starts."""
        try:
            while self._suspects and not self._stopping:
                entry = self._suspects[0]
                if entry.suspect and self._first_of_key(entry):
                    async with self._suspects_turn:
                        if not self._stopping:
                            await self._run_suspect(entry)
                    if entry.suspect:
                        return
                elif entry.suspect:
                    self._park(entry)
                self._suspects.popleft()
        except DeliveryRevoked:
            pass  # the lease is gone; the loop finds out with its next step
        except Exception as error:  # noqa: BLE001
            self._fault = error
        finally:
            self._suspect_task = None
            self._wake.set()

    async def _run_suspect(self, entry: Entry) -> None:
        entry.crashes += 1
        self._log.info("delivery.suspected", event_id=entry.event.event_id, crashes=entry.crashes)
        if entry.crashes >= MAX_CRASHES:
            self._finish(entry, Outcome("dead", "worker-died"))
            return
        self._marked.clear()
        self._to_mark.append(entry)
        self._wake.set()
        await self._marked.wait()
        if self._stopping or not self.lease.alive:
            entry.crashes -= 1
            return
        self._finish(entry, await self._attempt(entry))

    def _first_of_key(self, entry: Entry) -> bool:
        key = self._key(entry)
        return key is None or self._keys[key][0] is entry

    async def _attempt(self, entry: Entry) -> Outcome:
        entry.state = "running"
        now = now_ms()
        entry.first_ms = entry.first_ms or now
        self._running.add(entry)
        attempt = Attempt(
            event=entry.event,
            number=entry.attempts + 1,
            age_s=(now - entry.first_ms) / 1000,
            allowed=self._allowed,
            overdue=lambda: self._outlives(entry),
            steps=lambda: Steps(self._ledger, entry.event.event_id, entry.event.key, self._loop),
            replayed=entry.replayed,
        )
        try:
            return await run(self._runtime, attempt)
        finally:
            self._running.discard(entry)

    def _outlives(self, entry: Entry) -> None:
        self._outlived.add(entry)
        self._overdue()

    def _timed_out(self, entry: Entry) -> Outcome:
        return outcome_of(
            AttemptTimedOut(),
            attempt=entry.attempts + 1,
            max_attempts=self._handler.max_attempts,
            age_s=0.0,
            uniform=random.uniform,
        )

    def _allowed(self) -> bool:
        return self.lease.alive

    # Finishing

    def _finish(self, entry: Entry, outcome: Outcome) -> None:
        number = entry.attempts + 1
        entry.last_error = outcome.detail or outcome.reason
        entry.suspect = False
        if outcome.kind == "retry":
            if outcome.counts:
                entry.attempts += 1
            entry.crashes = 0  # it ran to an end and nobody died
            self._again(entry, outcome)
        else:
            if outcome.kind == "dead":
                entry.attempts += 1
                self._dead.append(DeadLetter(entry.record("running"), outcome.reason, outcome.trace))
            self._settle_entry(entry)
            self._count(entry, outcome)
        self._tell(entry, outcome, number)

    def _again(self, entry: Entry, outcome: Outcome) -> None:
        entry.state = "retry"
        due_ms = now_ms() + round(outcome.delay_s * 1000)
        self._write(entry, entry.record("retry", due_ms))
        heapq.heappush(self._retries, (due_ms, entry.order, entry))
        self._stats["retried"] += 1
        self._settle_within(_SETTLE_S)
        key = self._key(entry)
        if key is not None:
            for later in self._keys[key]:
                if not later.in_open:
                    self._park(later)

    def _settle_entry(self, entry: Entry) -> None:
        entry.state = "settled"
        self.settled += 1
        stream_id = entry.event.stream_id
        if entry.in_open:
            self._open_count -= 1
            self._puts.pop(stream_id, None)
            self._dels.append(stream_id)
        key = self._key(entry)
        if key is None:
            self._settle_within(_SETTLE_S)
            return
        queue = self._keys[key]
        self._unblocked.append(queue)
        self._settle_within(_URGENT_S if len(queue) > 1 else _SETTLE_S)

    def _settle_within(self, seconds: float) -> None:
        at_s = clock_s() + seconds
        if self._settle_at_s is None or at_s < self._settle_at_s:
            self._settle_at_s = at_s
            self._wake.set()

    def _unblock(self, queue: deque[Entry]) -> None:
        """Redis has the outcome of the first of this key; the next one may start."""
        settled = next(entry for entry in queue if entry.state == "settled")
        queue.remove(settled)
        if not queue:
            del self._keys[settled.event.key or ""]
        elif queue[0].state == "waiting" and not queue[0].suspect:
            self._make_ready(queue[0])

    def _count(self, entry: Entry, outcome: Outcome) -> None:
        self._stats[outcome.kind] += 1
        at = bisect_left(_LATENCY_BOUNDS_MS, now_ms() - entry.event.received_at_ms)
        if at < len(_LATENCY_BOUNDS_MS):
            self._stats[_LATENCY_NAMES[at]] += 1

    def _tell(self, entry: Entry, outcome: Outcome, number: int) -> None:
        if outcome.kind == "done" and not self._tells_all:
            return
        event = entry.event
        facts: dict[str, object] = {
            "event_id": event.event_id,
            "notification": event.type,
            "key": event.key,
            "attempt": number,
        }
        if outcome.kind == "done":
            self._log.debug("delivery.completed", **facts)
            return
        facts["reason"], facts["detail"] = outcome.reason, outcome.detail
        if outcome.kind == "skipped":
            self._log.debug("delivery.skipped", **facts)
        elif outcome.kind == "retry":
            facts["after_s"] = round(outcome.delay_s, 3)
            self._log.info("delivery.retry_scheduled", **facts, where=outcome.trace)
        else:
            self._log.error("delivery.dead", **facts, where=outcome.trace)

    # Settling

    async def _step(self, mode: Mode, count: int) -> Read:
        """Write what happened, and read on."""
        marks, self._to_mark = self._to_mark, []
        for entry in marks:
            self._write(entry, entry.record("running"))
        asked_s = clock_s()
        unblocked, self._unblocked = self._unblocked, []
        settlement = self._settlement(asked_s)
        if mode == "sleep" and self._window:
            mode = "work"  # asleep, the cursor stands at the end of what was read
        read = await self._read_on(settlement, mode, count)
        for queue in unblocked:
            self._unblock(queue)
        if read.paused or read.changed:
            # What runs may finish. Paused, nobody goes on here; changed, whoever takes it anew sees all of it.
            self._log.info("lane.released", reason="paused" if read.paused else "changed")
            self.stop()
        self._ready.extend(entry for entry in marks if not entry.suspect)
        if any(entry.suspect for entry in marks):
            self._marked.set()
        if read.asleep or not read.scanned:
            return read
        for event in read.events:
            self._admit(event)
        if count:
            self._adapt_batch(asked_s, len(read.events))
            self._more = not read.exhausted
            self._read_at_s = asked_s
            self._read_next_s = clock_s() + _POLL_S
        return read

    async def _read_on(self, settlement: Settlement, mode: Mode, count: int) -> Read:
        """One step, up to the first event that only newer code wants: only that code may settle it."""
        before = self._pos
        read = await self.lease.step(settlement, mode=mode, after=before, count=count)
        if not read.scanned:
            return read
        self._newest = read.newest == self._runtime.version
        self._pos = read.scanned
        if self._newest:
            return read
        ours = []
        for event in read.events:
            if self._handler.model_of(event.type) is None:
                self.outdated, self._pos = True, before
                break
            ours.append(event)
            before = event.stream_id
        return replace(read, events=ours)

    def _settlement(self, now_s: float) -> Settlement:
        if self._stopping or len(self._window) > _MAX_WINDOW // 2 or now_s - self._cur_moved_s > _PASS_S:
            self._pass_unfinished()
        passed = []
        while self._window and (self._window[0].state == "settled" or self._window[0].in_open):
            entry = self._window.popleft()
            self._cur, self._cur_moved_s = entry.event.stream_id, now_s
            if entry.ahead:
                passed.append(entry.event.stream_id)
        if not self._window:
            self._cur, self._cur_moved_s = self._pos, now_s
        ahead = []
        for entry in self._window:
            if entry.state == "settled" and not entry.ahead:
                entry.ahead = True
                ahead.append(entry.event.stream_id)
        settlement = Settlement(
            self._cur, list(self._puts.values()), self._dels, self._dead, self._stats, ahead, passed
        )
        self._puts, self._dels, self._dead, self._stats = {}, [], [], Counter()
        self._settle_at_s = None
        return settlement

    def _pass_unfinished(self) -> None:
        """Open whatever is unfinished before the last that is settled or open, so that the cursor can pass it."""
        passable = (i for i, entry in enumerate(self._window) if entry.state == "settled" or entry.in_open)
        last = max(passable, default=-1)
        for i in range(last):
            entry = self._window[i]
            if entry.state == "settled" or entry.in_open:
                continue
            at_work = entry.state in ("ready", "running") and not (
                self._stopping and entry not in self._running
            )
            self._write(entry, entry.record("running" if at_work or entry.suspect else "parked"))

    def _adapt_batch(self, asked_s: float, got: int) -> None:
        """Large batches where events are quick; small ones where they are slow, since a crash suspects them all."""
        if got < self._batch:
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
            self._wake.clear()
            self._marked.set()
            await self._step("work", 0)
            await self._rest(min(end_s, clock_s() + _SETTLE_S))
        at_work = set(self._running) | set(self._ready) | set(self._to_mark)
        await self._abandon()
        self._to_mark = []
        for entry in at_work:
            if entry in self._outlived:
                self._finish(entry, self._timed_out(entry))  # a thread that never returns is an attempt too
            elif entry.in_open:
                # Stopped politely: it is handed back, not suspected.
                entry.crashes -= entry.suspect
                self._park(entry)
        for entry in self._suspects:
            # Not cleared yet: whoever comes next must suspect it as we did.
            if entry.suspect:
                self._write(entry, entry.record("running"))
        await self._step("release", 0)

    async def _abandon(self) -> None:
        """Cancel whatever still runs and wait until it is gone."""
        tasks = [*self._tasks, *([self._suspect_task] if self._suspect_task else [])]
        if await end_tasks(tasks, within_s=_ABANDON_S):
            self._overdue()  # it does not let itself be cancelled, so it ends with its process
