"""Log lines of attempts that failed: at most one a second for each cause, and ten in all, with a sample and a count.

A handler that fails for everything would else write a line for each attempt. `explain` says what became of an event.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from eventlog.lease import clock_s

EVERY_S = 1.0
MOST_CAUSES = 100  # at a time; of the oldest ones that had to make room only the kind of line is still known
MOST_LINES = 10  # in `EVERY_S`


@dataclass(slots=True)
class _Cause:
    write: Callable[..., None] = field(repr=False)
    fields: Mapping[str, Any] = field(repr=False)
    written_s: float = float("-inf")
    unwritten: int = 0


class FailureLines:
    """The lines of one handler in one process. They are written in the event loop.

    The first failure of a cause is written at once. Those of the next second are counted, and the last of them is
    written when the second is over, with `failures`: how many it stands for. After ten lines in a second, every cause
    waits for its turn in the next one.
    """

    def __init__(self, *, clock_s: Callable[[], float] = clock_s) -> None:
        self._clock_s = clock_s
        self._causes: OrderedDict[tuple[object, ...], _Cause] = OrderedDict()
        self._forgotten: dict[object, _Cause] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._since_s, self._lines = float("-inf"), 0

    def tell(self, write: Callable[..., None], cause: tuple[object, ...], **fields: Any) -> None:
        """Write a line about a failure, now or within a second.

        Args:
            write: writes a line with these fields.
            cause: what makes failures alike: kind of line first, then reason and place in the code.
        """
        now_s = self._clock_s()
        known = self._causes.get(cause)
        if known is None:
            known = self._causes[cause] = _Cause(write, fields)
            self._make_room()
        known.write, known.fields = write, fields
        known.unwritten += 1
        if now_s - known.written_s >= EVERY_S and self._has_room(now_s):
            self._write_cause(cause, known, now_s)
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(EVERY_S, self._write_due)

    def write_rest(self) -> None:
        """Write what is only counted so far."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now_s = self._clock_s()
        for (kind, *_), cause in self._causes.items():
            if cause.unwritten and self._has_room(now_s):
                self._write(cause)
            else:
                self._forget(kind, cause)
        self._causes.clear()
        for cause in self._forgotten.values():
            self._write(cause)
        self._forgotten.clear()

    def _make_room(self) -> None:
        if len(self._causes) > MOST_CAUSES:
            (kind, *_), oldest = self._causes.popitem(last=False)
            self._forget(kind, oldest)

    def _forget(self, kind: object, cause: _Cause) -> None:
        """Let what a cause counted be written with others of its kind."""
        if cause.unwritten:
            if (before := self._forgotten.get(kind)) is not None:
                cause.unwritten += before.unwritten
            self._forgotten[kind] = cause

    def _has_room(self, now_s: float) -> bool:
        """Return whether one more line may be written in this second, and count it."""
        if now_s - self._since_s >= EVERY_S:
            self._since_s, self._lines = now_s, 0
        self._lines += 1
        return self._lines <= MOST_LINES

    def _write_due(self) -> None:
        self._timer = None
        now_s = self._clock_s()
        for kind in list(self._forgotten):
            if self._has_room(now_s):
                self._write(self._forgotten.pop(kind))
        for name, cause in list(self._causes.items()):
            if cause.unwritten and now_s - cause.written_s >= EVERY_S and self._has_room(now_s):
                self._write_cause(name, cause, now_s)
        if self._forgotten or any(cause.unwritten for cause in self._causes.values()):
            self._timer = asyncio.get_running_loop().call_later(EVERY_S, self._write_due)

    def _write_cause(self, name: tuple[object, ...], cause: _Cause, now_s: float) -> None:
        self._write(cause)
        cause.written_s = now_s
        self._causes.move_to_end(name)  # those that wait for longer come first

    def _write(self, cause: _Cause) -> None:
        if cause.unwritten:
            cause.write(**cause.fields, **_count(cause.unwritten))
            cause.unwritten = 0


def _count(failures: int) -> dict[str, int]:
    """Return the count for a line; a line that stands for itself has none."""
    return {"failures": failures} if failures > 1 else {}
