"""What the drains of one handler share in a process: its slots, its pace, and what it shares with other handlers."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from workers.drain.handler_watch import HandlerWatch
from workers.drain.pace import Pace
from workers.drain.steps_at_once import StepsAtOnce
from workers.drain.turns import Turns

LOOP_DEPTH = 5


class Slots:
    """How many events one handler works on at the same time in this process, over all lanes."""

    def __init__(self, limit: int) -> None:
        self._free = limit
        self._waiting: deque[asyncio.Event] = deque()

    def try_take(self, waiter: asyncio.Event) -> bool:
        """Take a slot; otherwise set `waiter` when one is free."""
        if self._free:
            self._free -= 1
            return True
        if waiter not in self._waiting:
            self._waiting.append(waiter)
        return False

    def give_back(self) -> None:
        """Free a slot, and wake the drain that has waited longest."""
        self._free += 1
        if self._waiting:
            self._waiting.popleft().set()

    @property
    def wanted(self) -> bool:
        """Whether another lane waits for a slot."""
        return bool(self._waiting)


@dataclass(frozen=True)
class Shared:
    """What the drains of one handler share in a process.

    Attributes:
        suspects_turn: held while an event runs that may have killed a worker. So no two of them run together in one
            process, and an innocent one is not blamed.
        overdue: called when an attempt outlives its time and nothing can end it, with the handler's name, the event's
            id, and the line where it stands.
        turns: of the event loop, for all handlers of the process.
        steps: under way, of all handlers of the process.
        pace: of events that waited long.
        watch: follows the services that the handler needs.
        loop_depth: most actions of a chain for one entity.
    """

    slots: Slots
    suspects_turn: asyncio.Lock
    overdue: Callable[[str, str, str], None]
    turns: Turns
    steps: StepsAtOnce
    pace: Pace
    watch: HandlerWatch
    loop_depth: int
