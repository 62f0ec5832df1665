"""An event loop without sockets whose time only passes when a test says so."""

from __future__ import annotations

import asyncio
import selectors
from asyncio import events
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_STEP_S = 0.001


class SteppedLoop(asyncio.SelectorEventLoop):
    """Runs what is ready, and nothing else.

    Attributes:
        faults: what the loop would have logged: exceptions of callbacks, and of tasks that none awaited.
    """

    _ready: Any
    _scheduled: Any

    def __init__(self) -> None:
        super().__init__(_NoSelector())
        self._seconds = 0.0
        self.faults: list[str] = []
        self.set_exception_handler(self._note)

    def _note(self, _: object, context: dict[str, Any]) -> None:
        self.faults.append(f"{context.get('message')}: {context.get('exception')!r}")

    def time(self) -> float:
        """Return the seconds that have passed."""
        return self._seconds

    def settle(self) -> None:
        """Run everything that is ready, and what becomes ready by it."""
        while self._ready:
            self._run_once()  # type: ignore[attr-defined]

    def pass_time(self, seconds: float) -> None:
        """Let time pass; timers end in their order."""
        until = self._seconds + seconds
        self.settle()
        while timers := self.timers():
            due = min(timer.when() for timer in timers)
            if due > until:
                break
            # A timer that is set again for what a float cannot express must not end at the same moment for ever.
            self._seconds = max(self._seconds, due) + _STEP_S
            self._run_once()  # type: ignore[attr-defined]
            self.settle()
        self._seconds = until

    def timers(self) -> list[asyncio.TimerHandle]:
        """Return the timers that have not ended."""
        return [timer for timer in self._scheduled if not timer.cancelled()]

    @contextmanager
    def active(self) -> Iterator[None]:
        """Make it the running loop of this thread."""
        events._set_running_loop(self)
        try:
            yield
        finally:
            events._set_running_loop(None)


class _NoSelector(selectors.SelectSelector):
    def select(self, timeout: float | None = None) -> list[Any]:
        return []
