"""Time limits of attempts: one timer for all attempts of a handler, since nearly all of them end long before."""

from __future__ import annotations

import asyncio
from typing import Protocol


class Ringing(Protocol):
    """Called when its time is over."""

    def ring(self) -> None: ...


class Timeouts:
    """Rings everything that was set the same time ago and not dropped since.

    Args:
        after_s: seconds from `set` to `ring`, the same for all; so they ring in the order in which they were set.
    """

    def __init__(self, after_s: float) -> None:
        self._after_s = after_s
        self._at_s: dict[Ringing, float] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None

    def set(self, alarm: Ringing, loop: asyncio.AbstractEventLoop) -> None:
        """Ring it later, in this (the running) loop."""
        if self._loop is not loop:  # another one, as when a command runs several after each other
            self._loop, self._timer, self._at_s = loop, None, {}
        at_s = loop.time() + self._after_s
        self._at_s[alarm] = at_s
        if self._timer is None:
            self._timer = loop.call_at(at_s, self._look, loop)

    def drop(self, alarm: Ringing) -> None:
        """Do not ring it any more; nothing happens when it has rung."""
        self._at_s.pop(alarm, None)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        while self._at_s:
            alarm, at_s = next(iter(self._at_s.items()))
            if at_s > loop.time():
                self._timer = loop.call_at(at_s, self._look, loop)
                return
            del self._at_s[alarm]
            alarm.ring()
