"""The steps of one drain: each writes what happened since the last one, reads on, and so renews the lease.

A step may claim what another drain of the lane has read (`shared_reads.py`). It ends before the first event that only
newer code wants.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace

from eventlog.clock import now_ms
from eventlog.lease import Mode, Read, Settlement, clock_s
from eventlog.outages import unreadable_words
from workers.drain.parts import DrainParts
from workers.drain.reader import MAX_BATCH, MAX_WINDOW, Reader
from workers.drain.runner import Runner
from workers.drain.shared_reads import DrainReads

KEYS_AT_ONCE = 32  # that are made of events in one turn of the event loop

UNREADABLE_S = 60.0  # between two looks at a record that cannot be read
_PASS_S = 0.5  # how long one slow event may hold the cursor


class LaneSteps:
    """Makes the steps of one drain.

    Attributes:
        reads: the drain's part in the shared reads of the lane, from `join` on.
        handler_held: whether the log holds the handler.
        pair_hold: how long this pair alone is held, in seconds, and why; None while it is not.

    Args:
        join: begins to take part in the shared reads of the lane.
    """

    def __init__(
        self, parts: DrainParts, reader: Reader, runner: Runner, join: Callable[[], DrainReads]
    ) -> None:
        self.reads: DrainReads
        self.handler_held = False
        self.pair_hold: tuple[float, str] | None = None
        self._lease = parts.lease
        self._window = parts.window
        self._cursor = parts.window.cursor
        self._reader = reader
        self._runner = runner
        self._pending = parts.pending
        self._at_once = parts.shared.steps
        self._log = parts.log
        self._lines = parts.runtime.lines
        self._records = parts.records
        self._join = join
        self._has_keys = parts.runtime.key_of is not None
        self._interrupted = 0
        self._cur_moved_s = 0.0
        self._warned_full = False

    def join(self) -> None:
        """Take part in the shared reads of the lane, until `reads.leave`."""
        self.reads = self._join()
        self._reader.batch = self.reads.first_batch or self._reader.batch

    def begin(self, cur: str) -> None:
        """Begin at the position where the drain before stopped."""
        self._cursor.cur = self._cursor.pos = cur
        self._cur_moved_s = clock_s()

    async def reread(self) -> Read:
        """Read on in what was handed out before, and write nothing."""
        return await self._read_on(Settlement(), "work", MAX_BATCH, shared=False)

    async def step(self, mode: Mode, count: int) -> Read:
        """Write what happened, and read on."""
        window = self._window
        if self._reader.full and not self._warned_full:
            self._warned_full = True
            log = self._log  # the line may wait, and must not keep the drain
            self._lines.tell(
                logging.WARNING,
                lambda **fields: log.warning("handler.open_full", **fields),
                ("open-full",),
                counted="times",
                open=self._cursor.open_count,
            )
        marks = window.mark()
        worked_s = self._runner.attempts.worked_s
        settled, window.unconfirmed = window.unconfirmed, []
        settlement = self._settlement(clock_s())
        if mode == "sleep" and len(self._cursor):
            mode = "work"  # asleep, the cursor stands at the end of what was read
        if mode == "sleep" and (due_ms := window.retries.next_due_ms()) is not None:
            settlement.wakes_in_ms = max(0, due_ms - now_ms())
        if mode in ("hold", "stop") and self.pair_hold is not None:
            settlement.wakes_in_ms, settlement.held_by = round(self.pair_hold[0] * 1000), self.pair_hold[1]
        read = await self._read_on(settlement, mode, count)
        if self._records is not None:
            self._records.confirm()
        window.confirm(settled)
        window.marked(marks)
        self._runner.suspects.marked(marks)
        if read.asleep or not read.scanned:
            return read
        keys = []
        for count_read, event in enumerate(read.events, 1):
            keys.append(window.admit(event).key)
            if self._has_keys and not count_read % KEYS_AT_ONCE:
                await asyncio.sleep(0)
        if self._records is not None:
            await self._records.preload(keys)
        self._pending.settle_superseded()
        if count:
            self._reader.got(len(read.events), read.exhausted, worked_s, clock_s())
        return read

    async def _read_on(self, settlement: Settlement, mode: Mode, count: int, *, shared: bool = True) -> Read:
        """One step, up to the first event that only newer code wants: only that code may settle it."""
        before = self._cursor.pos
        step = self._shared_step if count and shared and self.reads.has_others else self._own_step
        if count and not self._runner.stopping:
            async with self._at_once.one(self._lease.handler):
                read = await step(settlement, mode, before, count)
        else:
            read = await step(settlement, mode, before, count)
        if read.held:
            self.handler_held = True
            self._runner.stop()
        elif (read.paused or read.changed) and not self._runner.stopping:
            # What runs may finish. Paused, nothing goes on here; changed, the next take sees all of it.
            self._log.info("lane.released", reason="paused" if read.paused else "changed")
            self._runner.stop()
        if read.unreadable and not read.events and count:
            self.stop_at(read.unreadable)
        if read.hurried:
            self._window.hurry(frozenset(read.hurried))
        if not read.scanned:
            return read
        events, self._cursor.pos = self._reader.ours(read, before)
        return read if events is read.events else replace(read, events=events)

    async def _own_step(self, settlement: Settlement, mode: Mode, before: str, count: int) -> Read:
        return await self._lease.step(settlement, mode=mode, after=before, count=count)

    async def _shared_step(self, settlement: Settlement, mode: Mode, before: str, count: int) -> Read:
        """One step that claims what another drain has read, or reads for others too."""
        lease, reads = self._lease, self.reads
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

    def stop_at(self, what: str) -> tuple[float, str]:
        """Stop at what cannot be read: what runs may finish. Return how long the pair is held, and why."""
        hold = (UNREADABLE_S, unreadable_words(what))
        if hold != self.pair_hold:
            self._log.error("lane.unreadable", record=what, again_in_s=UNREADABLE_S)
        self.pair_hold = hold
        self._runner.stop()
        return hold

    def _settlement(self, now_s: float) -> Settlement:
        cursor, stopping = self._cursor, self._runner.stopping
        before = cursor.cur
        cursor.advance()
        # What is held stays after the cursor, so that `open` does not fill with events that were not tried.
        is_held = self.handler_held or self.pair_hold is not None
        if not is_held and (stopping or len(cursor) > MAX_WINDOW // 2 or now_s - self._cur_moved_s > _PASS_S):
            self._window.pass_unfinished(stopping=stopping)
        settlement = self._pending.settlement()
        if not len(cursor) or cursor.cur != before:
            self._cur_moved_s = now_s
        return settlement
