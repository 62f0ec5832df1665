"""Crash suspects of one drain: events that may have been at work when a worker died.

They run one at a time and alone, and each start is counted in Redis before it happens.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable

from redis.exceptions import RedisError

from eventlog.blocked_notes import BlockedNote, take_note
from eventlog.clock import now_ms
from eventlog.lease import clock_s
from eventlog.record import AttemptNote
from workers.delivery.outcomes import Outcome
from workers.drain.attempts import Attempts
from workers.drain.entry import Entry
from workers.drain.parts import DrainParts
from workers.once.step import DeliveryRevoked

MAX_CRASHES = 3
WORKER_DIED, LOOP_BLOCKED = "worker-died", "loop-blocked"


class Suspects:
    """Runs the suspects of one drain.

    Attributes:
        task: runs them; None while none runs or is about to.
        fault: the error that ended the task and is not a handler's fault.
    """

    def __init__(self, parts: DrainParts, attempts: Attempts) -> None:
        self.task: asyncio.Task[None] | None = None
        self.fault: BaseException | None = None
        self._lease = parts.lease
        self._window = parts.window
        self._pending = parts.pending
        self._attempts = attempts
        self._turn = parts.shared.suspects_turn
        self._wake = parts.wake
        self._log = parts.log
        self._marked = asyncio.Event()

    @property
    def are_left(self) -> bool:
        """Whether suspects run or wait to run; until they are done nothing else starts."""
        return bool(self._window.suspects or self.task)

    def start(self) -> None:
        """Run the suspects that wait, unless one runs."""
        if self.task is None:
            self.task = asyncio.create_task(self._run())

    def marked(self, entries: Iterable[Entry]) -> None:
        """Note that Redis holds these events as running."""
        if any(entry.suspect for entry in entries):
            self._marked.set()

    def release(self) -> None:
        """Stop: the suspect that waits for its mark does not run."""
        self._marked.set()

    async def _run(self) -> None:
        suspects = self._window.suspects
        try:
            while suspects and not self._attempts.stopping:
                entry = suspects[0]
                if entry.suspect and self._window.is_first(entry):
                    async with self._turn:
                        if not self._attempts.stopping:
                            await self._run_one(entry)
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
            self.task = None
            self._wake.set()

    async def _run_one(self, entry: Entry) -> None:
        before, crashes = entry.log, entry.crashes + 1
        blocked = await self._blocked_by(entry)
        reason = WORKER_DIED if blocked is None else LOOP_BLOCKED
        where = "" if blocked is None else blocked.where
        count = f"{crashes} of {MAX_CRASHES}"
        entry.count_crash(AttemptNote(now_ms(), reason, f"{where} ({count})" if where else count))
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
        if self._attempts.stopping or not self._lease.alive:
            entry.uncount_crash(before)
            return
        await self._attempts.run(entry, clock_s())

    async def _blocked_by(self, entry: Entry) -> BlockedNote | None:
        """Return the note of the process that died about an event that blocked its loop."""
        with contextlib.suppress(RedisError, OSError):  # then the reason is less exact, and nothing else
            return await take_note(self._lease.log, self._lease.handler, entry.event.event_id)
        return None
