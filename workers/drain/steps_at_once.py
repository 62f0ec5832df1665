"""Bounds the steps of one handler that are under way at a time, while other handlers are at work in the process.

All steps share one connection, so their answers come in one burst, and the loop takes them all in before it does
anything else. With a backlog on many lanes, one long burst follows another, and an event of another handler needs
several bursts.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from eventlog.lease import clock_s

AT_ONCE = 4
_LATELY_S = 0.1


@dataclass(slots=True)
class _Handler:
    under_way: int = 0
    waiting: deque[asyncio.Future[None]] = field(default_factory=deque)


class StepsAtOnce:
    """The steps of one process. A handler that has the process to itself never waits."""

    def __init__(self, *, clock_s: Callable[[], float] = clock_s) -> None:
        self._clock_s = clock_s
        self._handlers: dict[str, _Handler] = {}
        self._last, self._last_s = "", float("-inf")  # the handler that made a step last
        self._before_s = float("-inf")  # when another one than that made its last step

    @contextlib.asynccontextmanager
    async def one(self, name: str) -> AsyncIterator[None]:
        """Wait until a step of this handler may begin; it is under way until the block ends."""
        now_s = self._clock_s()
        handler = self._handlers.setdefault(name, _Handler())
        if handler.waiting or (handler.under_way >= AT_ONCE and self._is_bounded(name, now_s)):
            await self._turn(name, handler)
            now_s = self._clock_s()
        else:
            handler.under_way += 1
        if name != self._last:
            self._before_s, self._last = self._last_s, name
        self._last_s = now_s
        try:
            yield
        finally:
            self._leave(name, handler)

    def _is_bounded(self, name: str, now_s: float) -> bool:
        """Return whether another handler made a step lately."""
        others_s = self._before_s if name == self._last else self._last_s
        return now_s - others_s < _LATELY_S

    async def _turn(self, name: str, handler: _Handler) -> None:
        """Wait for a place. `_leave` counts it when it gives it to this step."""
        turn = asyncio.get_running_loop().create_future()
        handler.waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._leave(name, handler)
            raise

    def _leave(self, name: str, handler: _Handler) -> None:
        """Give a place back, and let the next ones in that wait: all of them when nothing bounds them any more."""
        handler.under_way -= 1
        is_bounded = self._is_bounded(name, self._clock_s())
        while handler.waiting and (handler.under_way < AT_ONCE or not is_bounded):
            turn = handler.waiting.popleft()
            if not turn.done():
                handler.under_way += 1  # here, since the step begins in a later turn of the loop
                turn.set_result(None)
