"""Notices how long the door was shut: a heartbeat in the log while it is open and can write.

A start after an outage, a receiver that was stopped, a Redis that was away: all of them leave a hole in the
beat. The hole becomes the internal event `receiver.gap.closed`; what is done about it is a handler's business.
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


class Door(Protocol):
    """What the log knows of the door."""

    async def beat(self, replica: str, *, hole_after_ms: int) -> Hole | None:
        """Note that the door is open, or find a hole."""

    async def close_gap(
        self, replica: str, hole: Hole, types: Sequence[str], callback_url: str | None
    ) -> tuple[str, list[str]] | None:
        """Append the event of a closed gap, unless another replica did."""

    async def wanted_types(self) -> frozenset[str]:
        """What the handlers want."""


class Heartbeat:
    """Beats for one replica, and closes the gaps it finds."""

    def __init__(
        self,
        door: Door,
        remembered: Callable[[], Awaitable[dict[str, str]]],
        wake: Callable[[Sequence[str]], None],
        *,
        replica: str,
        callback_url: str | None,
        metrics: Metrics,
    ) -> None:
        """
        Args:
            remembered: our notification subscription as the log remembers it.
            replica: a name of this process, unique among its siblings.
        """
        self._door = door
        self._remembered = remembered
        self._wake = wake
        self._replica = replica
        self._callback_url = callback_url
        self._metrics = metrics

    async def beat(self) -> None:
        """Say that the door is open now.

        Raises:
            redis.RedisError: it could not be written; the next beat will find the hole.
        """
        hole = await self._door.beat(self._replica, hole_after_ms=HOLE_AFTER_MS)
        if hole is None:
            return
        remembered = await self._remembered()
        types = remembered["types"].split(",") if remembered.get("types") else await self._wanted()
        callback_url = remembered.get("callback_url") or self._callback_url
        closed = await self._door.close_gap(self._replica, hole, types, callback_url)
        if closed is None:
            return
        event_id, queues = closed
        self._wake(queues)
        self._metrics.gaps.inc()
        _log.warning(
            "gap.closed", event_id=event_id, duration_s=(hole.to_ms - hole.from_ms) / 1000, types=len(types)
        )

    async def _wanted(self) -> list[str]:
        return sorted(subscribable(await self._door.wanted_types()))
