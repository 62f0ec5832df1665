"""The times in which events may have been lost, and why."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

from eventlog.gap_records import NO_RECEIVER, RESENDABLE
from eventlog.log import EventLog


@dataclass(frozen=True)
class Gap:
    """A time of which events may be missing.

    Attributes:
        from_ms, to_ms: when it began and ended, or was noticed.
        types: that may be missing.
        reason: slug of why; see `gap_records.py`.
        events: how many are missing at least; None if unknown.
    """

    from_ms: int
    to_ms: int
    types: tuple[str, ...]
    reason: str = NO_RECEIVER
    events: int | None = None

    @property
    def is_final(self) -> bool:
        """Return whether no resend of AMPECO brings what is missing."""
        return self.reason not in RESENDABLE

    def covers(self, ms: int) -> bool:
        """Return whether it includes a moment."""
        return self.from_ms <= ms <= self.to_ms


async def recorded_gaps(log: EventLog) -> list[Gap]:
    """Return all gaps, the oldest first."""
    found = (json.loads(text) for text in (await log.redis.hgetall(log.key("gaps"))).values())
    gaps = [
        Gap(
            _ms(gap["from"]),
            _ms(gap["to"]),
            tuple(gap["types"]),
            gap.get("reason") or NO_RECEIVER,  # older code gave outages none
            gap.get("events"),
        )
        for gap in found
    ]
    return sorted(gaps, key=lambda gap: gap.from_ms)


def _ms(moment: str) -> int:
    return round(datetime.fromisoformat(moment).timestamp() * 1000)
