"""Read what the endpoint dropped or could not read, for one entity or one body."""

from __future__ import annotations

import re
from dataclasses import dataclass

from eventlog.inspection.search import LOOKS, Where, find
from eventlog.log import EventLog
from eventlog.reading import arrived_ms, whole
from eventlog.turned_away import Copy

_MOST = 20


@dataclass(frozen=True)
class Mention:
    """A quarantined body that holds an entity's id."""

    stream_id: str
    reason: str
    received_at_ms: int


async def copies_of_entity(log: EventLog, key: str) -> list[Copy]:
    """Return the dropped copies of an entity's events, oldest first."""
    return await _copies(log, Where("k", "is", key))


async def copies_of_body(log: EventLog, fingerprint: str, most: int) -> list[Copy]:
    """Return the dropped copies of one body, oldest first; at most `most`."""
    return await _copies(log, Where("f", "is", fingerprint), most)


async def mentions(log: EventLog, key: str) -> list[Mention]:
    """Return the newest quarantined bodies that hold the id of an entity as a word, oldest first.

    A body that could not be read has no entity, so its text is searched. An id may mean something else in it.
    """
    id_ = key.partition(":")[2].encode()
    if not id_:
        return []
    word = re.compile(rb"(?<![0-9A-Za-z])" + re.escape(id_) + rb"(?![0-9A-Za-z])")
    stream = log.key("quarantine")
    candidates = [entry async for entry in find(log, stream, [Where("b", "has", id_)], ["reason", "r"])]
    found: list[Mention] = []
    for entry in reversed(candidates[-10 * _MOST :]):
        page = await log.redis.xrange(stream, min=entry.stream_id, max=entry.stream_id)
        if page and word.search(page[0][1].get(b"b", b"")):
            reason, received = (value.decode(errors="replace") for value in entry.fields)
            found.append(Mention(entry.stream_id, reason, arrived_ms(received, entry.stream_id)))
        if len(found) == _MOST:
            break
    return found[::-1]


async def _copies(log: EventLog, where: Where, most: int = LOOKS) -> list[Copy]:
    found: list[Copy] = []
    give = ("t", "k", "w", "r", "s", "f")
    async for entry in find(log, log.key("dropped"), [where], give, most=min(most, LOOKS)):
        type_, key, reason, received, key_id, body = (
            value.decode(errors="replace") for value in entry.fields
        )
        found.append(Copy(type_, key or None, reason, whole(received) or 0, key_id, body))
        if len(found) == most:
            break
    return found
