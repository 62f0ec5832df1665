"""How late the event loop of a process runs what is due. Every process that works on the log measures it."""

from __future__ import annotations

import asyncio
import time

_EVERY_S = 0.1
_HALF_S = 15.0


class LoopLag:
    """The longest delay of the event loop in the last 15 to 30 seconds.

    A timer ten times a second is late by as much as the loop was blocked.
    """

    def __init__(self) -> None:
        self._timer: asyncio.TimerHandle | None = None
        self._due_s = 0.0
        self._since_s = 0.0
        self._longest_s = self._before_s = 0.0

    def start(self) -> None:
        """Begin to measure the running loop. A second call changes nothing."""
        if self._timer is None:
            self._since_s = time.monotonic()
            self._wait()

    def stop(self) -> None:
        """Stop measuring."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    @property
    def seconds(self) -> float:
        """Return the longest delay."""
        return max(self._longest_s, self._before_s)

    def _wait(self) -> None:
        self._due_s = time.monotonic() + _EVERY_S
        self._timer = asyncio.get_running_loop().call_later(_EVERY_S, self._measure)

    def _measure(self) -> None:
        now_s = time.monotonic()
        if now_s - self._since_s > _HALF_S:
            self._before_s, self._longest_s, self._since_s = self._longest_s, 0.0, now_s
        self._longest_s = max(self._longest_s, now_s - self._due_s)
        self._wait()
