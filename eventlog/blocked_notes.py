"""Notes about events that blocked the event loop of a worker, from the process that ends to the one that follows.

A watchdog thread writes a note just before it ends the process, so it uses a blocking client with short time-outs.
The process that suspects the event next takes the note. A note that is lost costs the reason alone: the event is
suspected all the same.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from eventlog.connection.connect import connect_sync
from eventlog.record import TRACE_CHARS
from eventlog.scripts import ROUTE, blocking
from eventlog.text import bounded

if TYPE_CHECKING:
    from eventlog.log import EventLog

KEEP_MS = 86_400_000
NOTE_S = 0.5  # for an answer of Redis, while a process is about to end
MOST = 1_000  # notes of one log; they are rare, and each is taken within seconds

_WHERE_CHARS = 600


class BlockedNote(NamedTuple):
    """What is known of an event that blocked the loop.

    Attributes:
        where: `file:line in function` of the handler.
        trace: that and the lines around it, innermost last.
    """

    where: str
    trace: str


def note_writer(redis_url: str, prefix: str, *, timeout_s: float) -> Callable[[str, str, BlockedNote], None]:
    """Return a function that stores the note about an event of a handler (name, event id, note).

    It raises redis.RedisError or OSError when Redis does not take the note.

    Args:
        timeout_s: for connecting, and for each answer.
    """
    client = connect_sync(redis_url, timeout_s=timeout_s)
    script = blocking(client, "blocked")

    def write(handler: str, event_id: str, note: BlockedNote) -> None:
        said = json.dumps([bounded(note.where, _WHERE_CHARS), bounded(note.trace, TRACE_CHARS)])
        script(keys=[prefix + ROUTE], args=[prefix, handler, event_id, said, KEEP_MS, MOST])

    return write


async def take_note(log: EventLog, handler: str, event_id: str) -> BlockedNote | None:
    """Return the note about an event, if there is one, and delete it.

    Raises:
        redis.RedisError, OSError: Redis does not answer.
    """
    said = await log.scripts.blocked(args=[log.prefix, handler, event_id, "", KEEP_MS, MOST])
    if not said:
        return None
    try:
        where, trace = json.loads(said)
    except ValueError:
        return None
    return BlockedNote(bounded(str(where), _WHERE_CHARS), bounded(str(trace), TRACE_CHARS))
