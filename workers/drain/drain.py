"""One lane of one handler: takes its lease, reads, settles what is done, keeps the lease, and hands it back.

What Redis knows of an event decides what a crash means for it, so two rules run through drain, runner and window.
An attempt starts only when Redis already knows that the event may be at work: it lies in (cur, runto], or in `open`
as running. The cursor passes an unfinished event only in the same step that writes it into `open`.

Per entity key, events run in log order and one at a time. The next one starts only when Redis has the outcome of
the one before: else a crash in between would run the earlier one once more after the later one. An event that waits
for a retry holds back the later events of its key, which are parked in `open` so that the cursor can go on.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from functools import partial

import structlog

from eventlog.clock import now_ms
from eventlog.errors import LeaseLost
from eventlog.lease import Lease, Mode, Read, Settlement, Taken, clock_s
from eventlog.outages import OPEN_FULL
from eventlog.record import id_order
from workers.delivery.attempt import Runtime
from workers.drain.entity_records import records_for
from workers.drain.reader import MAX_BATCH, MAX_WINDOW, POLL_S, Reader
from workers.drain.runner import Runner, Shared
from workers.drain.settlement import SETTLE_S, PendingOutcomes
from workers.drain.shared_reads import SharedReads
from workers.drain.window import Window

_RENEW_S = 2.0
_PASS_S = 0.5  # how long one slow event may hold the cursor
_LINGER_S = 0.008
_KEYS_AT_ONCE = 32  # that are made of events in one turn of the event loop
_SHORT_S = 0.02
_LEAST_HOLD_S, _LONGEST_HOLD_S = 0.1, 60.0  # of one pair

_log = structlog.get_logger()


class Drain:
    """Works through one (handler, lane) until nothing is left to do, the lease is lost, or `stop` is called."""

    def __init__(self, lease: Lease, runtime: Runtime, shared: Shared, reads: SharedReads) -> None:
        handler = runtime.handler
        self.lease = lease
        self.started_s = clock_s()
        self.lost = False  # whether another process may have the lease
        self._log = _log.bind(handler=handler.name, lane=lease.lane)
        self._wake = asyncio.Event()
        self._window = Window(handler.order, key_of=runtime.key_of)
        self._has_keys = runtime.key_of is not None
        self._tied_until: tuple[int, int] | None = (
            None  # up to here keys wait for the attempts of their events
        )
        self._reader = Reader(self._window, runtime.version, lambda name: handler.model_of(name) is not None)
        self._records = records_for(lease, handler)
        self._pending = PendingOutcomes(
            self._window, self._log, self._wake.set, runtime.lines, records=self._records
        )
        self._shared = shared
        self._runner = Runner(
            lease, runtime, shared, self._window, self._pending, self._wake, self._log, self._records
        )
        self._join = partial(reads.join, lease.lane, handler.name, handler.types)
        self._steps = shared.steps
        self._lines = runtime.lines
        self._interrupted = 0
        self._cur_moved_s = 0.0
        self._warned_full = False
        self._giving = False  # to a process that has fewer pairs
        self._held = False  # nothing starts here before a time
        self._hold: tuple[float, str] | None = None  # of this pair alone: seconds, and why
        self._unread = False  # part of what was handed out or is open, which only newer code may judge

    @property
    def outdated(self) -> bool:
        """Whether only newer code may go on here."""
        return self._reader.outdated

    @property
    def at_work(self) -> bool:
        """Whether attempts run."""
        return self._runner.busy

    @property
    def stopping(self) -> bool:
        """Whether nothing new starts here."""
        return self._runner.stopping

    @property
    def settled(self) -> int:
        """Deliveries that came to their end so far."""
        return self._pending.settled

    def stop(self) -> None:
        """Start nothing new; finish what runs, hand the rest back."""
        self._runner.stop()

    def give(self) -> None:
        """Stop, so that a process that has fewer pairs of this handler takes over."""
        self._giving = True
        self._runner.stop()

    def hold(self) -> None:
        """Stop: the log lets nothing of this handler start before a time."""
        self._held = True
        self._runner.stop()

    async def run(self, grace_s: float) -> None:
        """Work until asleep, stopped, outdated or lost. Raises nothing but CancelledError.

        Args:
            grace_s: after `stop`, seconds that running attempts have to finish.
        """
        self._reads = self._join()
        self._reader.batch = self._reads.first_batch or self._reader.batch
        try:
            taken = await self.lease.take()
            if taken is None:
                return
            await self._begin(taken)
            if self.outdated or not await self._work():
                await self._hand_back(grace_s)
        except LeaseLost as error:
            self.lost = True
            self._reads.drop()
            self._lines.tell(
                logging.WARNING,
                lambda **fields: self._log.warning("lease.lost", **fields),
                ("lease-lost",),
                counted="times",
                each=True,
                error=str(error),
                in_flight=len(self._window.running),
            )
        except Exception:  # noqa: BLE001
            # A record we cannot read or a fault of ours: settle nothing, let the lease run out, say so.
            self._log.exception("drain.failed")
        finally:
            self._reads.leave(self._reader.batch)
            self._runner.stop()
            await self._runner.end()
        if settled := self._pending.settled:
            self._log.debug("lane.drained", settled=settled, seconds=round(clock_s() - self.started_s, 3))

    async def _begin(self, taken: Taken) -> None:
        """Put together all that was handed out before: what is open, and what lies in (cur, runto].

        All of it is read before anything starts, so that each event has one Entry and each key its order.
        """
        window, shared = self._window, self._shared
        window.cur = window.pos = taken.cur
        self._cur_moved_s = clock_s()
        now_s = clock_s()
        back_s = None if taken.back_s is None else now_s - taken.back_s
        watch = shared.watch
        # The log says for a day that there was an outage, so it is asked once and not with each lease.
        if watch is not None and (taken.tries or (back_s is not None and not watch.knows_since(back_s))):
            await watch.look()
        self._runner.tries = taken.tries
        if back_s is not None:
            shared.pace.recover(back_s, now_s)
        if self._reader.first_for_newer([record.event for record in taken.open], taken.newest) is not None:
            self._unread = True  # what is open stays as it is, too
            return
        self._reader.begin(len(taken.open))
        handed_out = id_order(taken.runto)
        if self._has_keys and _left_at_work(taken):
            self._tied_until = handed_out
            window.tie_entities()
        for count, record in enumerate(taken.open, 1):
            window.recall(record)
            if self._has_keys and not count % _KEYS_AT_ONCE:
                await asyncio.sleep(0)  # keys cost a parse each, and thousands of events may be open
        until = max([handed_out, *(record.event.order for record in taken.open)])
        while id_order(window.pos) < until and not self.outdated:
            read = await self._read_on(Settlement(), "work", MAX_BATCH, shared=False)
            for event in read.events:
                window.reread(event, settled=event.stream_id in taken.ahead)
            if read.exhausted:
                break
        self._unread = self.outdated
        window.arrange(handed_out)
        self._pending.settle_superseded()

    # The loop

    async def _work(self) -> bool:
        """True when the lease was given back because nothing is left to do."""
        runner, window, reader = self._runner, self._window, self._reader
        while not runner.stopping:
            if runner.fault is not None:
                raise runner.fault
            if self.outdated and self._idle():
                return False
            if self._are_leftovers_done():
                self._tied_until = None
                runner.stop()  # the next drain finds keys again
                return False
            self._wake.clear()
            window.start_due(now_ms())
            runner.start()
            if runner.starting:
                await asyncio.sleep(0)  # their first turn: what never waits is settled by the very next step
            now_s = clock_s()
            if self._idle():
                if await self._fall_asleep(now_s):
                    return True
                continue
            count = reader.due(now_s, suspects=runner.suspects)
            settle_at_s = self._pending.due_s or now_s + _RENEW_S
            renew_at_s = self.lease.renewed_s + _RENEW_S
            waited_for = window.unconfirmed and not window.running and not window.ready
            if count or window.to_mark or waited_for or now_s >= min(settle_at_s, renew_at_s):
                await self._step("work", count)
                continue
            await self._rest(min(settle_at_s, renew_at_s, reader.next_s, self._next_retry_s()))
        return False

    def _are_leftovers_done(self) -> bool:
        """Whether what a worker that died may have left at work came to its end, or waits in `open`."""
        until, window = self._tied_until, self._window
        return until is not None and not self._runner.suspects and id_order(window.cur) >= until

    async def _fall_asleep(self, now_s: float) -> bool:
        """Read once more, or wait, with nothing to do; True when the lease was given back."""
        rest = self._reader.rest(now_s)
        if rest == "linger":
            await self._rest(now_s + _LINGER_S)
            return False
        count = self._reader.appetite(suspects=self._runner.suspects)
        if self._reader.full and rest == "sleep":
            self._hold_pair(self._next_retry_s() - clock_s(), OPEN_FULL)
            return False
        read = await self._step("work" if rest == "stay" else "sleep", count)
        if read.asleep or self.outdated:
            return read.asleep
        if read.events:
            self._reader.idle_no_more()
        elif rest == "stay":
            await self._rest(min(clock_s() + POLL_S, self._next_retry_s()))
        elif read.exhausted or not count:
            # Full, or the head of the retries is due by the clock of Redis and not yet by ours.
            await self._rest(min(clock_s() + _RENEW_S, max(self._next_retry_s(), clock_s() + _SHORT_S)))
        return False

    def _hold_pair(self, seconds: float, why: str) -> None:
        """Give the pair back until it can go on, and hold it: what arrives meanwhile must not wake it."""
        self._hold = (min(max(seconds, _LEAST_HOLD_S), _LONGEST_HOLD_S), why)
        self._runner.stop()

    def _idle(self) -> bool:
        window, runner = self._window, self._runner
        at_work = runner.busy or window.ready or window.to_mark or window.suspects
        return not at_work and window.blocks_none()

    def _next_retry_s(self) -> float:
        due_ms = self._window.next_due_ms()
        return float("inf") if due_ms is None else clock_s() + max(0.0, (due_ms - now_ms()) / 1000)

    async def _rest(self, until_s: float) -> None:
        try:
            async with asyncio.timeout(max(0.0, until_s - clock_s())):
                await self._wake.wait()
        except TimeoutError:
            pass

    # Steps

    async def _step(self, mode: Mode, count: int) -> Read:
        """Write what happened, and read on."""
        window = self._window
        if self._reader.full and not self._warned_full:
            self._warned_full = True
            self._lines.tell(
                logging.WARNING,
                lambda **fields: self._log.warning("handler.open_full", **fields),
                ("open-full",),
                counted="times",
                open=window.open_count,
            )
        marks = window.mark()
        worked_s = self._runner.worked_s
        settled, window.unconfirmed = window.unconfirmed, []
        settlement = self._settlement(clock_s())
        if mode == "sleep" and len(window):
            mode = "work"  # asleep, the cursor stands at the end of what was read
        if mode == "sleep" and (due_ms := window.next_due_ms()) is not None:
            settlement.wakes_in_ms = max(0, due_ms - now_ms())
        if mode == "hold" and self._hold is not None:
            settlement.wakes_in_ms, settlement.held_by = round(self._hold[0] * 1000), self._hold[1]
        read = await self._read_on(settlement, mode, count)
        if self._records is not None:
            self._records.confirm()
        window.confirm(settled)
        window.marked(marks)
        self._runner.marked(marks)
        if read.asleep or not read.scanned:
            return read
        keys = []
        for count_read, event in enumerate(read.events, 1):
            keys.append(window.admit(event).key)
            if self._has_keys and not count_read % _KEYS_AT_ONCE:
                await asyncio.sleep(0)
        if self._records is not None:
            await self._records.preload(keys)
        self._pending.settle_superseded()
        if count:
            self._reader.got(len(read.events), read.exhausted, worked_s, clock_s())
        return read

    async def _read_on(self, settlement: Settlement, mode: Mode, count: int, *, shared: bool = True) -> Read:
        """One step, up to the first event that only newer code wants: only that code may settle it."""
        before = self._window.pos
        step = self._shared_step if count and shared and self._reads.has_others else self._own_step
        if count and not self._runner.stopping:
            async with self._steps.one(self.lease.handler):
                read = await step(settlement, mode, before, count)
        else:
            read = await step(settlement, mode, before, count)
        if read.held:
            self.hold()
        elif (read.paused or read.changed) and not self._runner.stopping:
            # What runs may finish. Paused, nothing goes on here; changed, the next take sees all of it.
            self._log.info("lane.released", reason="paused" if read.paused else "changed")
            self.stop()
        if read.hurried:
            self._window.hurry(frozenset(read.hurried))
        if not read.scanned:
            return read
        events, self._window.pos = self._reader.ours(read, before)
        return read if events is read.events else replace(read, events=events)

    async def _own_step(self, settlement: Settlement, mode: Mode, before: str, count: int) -> Read:
        return await self.lease.step(settlement, mode=mode, after=before, count=count)

    async def _shared_step(self, settlement: Settlement, mode: Mode, before: str, count: int) -> Read:
        """One step that claims what another drain has read, or reads for others too."""
        lease, reads = self.lease, self._reads
        self._reader.batch = min(self._reader.batch, reads.most_at_once)
        count = min(count, self._reader.batch)
        claim = await reads.claim(before, count, lease.wants)
        if claim is not None:
            read = await lease.step(settlement, mode=mode, after=before, count=count, claim=claim)
        else:
            with reads.reading(before) as others:
                read = await lease.step(settlement, mode=mode, after=before, count=count, others=others)
                if others:
                    read = reads.keep(before, read, lease.wants)
        reads.found(bool(read.events) or read.exhausted)
        if lease.interrupted != self._interrupted:
            self._interrupted = lease.interrupted
            reads.drop()  # this may be another Redis, which may have gone back
        return read

    def _settlement(self, now_s: float) -> Settlement:
        window, stopping = self._window, self._runner.stopping
        before = window.cur
        window.advance()
        # What is held stays after the cursor, so that `open` does not fill with what nobody tried.
        is_held = self._held or self._hold is not None
        if not is_held and (stopping or len(window) > MAX_WINDOW // 2 or now_s - self._cur_moved_s > _PASS_S):
            window.pass_unfinished(stopping=stopping)
        settlement = self._pending.settlement()
        if not len(window) or window.cur != before:
            self._cur_moved_s = now_s
        return settlement

    # Ending

    async def _hand_back(self, grace_s: float) -> None:
        """Let running attempts finish while the lease is kept alive, then give the lease back."""
        runner, window = self._runner, self._window
        end_s = clock_s() + grace_s
        while runner.busy and clock_s() < end_s and not runner.ends_with_process:
            self._wake.clear()
            runner.release_suspect()
            await self._step("work", 0)
            await self._rest(min(end_s, clock_s() + SETTLE_S))
        at_work = window.running | set(window.ready) | set(window.to_mark)
        await runner.end()
        window.to_mark = []
        for entry in at_work:
            if entry.state in ("settled", "retry"):
                continue  # it came to an end while it was abandoned
            if entry in runner.outlived:
                runner.end_outlived(entry)
            elif entry.in_open:
                window.hand_back(entry)
        window.keep_suspects()
        mode: Mode = "hold" if self._hold is not None else "give" if self._giving else "release"
        await self._step("leave" if self._unread else mode, 0)


def _left_at_work(taken: Taken) -> bool:
    """Return whether the drain before ended without giving the lane back."""
    handed_out = id_order(taken.runto) > id_order(taken.cur)
    return handed_out or any(record.state == "running" for record in taken.open)
