"""Watches the leases of the drains of one process: a drain whose lease is about to end is cancelled in time.

A process that cannot do that is ended by its watchdog (`watchdog.py`).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping

import structlog

from eventlog.lease import MARGIN_S, TTL_S, clock_s
from workers.drain.drain import Drain
from workers.drain.watchdog import Watchdog

_WATCH_S = 0.25
_ABANDON_BEFORE_S = 0.4

_log = structlog.get_logger()


class LeaseWatch:
    """Watches the leases of one process.

    Args:
        watchdog: ends the process when its event loop is stuck, or when it was paused past a lease; None for neither.
    """

    def __init__(self, watchdog: Watchdog | None) -> None:
        self._watchdog = watchdog

    def begin(self) -> None:
        """Arm the watchdog for the first drain, which may be at work before the next check."""
        self._arm(TTL_S - MARGIN_S)

    async def watch(self, drains: Mapping[tuple[str, int], tuple[Drain, asyncio.Task[None]]]) -> None:
        """Watch until cancelled.

        Args:
            drains: of the process, by pair; they come and go.
        """
        try:
            while True:
                now_s = clock_s()
                deadlines = []
                for drain, task in list(drains.values()):
                    if not drain.lease.deadline_s:
                        deadlines.append(TTL_S - MARGIN_S)  # it may be at work before the next check
                        continue
                    left_s = drain.lease.deadline_s - now_s
                    if task.cancelling():
                        if left_s < _ABANDON_BEFORE_S:
                            continue  # on its way out
                        # Python 3.11's wait_for swallowed our cancel, and Redis answered after all.
                        while task.uncancel():
                            pass
                    if left_s <= 0:
                        self._slept_through_a_lease()
                    if left_s < _ABANDON_BEFORE_S:
                        task.cancel()  # Redis is away, and another process may hold the lease soon
                    else:
                        deadlines.append(left_s)
                self._arm(min(deadlines, default=None))
                await asyncio.sleep(_WATCH_S)
        finally:
            self._arm(None)

    def _slept_through_a_lease(self) -> None:
        """End a process that was paused, or whose loop was stuck, for so long that others may run the same events."""
        _log.critical("worker.paused_past_lease")
        if self._watchdog is not None:
            os._exit(1)

    def _arm(self, seconds: float | None) -> None:
        if self._watchdog is not None:
            self._watchdog.arm(seconds)
