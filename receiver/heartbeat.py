"""Detects outages: while the endpoint can write to the log, it writes a heartbeat there.

A stopped receiver or an unreachable Redis leaves a hole in the heartbeat. The hole becomes the internal event
`receiver.gap.closed`. Handlers decide what to do about it. The first heartbeat becomes `receiver.started`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from eventlog.heartbeat import Hole
from eventlog.internal import DOOR, STARTED, internal_event
from eventlog.log import EventLog
from receiver.logging import get_logger
from receiver.metrics import Metrics
from receiver.subscribed_types import subscribable

HOLE_AFTER_MS = 3_000

_log = get_logger(__name__)


class Heartbeat:
    """Beats for one replica, and closes the gaps it finds."""

    def __init__(
        self,
        log: EventLog,
        remembered: Callable[[], Awaitable[dict[str, str]]],
        wake: Callable[[Sequence[str]], None],
        *,
        replica: str,
        callback_url: str | None,
        metrics: Metrics,
    ) -> None:
        """
        Args:
            remembered: reads our notification subscription from the log.
            wake: called with the queues to wake; must not block.
            replica: unique name of this process.
            callback_url: our URL, in case the log has none.
        """
        self._log = log
        self._remembered = remembered
        self._wake = wake
        self._replica = replica
        self._callback_url = callback_url
        self._metrics = metrics
        self._announced = False

    async def beat(self) -> None:
        """Record that the endpoint is open now. After a hole, append the event of the gap; then that of the start."""
        hole = await self._log.beat(self._replica, hole_after_ms=HOLE_AFTER_MS)
        if hole is not None:
            await self._close(hole)
        if not self._announced:
            started = internal_event(STARTED, DOOR, {"replica": self._replica})
            self._wake(await self._log.announce(started))
            self._announced = True

    async def _close(self, hole: Hole) -> None:
        remembered = await self._remembered()
        if remembered.get("types"):
            types = remembered["types"].split(",")
        else:
            types = sorted(subscribable(await self._log.wanted_types()))
        callback_url = remembered.get("callback_url") or self._callback_url
        closed = await self._log.close_gap(self._replica, hole, types, callback_url)
        if closed is None:
            return
        event_id, queues = closed
        self._wake(queues)
        self._metrics.gaps.inc()
        _log.warning(
            "gap.closed", event_id=event_id, duration_s=(hole.to_ms - hole.from_ms) / 1000, types=len(types)
        )
