"""Detect whether Redis lost events, after a restart or a failover to a server with fewer of them.

At `appendfsync everysec` Redis can lose the last two seconds. This module only reads; the caller decides what to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from eventlog.log import EventLog
from eventlog.record import id_order


class Remembered(NamedTuple):
    """What Redis reports about itself.

    Attributes:
        run_id: identity of the running process.
        last_ids: the last id that each lane assigned (`0-0`: none).
        accepted, again: events ever accepted, and those of them that receivers appended again.
        pulse_ms: when housekeeping last left a note.
        at_ms: the time of this answer, by the clock of Redis.
    """

    run_id: str
    last_ids: tuple[str, ...]
    accepted: int = 0
    again: int = 0
    pulse_ms: int = 0
    at_ms: int = 0

    def continues(self, before: Remembered) -> bool:
        """Return whether Redis is the same process as before and no lane went back."""
        return self.run_id == before.run_id and all(
            id_order(now) >= id_order(then) for now, then in zip(self.last_ids, before.last_ids, strict=True)
        )


async def remembered(log: EventLog) -> Remembered:
    """Read what Redis reports about itself now."""
    asked = [log.prefix, log.lanes]
    # The connection of the appends: another one might still lead to a server that was replaced.
    run_id, last_ids, numbers = await log.channel.call(log.scripts.remembers, asked)
    return Remembered(run_id.decode(), tuple(found.decode() for found in last_ids), *map(int, numbers))


async def lost(log: EventLog, entries: Sequence[tuple[str, str]]) -> list[int]:
    """Return the positions of the entries (stream without the prefix, id) that are missing."""
    arguments = [part for entry in entries for part in entry]
    found = await log.channel.call(log.scripts.lost, [log.prefix, *arguments])
    return [int(at) for at in found]
