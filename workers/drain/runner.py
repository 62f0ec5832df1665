"""Starts the ready events of one drain, as many at a time as the handler has slots.

An attempt starts only under a live lease and before a stop. While crash suspects run, nothing else starts.
"""

from __future__ import annotations

import asyncio

from eventlog.clock import now_ms
from eventlog.connection.connect import end_tasks
from eventlog.lease import clock_s
from workers.drain.attempts import Attempts
from workers.drain.parts import DrainParts
from workers.drain.suspects import Suspects
from workers.once.step import DeliveryRevoked

_SLOT_S = 0.005  # how long one lane keeps a slot for which another one waits
_ABANDON_S = 3.0  # for attempts that were cancelled to come to an end, while the lease still lives


class Runner:
    """The attempts of one drain.

    It does not use asyncio.TaskGroup. A group's exit waits without limit for a task that ignores its cancellation. It
    cancels each task only once, which Python 3.11 can swallow. When a task fails, a group also cancels the drain's
    own task. The dispatcher's watch would take that for its own cancel and undo it.

    Attributes:
        starting: tasks that have not had their first turn.
        attempts: makes them.
        suspects: run before anything else.
    """

    def __init__(self, parts: DrainParts) -> None:
        self.starting = 0
        self.attempts = Attempts(parts)
        self.suspects = Suspects(parts, self.attempts)
        self._lease = parts.lease
        self._handler = parts.runtime.handler.name
        self._shared = parts.shared
        self._window = parts.window
        self._wake = parts.wake
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._fault: BaseException | None = None
        self._queued = 0  # tasks that wait for a turn of the event loop
        self._paced_until_s = 0.0

    @property
    def busy(self) -> bool:
        """Whether anything runs or is about to."""
        return bool(self._tasks or self.suspects.task)

    @property
    def fault(self) -> BaseException | None:
        """Return the error that ended a task and is not a handler's fault."""
        return self._fault or self.suspects.fault

    @property
    def stopping(self) -> bool:
        """Whether nothing new starts."""
        return self.attempts.stopping

    def start(self, at_once: int = 1) -> None:
        """Start what is ready: one task for events that never wait, more tasks while events wait."""
        if self.suspects.are_left:
            self.suspects.start()
            return
        tries = self.attempts.tries
        if tries and self._tasks:
            return
        if self._queued or (self._shared.pace.bounds and self._is_paced(clock_s())):
            return
        tasks = min(1 if tries else at_once, len(self._window.ready) - self.starting)
        for _ in range(tasks):
            if not self._shared.slots.try_take(self._wake):
                return
            self.starting += 1
            task = asyncio.create_task(self._run_ready())
            self._tasks.add(task)
            task.add_done_callback(self._ended)
        if tasks > 0:
            self._loop.call_soon(self._start_more, at_once * 2)

    def stop(self) -> None:
        """Start nothing new."""
        self.attempts.stopping = True
        self._wake.set()

    async def end(self) -> None:
        """Cancel what still runs and wait until it is gone."""
        tasks = [*self._tasks, *([self.suspects.task] if self.suspects.task else [])]
        if await end_tasks(tasks, within_s=_ABANDON_S):
            # It does not let itself be cancelled, so it ends with its process.
            self.attempts.report_overdue(next(iter(self._window.running), None))

    def _start_more(self, at_once: int) -> None:
        """Start more tasks, since the last ones have had their turn and events are still ready."""
        if self._window.ready and not self.stopping:
            self.start(at_once)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._shared.slots.give_back()
        if not task.cancelled():
            self._fault = self._fault or task.exception()
        self._wake.set()

    async def _run_ready(self) -> None:
        self.starting -= 1
        handler, turns, attempts, started = self._handler, self._shared.turns, self.attempts, False
        is_bounded = self._shared.pace.bounds
        try:
            now_s = clock_s()
            slot_until_s = now_s + _SLOT_S
            while self._window.ready and not attempts.stopping and now_s < self._lease.deadline_s:
                if started and now_s > slot_until_s and self._shared.slots.wanted:
                    return  # another lane's turn, also where each event waits and no turn of the loop runs out
                if is_bounded and self._is_paced(now_s):
                    return
                if turns.may_go_on(handler, now_s, begun=started):
                    started = True
                    now_s = await attempts.run(self._window.ready.popleft(), now_s)
                    if attempts.tries:
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
        """Return whether the bound holds back the next event, an old one. Then the drain is woken in time."""
        pace = self._shared.pace
        if not self._window.ready:
            return False
        wait_s = pace.wait_s(now_ms() - self._window.ready[0].event.received_at_ms, now_s)
        if wait_s and now_s >= self._paced_until_s:
            self._paced_until_s = now_s + wait_s
            self._loop.call_later(wait_s, self._wake.set)
        return wait_s > 0
