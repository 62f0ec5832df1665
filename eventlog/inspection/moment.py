"""Several reads in one script call, so that they show one moment."""

from __future__ import annotations

from typing import Any

from eventlog.log import EventLog


async def at_once(log: EventLog, *reads: tuple[str, ...]) -> list[Any]:
    """Return the replies to reads, as of one moment.

    Args:
        reads: each a command, its key without the prefix, and further words.
    """
    asked = [word for read in reads for word in (len(read), *read)]
    replies: list[Any] = await log.scripts.read_at_once(args=[log.prefix, *asked])
    return replies
