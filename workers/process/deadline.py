"""The last resort of a stop: a thread that ends the process when its time is over.

It needs neither the event loop nor the main thread, so nothing that hangs in them can keep the process.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from handlers.discovery import Found

_LOOK_S = 0.1
_LINE_S = 1.0  # for the log line; stderr may hang too

_log = structlog.get_logger()


def grace_s(found: Iterable[Found]) -> float:
    """Return the seconds that attempts of these handlers may take after a signal."""
    return max((item.handler.timeout_s for item in found), default=0.0) + 10.0


class Deadline:
    """Limits how long this process lives after `start`.

    Args:
        idle_s: seconds after which it ends as soon as nothing is at work.
        longest_s: seconds after which it ends in any case. It is called while the time runs.
        at_work: whether there is something worth waiting for.
    """

    def __init__(
        self,
        *,
        idle_s: float,
        longest_s: Callable[[], float] = lambda: float("inf"),
        at_work: Callable[[], bool] = lambda: False,
    ) -> None:
        self._idle_s = idle_s
        self._longest_s = longest_s
        self._at_work = at_work
        self._started = False

    def start(self) -> None:
        """Let the time run. A signal handler may call it; a second call changes nothing."""
        if not self._started:
            self._started = True
            threading.Thread(target=self._end, name="deadline", daemon=True).start()

    def _end(self) -> None:
        start_s = time.monotonic()
        while (passed_s := time.monotonic() - start_s) < self._longest_s():
            if passed_s >= self._idle_s and not self._at_work():
                break
            time.sleep(_LOOK_S)
        line = threading.Thread(target=_say, args=(round(passed_s, 1),), daemon=True)
        line.start()
        line.join(_LINE_S)
        os._exit(1)


def _say(after_s: float) -> None:
    _log.critical("process.stop_forced", after_s=after_s)
