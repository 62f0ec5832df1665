"""Time limits of attempts in the event loop.

All attempts of a handler share one timer, since nearly all of them end long before their limit.
"""

from __future__ import annotations

import asyncio
import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Protocol

from workers.delivery.outcomes import AttemptTimedOut

_CANCEL_S = 3.0  # for a handler that is over its time to let itself be cancelled


class Ringing(Protocol):
    """An alarm of `Timeouts`: `ring` is called when its time is over."""

    def ring(self) -> None: ...


class Timeouts:
    """Rings each alarm a fixed time after it was set, unless it was dropped.

    Args:
        after_s: seconds from `set` to `ring`, the same for all; so they ring in the order in which they were set.
    """

    def __init__(self, after_s: float) -> None:
        self._after_s = after_s
        self._at_s: dict[Ringing, float] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None

    def set(self, alarm: Ringing, loop: asyncio.AbstractEventLoop) -> None:
        """Set an alarm, to ring in the running loop."""
        if self._loop is not loop:  # another one, as when a command runs several after each other
            self._loop, self._timer, self._at_s = loop, None, {}
        at_s = loop.time() + self._after_s
        self._at_s[alarm] = at_s
        if self._timer is None:
            self._timer = loop.call_at(at_s, self._look, loop)

    def drop(self, alarm: Ringing) -> None:
        """Drop an alarm. One that has rung is ignored."""
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


@types.coroutine
def time_limited(
    handling: Coroutine[Any, Any, object], alarms: Timeouts, overdue: Callable[[], None]
) -> Generator[Any, Any, object]:
    """Await a handler within its time limit, and return its result. The limit begins when the handler first waits.

    Until then nothing else can run in this loop, so no limit could end it; and most events never get that far.
    From then on this does what `await` and asyncio.timeout do, at a fraction of the cost.
    """
    try:
        awaited = handling.send(None)
    except StopIteration as end:
        return end.value
    limit = _TimeLimit(overdue)
    alarms.set(limit, limit.loop)
    try:
        while True:
            thrown: BaseException | None = None
            try:
                sent = yield awaited
            except GeneratorExit:
                handling.close()
                raise
            except BaseException as error:  # noqa: BLE001 - thrown on into the handler
                thrown = error
            # Outside of that clause, or all that the handler raises from here on would count as caused by it.
            awaited = handling.send(sent) if thrown is None else handling.throw(thrown)
    except StopIteration as end:
        return end.value
    except asyncio.CancelledError:
        if limit.alone_cancelled:
            raise AttemptTimedOut from None
        raise
    finally:
        thrown = None  # it holds this frame
        alarms.drop(limit)
        limit.end()


class _TimeLimit:
    """Cancels the current task when its alarm rings."""

    def __init__(self, overdue: Callable[[], None]) -> None:
        self.loop = asyncio.get_running_loop()
        task = asyncio.current_task(self.loop)
        assert task is not None  # noqa: S101
        self._task = task
        self._before = task.cancelling()
        self._overdue = overdue
        self._rang = False
        self._last_call: asyncio.TimerHandle | None = None

    @property
    def alone_cancelled(self) -> bool:
        return self._rang and self._task.cancelling() == self._before + 1

    def ring(self) -> None:
        self._rang = True
        self._task.cancel()
        self._last_call = self.loop.call_later(_CANCEL_S, self._overdue)

    def end(self) -> None:
        if self._last_call is not None:
            self._last_call.cancel()
        if self._rang:
            self._task.uncancel()  # also where the handler answered the time-out in its own way
