"""Whether Redis forgot what it was given: it was started anew, or another took its place, with less in it.

At `appendfsync everysec` that can be the last two seconds. It only looks; what to do about it is the caller's
business.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from eventlog.log import EventLog
from eventlog.record import id_order


class Remembered(NamedTuple):
    """What Redis knows of itself.

    Attributes:
        run_id: identity of the running process.
        last_ids: of each lane, the last id it gave (`0-0`: none).
    """

    run_id: str
    last_ids: tuple[str, ...]

    def continues(self, before: Remembered) -> bool:
        """Whether this is the same process, and no lane went back."""
        return self.run_id == before.run_id and all(
            id_order(now) >= id_order(then) for now, then in zip(self.last_ids, before.last_ids, strict=True)
        )


async def remembered(log: EventLog) -> Remembered:
    """What Redis knows of itself now."""
    asked = [log.prefix, log.lanes]
    # Over the connection of the appends: another might still lead to a server that was replaced.
    run_id, last_ids = await log.channel.call(log.scripts.remembers, asked)
    return Remembered(run_id.decode(), tuple(found.decode() for found in last_ids))


async def lost(log: EventLog, entries: Sequence[tuple[str, str]]) -> list[int]:
    """Positions of the entries (stream without the prefix, id) that are not there."""
    arguments = [part for entry in entries for part in entry]
    found = await log.channel.call(log.scripts.lost, [log.prefix, *arguments])
    return [int(at) for at in found]
