"""Log lines about attempts: at most twenty a second from one process, with samples and counts.

Without this bound, a handler that fails for everything writes a line for each attempt and each action. `explain`
shows what became of an event.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import structlog

from eventlog.lease import clock_s

EVERY_S = 1.0
MOST_LINES = 20  # in `EVERY_S`, and one more about what they leave out
MOST_CAUSES = 100  # of one handler at a time
MOST_NAMED = 20  # handlers in the line about what is left out


@dataclass(slots=True)
class _Cause:
    name: tuple[object, ...]
    write: Callable[..., None] = field(repr=False)
    fields: Mapping[str, Any] = field(repr=False)
    counted: str
    written_s: float = float("-inf")
    unwritten: int = 0

    def is_due(self, now_s: float) -> bool:
        return self.unwritten > 0 and now_s - self.written_s >= EVERY_S


class HandlerLines:
    """The lines about attempts of one handler in one process.

    Args:
        process: bounds them together with those of other handlers; None where each line is written.
    """

    def __init__(self, handler: str, process: AttemptLines | None) -> None:
        self.handler = handler
        self.written_s = float("-inf")
        self._process = process
        self._causes: OrderedDict[tuple[object, ...], _Cause] = OrderedDict()  # longest without a line first
        self._dropped = 0  # of causes that made room for others

    def tell(
        self,
        level: int,
        write: Callable[..., None],
        cause: tuple[object, ...],
        /,
        *,
        counted: str = "failures",
        each: bool = False,
        **fields: Any,
    ) -> None:
        """Write a line now or within a second; may be called in any thread.

        Args:
            level: level of the line; a line that the log leaves out takes no room.
            write: writes a line with these fields.
            cause: what makes lines alike: kind of line first, then reason and place in the code.
            counted: name of the field with the number of lines that this one stands for, if more than one.
            each: write each line while there is room, instead of one line a second for the cause.
        """
        if self._process is None or self._process.logs(logging.DEBUG):
            write(**fields)
        elif self._process.logs(level):
            made = _Cause(cause, write, fields, counted)
            self._process.in_loop(partial(self._process.take, self, made, each=each))

    def count(self, made: _Cause) -> _Cause:
        """Count one more line, of which `made` is the sample from now on."""
        cause = self._causes.setdefault(made.name, made)
        cause.write, cause.fields = made.write, made.fields
        cause.unwritten += 1
        if len(self._causes) > MOST_CAUSES:
            _, oldest = self._causes.popitem(last=False)
            self._dropped += oldest.unwritten
        return cause

    @property
    def waits(self) -> bool:
        """Whether something is counted and not written."""
        return self._dropped > 0 or any(cause.unwritten for cause in self._causes.values())

    def next_due(self, now_s: float) -> _Cause | None:
        """Return the cause that has waited longest for a line; None where none may be written now."""
        return next((cause for cause in self._causes.values() if cause.is_due(now_s)), None)

    def write(self, cause: _Cause, now_s: float) -> None:
        """Write a line of a cause, and count it from the beginning again."""
        count = {cause.counted: cause.unwritten} if cause.unwritten > 1 else {}
        cause.unwritten, cause.written_s, self.written_s = 0, now_s, now_s
        self._causes.move_to_end(cause.name)
        cause.write(**cause.fields, **count)

    def leave_out(self, now_s: float) -> int:
        """Forget what is due, and return how many lines that would have been."""
        left_out, self._dropped = self._dropped, 0
        for cause in self._causes.values():
            if cause.is_due(now_s):
                left_out += cause.unwritten
                cause.unwritten = 0
        return left_out

    def end(self) -> None:
        """Make all counted lines due."""
        for cause in self._causes.values():
            cause.written_s = float("-inf")


EACH = HandlerLines("", None)
"""Writes each line. For attempts outside of a worker."""


class AttemptLines:
    """The lines about attempts of one process.

    The first failure of a handler is written at once. Those of the next second are counted. At its end, each handler
    has a line of its oldest cause in turn, until twenty are written. The line says how many attempts it stands for.
    What has no line then is counted in one line, by handler. Make it in the loop in which lines are written.
    """

    def __init__(
        self,
        log: structlog.typing.FilteringBoundLogger | None = None,
        *,
        clock_s: Callable[[], float] = clock_s,
    ) -> None:
        self._log: Any = structlog.get_logger().bind() if log is None else log
        self._clock_s = clock_s
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._handlers: OrderedDict[str, HandlerLines] = OrderedDict()  # longest without a line first
        self._timer: asyncio.TimerHandle | None = None
        self._since_s, self._lines = float("-inf"), 0

    def of(self, handler: str) -> HandlerLines:
        """Return the lines of one handler."""
        return self._handlers.setdefault(handler, HandlerLines(handler, self))

    def write_rest(self) -> None:
        """Write what is only counted so far."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for handler in self._handlers.values():
            handler.end()
        self._write_in_turn()

    def in_loop(self, call: Callable[[], None]) -> None:
        """Call in the thread of the loop, now or soon."""
        if threading.get_ident() == self._thread:
            call()
        else:
            with contextlib.suppress(RuntimeError):  # a thread has outlived the loop
                self._loop.call_soon_threadsafe(call)

    def logs(self, level: int) -> bool:
        """Return whether lines of a level are logged."""
        return bool(self._log.is_enabled_for(level))

    def take(self, handler: HandlerLines, made: _Cause, *, each: bool) -> None:
        """Write or count a line of a handler; in the loop."""
        now_s = self._clock_s()
        if now_s - self._since_s >= EVERY_S:
            self._since_s, self._lines = now_s, 0
        cause = handler.count(made)
        # The first one of a handler goes out at once. The others wait, so that all handlers have their turn.
        if (each or now_s - handler.written_s >= EVERY_S) and self._lines < MOST_LINES:
            self._write(handler, cause, now_s)
        elif self._timer is None:
            self._write_later()

    def _write_due(self) -> None:
        self._timer = None
        self._write_in_turn()
        if any(handler.waits for handler in self._handlers.values()):
            self._write_later()

    def _write_in_turn(self) -> None:
        now_s = self._clock_s()
        self._since_s, self._lines = now_s, 0
        waiting = deque(handler for handler in self._handlers.values() if handler.next_due(now_s))
        while waiting and self._lines < MOST_LINES:
            handler = waiting.popleft()
            if (cause := handler.next_due(now_s)) is not None:
                self._write(handler, cause, now_s)
                waiting.append(handler)
        left_out = {
            name: lines for name, handler in self._handlers.items() if (lines := handler.leave_out(now_s))
        }
        if left_out:
            most = sorted(left_out, key=lambda name: -left_out[name])[:MOST_NAMED]
            self._log.warning(
                "lines.left_out",
                lines=sum(left_out.values()),
                handlers={name: left_out[name] for name in most},
                more_handlers=len(left_out) - len(most),
            )

    def _write(self, handler: HandlerLines, cause: _Cause, now_s: float) -> None:
        self._lines += 1
        self._handlers.move_to_end(handler.handler)
        handler.write(cause, now_s)

    def _write_later(self) -> None:
        self._timer = self._loop.call_later(EVERY_S, self._write_due)
