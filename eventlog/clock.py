"""Unix milliseconds, the time format of the log, and their text form.

This module imports nothing of the room, so that a command that only shows its help starts fast.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime

LAST_MS = 253_402_300_799_000  # in the year 9999


def now_ms() -> int:
    """Return the Unix time in milliseconds."""
    return time.time_ns() // 1_000_000


def redis_ms(answer: Sequence[int]) -> int:
    """Return the answer to Redis's `TIME`, which is seconds and microseconds, as Unix milliseconds."""
    seconds, micros = answer
    return int(seconds) * 1000 + int(micros) // 1000


def rfc3339(ms: int, *, timespec: str = "milliseconds") -> str:
    """Return a moment as RFC 3339 in UTC, e.g. `2026-11-24T06:00:00.000Z`; `timespec` as in `datetime.isoformat`.

    A time that no calendar has, which another client of Redis may have written, becomes the nearest one that it has.
    """
    ms = min(max(ms, 0), LAST_MS)
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec=timespec).replace("+00:00", "Z")
