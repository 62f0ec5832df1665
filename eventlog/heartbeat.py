"""The receivers' heartbeat: it shows when no receiver could write, and each such gap is closed once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from eventlog.clock import rfc3339
from eventlog.gap_records import NO_RECEIVER, record_gap
from eventlog.internal import DOOR, GAP_OPENED, internal_event
from eventlog.reading import whole

if TYPE_CHECKING:
    from eventlog.log import EventLog

ALIVE_MS = 5_000  # receivers beat once a second
OPENED_AFTER_MS = 10_000  # so that a quick restart of all receivers announces nothing


class Hole(NamedTuple):
    """No receiver could accept events between these moments (Unix ms, the clock of Redis)."""

    from_ms: int
    to_ms: int


async def beat(log: EventLog, replica: str, *, hole_after_ms: int) -> Hole | None:
    """Note that this receiver is open and can write.

    Args:
        replica: name of this receiver.
        hole_after_ms: a longer time without a beat of any receiver is a hole.

    Returns:
        The hole that ends now, in which case nothing was noted yet.
    """
    reply = await log.scripts.beat(args=[log.prefix, replica, hole_after_ms])
    return Hole(int(reply[0]), int(reply[1])) if reply else None


async def close_gap(
    log: EventLog, replica: str, hole: Hole, types: Sequence[str], callback_url: str | None
) -> tuple[str, list[str]] | None:
    """Append `receiver.gap.closed`, record the gap and beat, all in one script.

    Returns:
        The event's id and the queues to wake, or None when another replica closed this gap.
    """
    return await record_gap(log, replica, NO_RECEIVER, hole.from_ms, hole.to_ms, types, callback_url)


async def open_gap(log: EventLog, *, after_ms: int = OPENED_AFTER_MS) -> list[str]:
    """Append `receiver.gap.opened`, once, when no receiver has been open for so long; return the queues to wake.

    Housekeeping asks, so workers notice it too. `close_gap` ends what this begins.
    """
    last = await log.scripts.open_gap(args=[log.prefix, after_ms, ""])
    if last is None:
        return []
    types = await log.redis.hget(log.key("subscription"), "types")
    fields = {
        "reason": NO_RECEIVER,
        "from": rfc3339(int(last)),
        "types": types.decode().split(",") if types else [],
    }
    event = internal_event(GAP_OPENED, DOOR, fields)
    found = await log.scripts.open_gap(args=[log.prefix, after_ms, last, *event.arguments(log)])
    return [queue.decode() for queue in found] if isinstance(found, list) else []


async def receivers(log: EventLog, now_ms: int, *, within_ms: int = ALIVE_MS) -> list[str]:
    """Return the names of the receivers with a recent beat, sorted.

    Args:
        now_ms: by the clock of Redis.
    """
    beats = await log.redis.hgetall(log.key("door"))
    return sorted(
        name.decode("utf-8", "replace")
        for name, at_ms in beats.items()
        if abs(now_ms - (whole(at_ms) or 0)) <= within_ms
    )
