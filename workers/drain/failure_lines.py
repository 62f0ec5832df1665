"""Log lines of attempts that failed: at most one a second for each cause, with a sample and a count.

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
MOST_CAUSES = 100  # at a time; a new one makes room by writing what the oldest has to say


@dataclass(slots=True)
class _Cause:
    write: Callable[..., None] = field(repr=False)
    fields: Mapping[str, Any] = field(repr=False)
    written_s: float
    unwritten: int = 0


class FailureLines:
    """The lines of one handler in one process. They are written in the event loop.

    The first failure of a cause is written at once. Those of the next second are counted, and the last of them is
    written when the second is over, with `failures`: how many it stands for.
    """

    def __init__(self, *, clock_s: Callable[[], float] = clock_s) -> None:
        self._clock_s = clock_s
        self._causes: OrderedDict[tuple[object, ...], _Cause] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None

    def tell(self, write: Callable[..., None], cause: tuple[object, ...], **fields: Any) -> None:
        """Write a line about a failure, now or within a second.

        Args:
            write: writes a line with these fields.
            cause: what makes failures alike: kind of line, reason, place in the code.
        """
        now_s = self._clock_s()
        known = self._causes.get(cause)
        if known is None or now_s - known.written_s >= EVERY_S:
            self._remember(cause, _Cause(write, fields, now_s))
            write(**fields, **_count(known.unwritten + 1 if known else 1))
            return
        known.write, known.fields = write, fields
        known.unwritten += 1
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(EVERY_S, self._write_due)

    def write_rest(self) -> None:
        """Write what is only counted so far."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for cause in self._causes.values():
            self._write(cause)

    def _remember(self, cause: tuple[object, ...], new: _Cause) -> None:
        self._causes[cause] = new
        self._causes.move_to_end(cause)
        if len(self._causes) > MOST_CAUSES:
            _, oldest = self._causes.popitem(last=False)
            self._write(oldest)

    def _write_due(self) -> None:
        self._timer = None
        now_s = self._clock_s()
        for cause in self._causes.values():
            if cause.unwritten and now_s - cause.written_s >= EVERY_S:
                self._write(cause)
                cause.written_s = now_s
        if any(cause.unwritten for cause in self._causes.values()):
            self._timer = asyncio.get_running_loop().call_later(EVERY_S, self._write_due)

    def _write(self, cause: _Cause) -> None:
        if cause.unwritten:
            cause.write(**cause.fields, **_count(cause.unwritten))
            cause.unwritten = 0


def _count(failures: int) -> dict[str, int]:
    """Return the count for a line; a line that stands for itself has none."""
    return {"failures": failures} if failures > 1 else {}
