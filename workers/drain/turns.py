"""Turns of the event loop for events that never wait: by handler, so that no backlog starves another handler."""

from __future__ import annotations

import asyncio

_BREATH_S = 0.004  # for how long tasks of one handler may begin to hold the event loop
_SHARED_BREATH_S = 0.0025  # while others are at work, too
_FINISH_S = 0.0015  # more for the task that has begun: half a lane's batch would cost a step of its own
_LATELY_S = 0.1
_MOST_TASKS = 256


class Turns:
    """Divides the event loop of one process among its handlers.

    A turn ends with its time, at the latest with the loop's next round. While none runs out of time, nothing waits.
    Then each handler that waits has one turn, for as many of its tasks as fit into its time. They are twice as many
    as in its last turn, or half as many when that ran out of time.
    """

    def __init__(self) -> None:
        self._handler: str | None = None
        self._until_s: float | None = None
        self._next_round = False
        self._waiting: dict[str, list[asyncio.Future[None]]] = {}
        self._ran_out = False
        self._tasks: dict[str, int] = {}  # per turn
        self._last: str | None = None
        self._mixed_until_s = 0.0

    def may_go_on(self, handler: str, now_s: float, *, begun: bool = False) -> bool:
        """Return whether an event of this handler may start now; otherwise wait for `next`.

        Args:
            begun: the task has run an event since it waited.
        """
        if self._handler not in (None, handler):
            return False
        if self._until_s is None:
            if self._last is not None and handler != self._last:
                self._mixed_until_s = now_s + _LATELY_S
            self._last = handler
            self._until_s = now_s + (_SHARED_BREATH_S if now_s < self._mixed_until_s else _BREATH_S)
            self._call_next_round()
        if now_s < self._until_s + (_FINISH_S if begun else 0.0):
            return True
        self._ran_out = True
        return False

    async def next(self, handler: str) -> None:
        """Wait for the handler's next turn."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(handler, []).append(turn)
        self._call_next_round()
        await turn

    def _call_next_round(self) -> None:
        if not self._next_round:
            self._next_round = True
            asyncio.get_running_loop().call_soon(self._begin)

    def _begin(self) -> None:
        """Begin a turn, in each round of the loop for as long as any handler waits."""
        if self._handler is not None:
            last = self._tasks.get(self._handler, 1)
            self._tasks[self._handler] = max(1, last // 2) if self._ran_out else min(_MOST_TASKS, last * 2)
        self._next_round, self._handler, self._until_s, self._ran_out = False, None, None, False
        while self._waiting and self._handler is None:
            handler = next(iter(self._waiting))  # the one that has waited longest
            turns = [turn for turn in self._waiting.pop(handler) if not turn.done()]  # others are cancelled
            most = self._tasks.get(handler, 1)
            for turn in turns[:most]:
                self._handler = handler
                turn.set_result(None)
            if turns[most:]:
                self._waiting[handler] = turns[most:]
        if self._handler is not None:
            self._call_next_round()
