"""Detects outages: while the endpoint can write to the log, it writes a heartbeat there.

A stopped receiver or an unreachable Redis leaves a hole in the heartbeat. The hole becomes the internal event
`receiver.gap.closed`. Handlers decide what to do about it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from eventlog.heartbeat import Hole
from receiver.logging import get_logger
from receiver.metrics import Metrics
from receiver.registration import subscribable

HOLE_AFTER_MS = 3_000

_log = get_logger(__name__)


class HeartbeatLog(Protocol):
    """What the heartbeat needs of the log."""

    async def beat(self, replica: str, *, hole_after_ms: int) -> Hole | None:
        """Record a beat; return a hole before it."""

    async def close_gap(
        self, replica: str, hole: Hole, types: Sequence[str], callback_url: str | None
    ) -> tuple[str, list[str]] | None:
        """Append the event of a closed gap, unless another replica did."""

    async def wanted_types(self) -> frozenset[str]:
        """Return the types that handlers want."""


class Heartbeat:
    """Beats for one replica, and closes the gaps it finds."""

    def __init__(
        self,
        log: HeartbeatLog,
        remembered: Callable[[], Awaitable[dict[str, str]]],
        wake: Callable[[Sequence[str]], None],
        *,
        replica: str,
        callback_url: str | None,
        metrics: Metrics,
    ) -> None:
        """
        Args:
            log: the event log.
            remembered: reads our notification subscription from the log.
            wake: called with the queues to wake; must not block.
            replica: unique name of this process.
            callback_url: our URL, in case the log has none.
            metrics: where gaps are counted.
        """
        self._log = log
        self._remembered = remembered
        self._wake = wake
        self._replica = replica
        self._callback_url = callback_url
        self._metrics = metrics

    async def beat(self) -> None:
        """Record that the endpoint is open now. After a hole, append the event of the gap.

        Raises:
            redis.RedisError: Redis did not take it; a later beat finds the hole.
        """
        hole = await self._log.beat(self._replica, hole_after_ms=HOLE_AFTER_MS)
        if hole is None:
            return
        remembered = await self._remembered()
        types = remembered["types"].split(",") if remembered.get("types") else await self._wanted()
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

    async def _wanted(self) -> list[str]:
        return sorted(subscribable(await self._log.wanted_types()))
