"""Detects that the log went back: a backup was restored, or a failover led to a server with fewer events.

The missing events were answered with 2xx, so no resend brings them back. They are recorded as a gap with a reason,
for backfill. Receivers first append again what they remember, so the check waits for them before it counts.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import structlog

from eventlog.clock import rfc3339
from eventlog.data_loss import Remembered, remembered
from eventlog.gap_records import ROLLED_BACK
from eventlog.internal import is_internal
from eventlog.log import EventLog
from eventlog.reading import readable, whole
from eventlog.record import id_order

REASON = ROLLED_BACK
SETTLE_MS = 3_000

_log = structlog.get_logger()


@dataclass(frozen=True)
class _Suspicion:
    before: Remembered
    after: Remembered


class RollbackWatch:
    """Compares what Redis reports with what it reported before. One for each process."""

    def __init__(self, log: EventLog) -> None:
        self._events = log
        self._before: Remembered | None = None
        self._suspicion: _Suspicion | None = None

    @property
    def waits(self) -> bool:
        """Return whether to check again soon, although another process is elected."""
        return self._suspicion is not None

    async def look(self) -> str:
        """Check once; return the identity of the running Redis process.

        Raises:
            redis.RedisError, OSError: Redis did not answer.
        """
        now, before = await remembered(self._events), self._before
        if self._suspicion is not None:
            await self._judge(self._suspicion, now)
        elif before is not None and _went_back(before, now):
            self._suspicion = _Suspicion(before, now)
        elif before is None or before.run_id != now.run_id:
            await self._check_cursors(now)
        self._before = now
        await self._events.channel.call(self._events.scripts.pulse, [self._events.prefix, now.at_ms])
        return now.run_id

    async def _judge(self, found: _Suspicion, now: Remembered) -> None:
        if now.at_ms - found.after.at_ms < SETTLE_MS:
            return
        self._suspicion = None
        back_again = now.again - found.after.again
        missing = found.before.accepted - found.after.accepted - back_again
        if missing > 0:
            since_ms = found.after.pulse_ms or max(id_order(each)[0] for each in found.after.last_ids)
            await self._record(found.before.at_ms, since_ms, now.at_ms, missing)

    async def _check_cursors(self, now: Remembered) -> None:
        """A cursor ahead of all that its lane ever had proves that the lane went back, even after a restart."""
        cursors = await self._events.redis.hgetall(self._events.key("cur"))
        ahead: list[tuple[int, int]] = []
        for pair, cursor in cursors.items():
            lane, at = whole(pair.rpartition(b"|")[2]), readable(id_order, cursor.decode("utf-8", "replace"))
            if lane is not None and at is not None and lane < len(now.last_ids):
                last = id_order(now.last_ids[lane])
                if at > last:
                    ahead.append((last[0], at[0]))
        if ahead:
            since_ms = min(last_ms for last_ms, _ in ahead)
            await self._record(max(at_ms for _, at_ms in ahead), since_ms, now.at_ms, None)

    async def _record(self, seen_ms: int, since_ms: int, now_ms: int, missing: int | None) -> None:
        """Record the gap once.

        Args:
            seen_ms: when the log held more than now.
            since_ms: from when on events are missing.
            missing: at least how many; None if unknown.
        """
        types = sorted(one for one in await self._events.wanted_types() if not is_internal(one))
        gap: dict[str, Any] = {
            "from": rfc3339(since_ms),
            "to": rfc3339(now_ms),
            "types": types,
            "reason": REASON,
            "events": missing,
            "state": "open",
        }
        arguments = [self._events.prefix, seen_ms, since_ms, json.dumps(gap, separators=(",", ":"))]
        if await self._events.channel.call(self._events.scripts.rolled_back, arguments):
            _log.error("redis.rolled_back", events_at_least=missing, since=rfc3339(since_ms))


def _went_back(before: Remembered, now: Remembered) -> bool:
    return (
        now.accepted < before.accepted
        or now.pulse_ms < before.pulse_ms
        or any(
            id_order(after) < id_order(then)
            for after, then in zip(now.last_ids, before.last_ids, strict=True)
        )
    )
