"""How many steps of one handler may be under way at a time while other handlers are at work in the process.

All steps share one connection, so their answers come in one burst, and the loop takes them all in before it does
anything else. With a backlog on many lanes that is one long burst after the other, and an event of another handler
needs several to get through.
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
        others_s = self._before_s if name == self._last else self._last_s
        if handler.waiting or (handler.under_way >= AT_ONCE and now_s - others_s < _LATELY_S):
            await self._turn(handler)
            now_s = self._clock_s()
        if name != self._last:
            self._before_s, self._last = self._last_s, name
        self._last_s = now_s
        handler.under_way += 1
        try:
            yield
        finally:
            handler.under_way -= 1
            self._let_in(handler)

    async def _turn(self, handler: _Handler) -> None:
        turn = asyncio.get_running_loop().create_future()
        handler.waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._let_in(handler)
            raise

    def _let_in(self, handler: _Handler) -> None:
        """Let the next ones in that wait, as far as there is room."""
        room = AT_ONCE - handler.under_way
        while handler.waiting and room > 0:
            turn = handler.waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                room -= 1
