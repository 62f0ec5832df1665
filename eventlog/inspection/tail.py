"""Follow events of all lanes as they arrive. Following keeps no position in the log."""

from __future__ import annotations

from collections.abc import AsyncIterator

from eventlog.inspection.events import listed_event
from eventlog.log import EventLog
from eventlog.record import StoredEvent, id_order

_BLOCK_MS = 1_000
_PAGE = 100


async def ends(log: EventLog) -> dict[int, str]:
    """Return the last id of each lane."""
    found = {}
    for lane in range(log.lanes):
        page = await log.redis.xrevrange(log.key("events", lane), count=1)
        found[lane] = page[0][0].decode() if page else "0-0"
    return found


async def arriving(log: EventLog, after: dict[int, str]) -> AsyncIterator[list[StoredEvent]]:
    """Yield the events after these ids without end, each batch in order of arrival."""
    lanes = {log.key("events", lane).encode(): lane for lane in after}
    places = {key: after[lane] for key, lane in lanes.items()}
    while True:
        reply = await log.redis.xread(places, count=_PAGE, block=_BLOCK_MS)
        some: list[StoredEvent] = []
        for key, page in reply or ():
            some += [listed_event(lanes[key], raw_id, fields) for raw_id, fields in page]
            places[key] = page[-1][0].decode()
        if some:
            yield sorted(some, key=lambda event: id_order(event.stream_id))
