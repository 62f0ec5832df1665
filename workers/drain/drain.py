"""One lane of one handler: takes its lease, works until nothing is left to do, and hands it back.

What Redis knows of an event decides what a crash means for it. So drain, runner and window keep two rules.
An attempt starts only when Redis already knows that the event may be at work: it lies in (cur, runto], or in `open`
as running. The cursor passes an unfinished event only in the same step that writes it into `open`.

Events of one key run in log order, one at a time. The next event starts only when Redis has the outcome of the one
before. Otherwise a crash in between would run the earlier event again after the later one. An event that waits for a
retry holds back the later events of its key. These are parked in `open`, so that the cursor can go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from functools import partial

import structlog

from eventlog.clock import now_ms
from eventlog.errors import LeaseLost, UnknownRecord
from eventlog.lease import Lease, Mode, Taken, clock_s
from eventlog.outages import OPEN_FULL
from workers.delivery.attempt import Runtime
from workers.drain.entity_records import records_for
from workers.drain.lane_steps import LaneSteps
from workers.drain.parts import DrainParts
from workers.drain.reader import POLL_S, Reader
from workers.drain.runner import Runner
from workers.drain.settlement import SETTLE_S, PendingOutcomes
from workers.drain.shared import Shared
from workers.drain.shared_reads import SharedReads
from workers.drain.takeover import Takeover
from workers.drain.window import Window

_RENEW_S = 2.0
_LINGER_S = 0.008
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
        self.unreadable = False  # whether something in the lane cannot be read
        self._shared = shared
        self._lines = runtime.lines
        self._log = log = _log.bind(handler=handler.name, lane=lease.lane)
        self._wake = wake = asyncio.Event()
        self._window = window = Window(handler.order, key_of=runtime.key_of)
        self._reader = reader = Reader(window, runtime.version, wants=handler.model_of)
        self._takeover = Takeover(lease, window, reader, runtime.key_of)
        records = records_for(lease, handler)
        self._pending = pending = PendingOutcomes(window, log, wake.set, runtime.lines, records=records)
        parts = DrainParts(lease, runtime, shared, window, pending, wake, log, records)
        self._runner = Runner(parts)
        join = partial(reads.join, lease.lane, handler.name, handler.types)
        self._steps = LaneSteps(parts, reader, self._runner, join)
        self._giving = False  # to a process that has fewer pairs

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
        """Number of deliveries that have ended so far."""
        return self._pending.settled

    def stop(self) -> None:
        """Start nothing new; finish what runs, hand the rest back."""
        self._runner.stop()

    def give(self) -> None:
        """Stop, so that a process that has fewer pairs of this handler takes over."""
        self._giving = True
        self._runner.stop()

    def hold(self) -> None:
        """Stop, since the log holds this handler."""
        self._steps.handler_held = True
        self._runner.stop()

    async def run(self, grace_s: float) -> None:
        """Work until asleep, stopped, outdated or lost. Raises nothing but CancelledError.

        Args:
            grace_s: after `stop`, seconds that running attempts have to finish.
        """
        self._steps.join()
        try:
            taken = await self.lease.take(asks=self._takeover.asks_keys)
            if taken is None:
                return
            await self._begin(taken)
            if self.outdated or not await self._work():
                await self._hand_back(grace_s)
        except LeaseLost as error:
            self.lost = True
            self._steps.reads.drop()
            log = self._log  # the line may wait, and must not keep the drain
            self._lines.tell(
                logging.WARNING,
                lambda **fields: log.warning("lease.lost", **fields),
                ("lease-lost",),
                counted="times",
                each=True,
                error=str(error),
                in_flight=len(self._window.running),
            )
        except UnknownRecord as error:
            self.unreadable = True
            self._steps.reads.drop()
            seconds, why = self._steps.stop_at(str(error))
            with contextlib.suppress(LeaseLost, UnknownRecord):
                await self.lease.stop_at(why, seconds)
        except Exception:  # noqa: BLE001
            # A fault of ours: settle nothing, let the lease run out, say so.
            self._log.exception("drain.failed")
        finally:
            self._steps.reads.leave(self._reader.batch)
            self._runner.stop()
            await self._runner.end()
        if settled := self._pending.settled:
            self._log.debug("lane.drained", settled=settled, seconds=round(clock_s() - self.started_s, 3))

    async def _begin(self, taken: Taken) -> None:
        """Read what was handed out before, and what is known of the services that the handler needs."""
        self._steps.begin(taken.cur)
        now_s = clock_s()
        back_s = None if taken.back_s is None else now_s - taken.back_s
        watch = self._shared.watch
        # The log says for a day that there was an outage, so it is asked once and not with each lease.
        if taken.tries or (back_s is not None and not watch.knows_since(back_s)):
            await watch.look()
        self._runner.attempts.tries = taken.tries
        if back_s is not None:
            self._shared.pace.recover(back_s, now_s)
        await self._takeover.take_up(taken, self._steps.reread)
        self._pending.settle_superseded()

    # The loop

    async def _work(self) -> bool:
        """Return True when the lease was given back because nothing is left to do."""
        runner, window, reader = self._runner, self._window, self._reader
        while not runner.stopping:
            if runner.fault is not None:
                raise runner.fault
            if self.outdated and self._idle():
                return False
            if self._takeover.frees_keys(suspects=runner.suspects.are_left):
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
            count = reader.due(now_s, suspects=runner.suspects.are_left)
            settle_at_s = self._pending.due_s or now_s + _RENEW_S
            renew_at_s = self.lease.renewed_s + _RENEW_S
            waited_for = window.unconfirmed and not window.running and not window.ready
            if count or window.to_mark or waited_for or now_s >= min(settle_at_s, renew_at_s):
                await self._steps.step("work", count)
                continue
            await self._rest(min(settle_at_s, renew_at_s, reader.next_s, self._next_retry_s()))
        return False

    async def _fall_asleep(self, now_s: float) -> bool:
        """Read once more, or wait, with nothing to do; True when the lease was given back."""
        rest = self._reader.rest(now_s)
        if rest == "linger":
            await self._rest(now_s + _LINGER_S)
            return False
        count = self._reader.appetite(suspects=self._runner.suspects.are_left)
        if self._reader.full and rest == "sleep":
            self._hold_pair(self._next_retry_s() - clock_s(), OPEN_FULL)
            return False
        read = await self._steps.step("work" if rest == "stay" else "sleep", count)
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
        """Give the pair back and hold it until it can go on: what arrives meanwhile must not wake it."""
        self._steps.pair_hold = (min(max(seconds, _LEAST_HOLD_S), _LONGEST_HOLD_S), why)
        self._runner.stop()

    def _idle(self) -> bool:
        window, runner = self._window, self._runner
        at_work = runner.busy or window.ready or window.to_mark or window.suspects
        return not at_work and window.blocks_none()

    def _next_retry_s(self) -> float:
        due_ms = self._window.retries.next_due_ms()
        return float("inf") if due_ms is None else clock_s() + max(0.0, (due_ms - now_ms()) / 1000)

    async def _rest(self, until_s: float) -> None:
        try:
            async with asyncio.timeout(max(0.0, until_s - clock_s())):
                await self._wake.wait()
        except TimeoutError:
            pass

    # Ending

    async def _hand_back(self, grace_s: float) -> None:
        """Let running attempts finish while the lease is kept alive, then give the lease back."""
        runner, attempts, window = self._runner, self._runner.attempts, self._window
        end_s = clock_s() + grace_s
        while runner.busy and clock_s() < end_s and not attempts.ends_with_process:
            self._wake.clear()
            runner.suspects.release()
            await self._steps.step("work", 0)
            await self._rest(min(end_s, clock_s() + SETTLE_S))
        at_work = window.running | set(window.ready) | set(window.to_mark)
        await runner.end()
        window.to_mark = []
        for entry in at_work:
            if entry.state in ("settled", "retry"):
                continue  # it came to an end while it was abandoned
            if entry in attempts.outlived:
                attempts.end_outlived(entry)
            elif entry.in_open:
                window.hand_back(entry)
        window.keep_suspects()
        mode: Mode = "hold" if self._steps.pair_hold is not None else "give" if self._giving else "release"
        if self._takeover.is_partial:
            mode = "leave" if self._steps.pair_hold is None else "stop"
        await self._steps.step(mode, 0)
