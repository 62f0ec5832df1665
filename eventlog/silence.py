"""Detects that events stopped arriving, compared with what usually arrives in that hour.

The log learns how many events arrive in each hour of the week, and until it knows that, in each hour of the day. That
is a table of less than 200 numbers. Silence causes a warning and a metric, and no call. While no receiver is open,
nothing is learned and silence does not count.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from eventlog.log import EventLog

LOOK_S = 30.0
SILENT_AFTER_MS = 600_000
SILENT_AFTER_EVENTS = 20
_LONGEST_PAUSE_MS = 300_000
_BEAT_MS = 10_000


class Silence(NamedTuple):
    """For how long no event arrived.

    Attributes:
        turn: `began` or `ended` when that is new; otherwise empty.
        ms: since the last event.
        expected: events that usually arrive in that time.
    """

    turn: Literal["began", "ended", ""]
    ms: int
    expected: float


async def look(
    log: EventLog, *, after_ms: int = SILENT_AFTER_MS, after_events: float = SILENT_AFTER_EVENTS
) -> Silence:
    """Learn from what arrived since the last call. One process calls it, twice a minute.

    Args:
        after_ms, after_events: silence is reported after so long, if so many events are missing.
    """
    arguments = [log.prefix, _LONGEST_PAUSE_MS, _BEAT_MS, after_ms, after_events]
    turn, ms, expected = await log.scripts.silence(args=arguments)
    return Silence("began" if turn > 0 else "ended" if turn < 0 else "", ms, float(expected))


class Quiet(NamedTuple):
    """The result of the last check, for metrics.

    Attributes:
        expected: events that usually arrive in the time in which none did.
        is_silent: whether a warning was given.
    """

    expected: float
    is_silent: bool


async def quiet(log: EventLog) -> Quiet | None:
    """Return the result of the last check; None before the first one."""
    expected, silent = await log.redis.hmget(log.key("usual"), "expected", "silent")
    return None if expected is None else Quiet(float(expected), silent == b"1")
