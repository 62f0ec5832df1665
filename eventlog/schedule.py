"""Which (handler, lane) pairs are due, which queues to wake for them, and which process acts.

The `due` sets are a hint: the cursors decide, and `recompute` rebuilds the hint from them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from eventlog.log import EventLog

Role = Literal["ticker", "keeper", "listener", "prober"]
LEASE_MS = 6_000  # life of a lease


async def sweep(log: EventLog) -> list[str]:
    """Return the queues to wake: each has a due pair without a drain and was not woken recently.

    Where the clock of Redis went back since the last sweep, it also ends what would last until that time comes again.
    """
    asked = [log.prefix, log.wake_throttle_ms, LEASE_MS, log.lanes]
    return [queue.decode() for queue in await log.scripts.sweep(args=asked)]


async def spread(log: EventLog) -> None:
    """Make due the pairs that want what was appended. `sweep` and `due` do so too, but not those of older code."""
    await log.scripts.spread(args=[log.prefix])


async def due(
    log: EventLog, queue: str, handlers: Sequence[str], *, limit: int, room: Mapping[str, int] | None = None
) -> list[tuple[str, int]]:
    """Return at most `limit` (handler, lane) pairs of these handlers that are due now, longest first.

    Args:
        room: how many pairs that another process gave back within the last second may be among them, by handler.
            Without an entry, any number.
    """
    asked: list[str | int] = [log.prefix, queue, limit]
    for name in handlers:
        asked += (name, "" if room is None else room.get(name, ""))
    pairs = await log.channel.call(log.scripts.due, asked)
    return [(name, int(lane)) for name, _, lane in (pair.decode().rpartition("|") for pair in pairs)]


async def awake(log: EventLog, queue: str) -> None:
    """Note that a wake-up of this queue arrived, so the next one is not held back."""
    await log.redis.delete(log.key("wake", queue))


async def recompute(log: EventLog) -> int:
    """Rebuild the hint of due pairs from the cursors; return how many pairs were found due."""
    return int(await log.scripts.recompute(args=[log.prefix, log.lanes]))


async def elected(log: EventLog, seconds: float, role: Role) -> bool:
    """Elect one process for a role: the first caller gets True, all others False for so many seconds."""
    return bool(await log.scripts.elect(args=[log.key(role), int(seconds * 1000)]))


async def elect_sooner(log: EventLog, seconds: float, role: Role) -> None:
    """End the current term of a role after so many seconds from now."""
    await log.redis.pexpire(log.key(role), int(seconds * 1000))
