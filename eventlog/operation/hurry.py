"""Ends waits: an event that waits for its next attempt gets it now, even if a drain holds the wait in memory."""

from __future__ import annotations

from collections.abc import Sequence

from eventlog.log import EventLog
from eventlog.operation.handlers import unknown_handler


async def hurry(log: EventLog, handler: str, lane: int, stream_ids: Sequence[str]) -> list[bool]:
    """Make retries of one lane due now, in one change; return for each event whether it waited for one.

    Raises:
        UnknownName: no such handler is registered.
    """
    answers = await log.scripts.hurry(args=[log.prefix, handler, lane, *stream_ids])
    if answers is None:
        raise await unknown_handler(log, handler)
    return [bool(answer) for answer in answers]
