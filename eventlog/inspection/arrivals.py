"""Finds which entities have events of one type since a moment: a bounded read of the lanes, without bodies.

An event counts as arrived when it lies in the log. So the answer is complete only as far back as the log reaches,
which `reaches_back_to` returns.
"""

from __future__ import annotations

from collections.abc import Mapping

from eventlog.inspection.search import Where, find
from eventlog.log import EventLog
from eventlog.reading import whole
from eventlog.record import UnknownRecord, read_marks

MOST_ENTITIES = 200_000


class TooManyArrivals(Exception):
    """More entities have events in the window than are compared."""


async def arrivals(log: EventLog, type: str, since_ms: int) -> Mapping[str, int]:
    """Return the newest time of each entity's events of a type: entity key -> Unix time in microseconds.

    It is the payload's own time, or where it states none, when the event arrived.

    Args:
        since_ms: events that arrived earlier are not read.

    Raises:
        TooManyArrivals: the window holds more than `MOST_ENTITIES`.
    """
    newest: dict[str, int] = {}
    for lane in range(log.lanes):
        stream, is_type = log.key("events", lane), [Where("t", "is", type)]
        async for found in find(log, stream, is_type, ["k", "m", "r"], since=str(max(0, since_ms))):
            key, marks, received = (field.decode(errors="replace") for field in found.fields)
            at_us = _own_time(marks) or (whole(received) or 0) * 1000
            if key and at_us > newest.get(key, -1):
                newest[key] = at_us
                if len(newest) > MOST_ENTITIES:
                    raise TooManyArrivals
    return newest


async def reaches_back_to(log: EventLog) -> int:
    """Return since when (Unix ms) no event was removed from the log; 0 when none ever was."""
    return whole(await log.redis.hget(log.key("tenant"), "trimmed")) or 0


def _own_time(marks: str) -> int | None:
    try:
        return read_marks(marks.split(","))[1]
    except UnknownRecord:
        return None
