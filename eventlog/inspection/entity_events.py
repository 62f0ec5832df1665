"""What became of an entity's events, a page at a time and the newest first. A page reads a bounded number of entries.

`explain` reads everything that is kept of an entity, for the command line. A page must not, since logs are large.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from eventlog.clock import redis_ms
from eventlog.inspection.delivery_state import EventFacts, HandlerFacts
from eventlog.inspection.entity_traces import Traces, read_ends, read_letters, read_old_ends, read_open
from eventlog.inspection.event_search import Found, Place, Row, Wanted, search
from eventlog.inspection.explain import Explanation, about_entity, registered
from eventlog.inspection.timeline import Story, certain, pair_facts
from eventlog.log import EventLog
from eventlog.recent_calls import RecentCall, read_calls
from eventlog.record import id_order
from eventlog.throttle import SCOPE

ROWS: Final = 15

_ENDS_LOOKS = 8_000  # of all histories, for one page
_BYTES = 60_000  # of each kind, for one page


class Slots(NamedTuple):
    """How many events of the entity have a slot of a handler's throttle now."""

    handler: str
    taken: int


@dataclass(frozen=True)
class EntityPage:
    """The contents of one page.

    Attributes:
        about: its stories are those of this page, the newest first.
        found: how far the lane was read.
        older: events beyond this page that are open or dead, on the first page only.
        recent_calls: calls of handlers about the entity within the last minutes, the newest first.
        chain: how many of these calls form a chain of echoes.
    """

    about: Explanation
    found: Found
    older: tuple[Story, ...]
    slots: tuple[Slots, ...]
    recent_calls: tuple[RecentCall, ...]
    chain: int


async def entity_page(log: EventLog, key: str, *, before: Place | None, now_ms: int) -> EntityPage:
    """Return a page of an entity's events, with what handlers keep of it.

    Args:
        before: the place that the page before ended at; None for the newest events.
    """
    lane, handlers = log.lane_of(key, b""), await registered(log)
    found = await search(log, Wanted(key=key), before=before, limit=ROWS)
    events = {stream_id(row): _facts(row, lane) for row in found.rows}
    gathered: list[Traces] = []
    looks = _ENDS_LOOKS
    for handler, pair in zip(handlers, await pair_facts(log, handlers, lane), strict=True):
        at = Traces(handler, pair)
        await read_open(log, at, lane, key, events, _BYTES // len(handlers), is_first=before is None)
        if before is None:
            await read_letters(log, at, key)
        known = {**_others([at], events, lane, key), **events}
        looks -= await read_ends(log, at, lane, key, known, looks, _BYTES // len(handlers))
        if found.next is None:
            await read_old_ends(log, at, lane, key, _BYTES // len(handlers))
        gathered.append(at)
    beyond = _others(gathered, events, lane, key)
    gone = {one for at in gathered for one in at.ends} if found.next is None else set()
    shown = {**events, **{one: facts for one, facts in beyond.items() if one in gone}}
    waits = {one for at in gathered for one in (*at.open, *at.letters)}
    older = [facts for one, facts in beyond.items() if one in waits and one not in gone]
    if before is not None:  # newer ones are on the pages before
        shown = {one: facts for one, facts in shown.items() if id_order(one) < (before.ms, before.number)}

    def stories(of: Sequence[EventFacts]) -> tuple[Story, ...]:
        ordered = sorted(of, key=lambda event: id_order(event.stream_id), reverse=True)
        return tuple(Story(one, certain(one, [at.fate(one, now_ms) for at in gathered])) for one in ordered)

    about = await about_entity(log, key, lane, stories(list(shown.values())), handlers, now_ms)
    return EntityPage(about, found, stories(older), *await _lately(log, key, handlers))


def stream_id(row: Row) -> str:
    """Return the id of a row within its lane."""
    return f"{row.place.ms}-{row.place.number}"


def _facts(row: Row, lane: int) -> EventFacts:
    return EventFacts(
        lane,
        stream_id(row),
        row.received_at_ms,
        row.type,
        row.key,
        row.size,
        row.key_id,
        row.marks,
        kept=True,
    )


def _others(
    gathered: Sequence[Traces], events: dict[str, EventFacts], lane: int, key: str
) -> dict[str, EventFacts]:
    """Return the facts of events that are not on this page, as far as handlers know them."""
    found: dict[str, EventFacts] = {}
    for at in gathered:
        for one in {*at.open, *at.letters, *at.ends} - events.keys():
            known = found.get(one) or EventFacts(lane, one, id_order(one)[0], key=key)
            record, letter = at.open.get(one), at.letters.get(one)
            if known.type is None and record is not None:
                known = replace(known, type=record.event.type, received_at_ms=record.event.received_at_ms)
            elif known.type is None and letter is not None:
                known = replace(known, type=letter.type)
            found[one] = known
    return found


async def _lately(
    log: EventLog, key: str, handlers: Sequence[HandlerFacts]
) -> tuple[tuple[Slots, ...], tuple[RecentCall, ...], int]:
    """Return slots of throttles that are taken, and what handlers did to the entity lately."""
    async with log.redis.pipeline(transaction=False) as asked:
        asked.time()
        asked.get(log.key("acted", key))
        asked.zcard(log.key("chain", key))
        for handler in handlers:
            asked.hlen(log.key("ledger", handler.name, SCOPE + key))
        at, acted, chain, *taken = await asked.execute()
    slots = (Slots(handler.name, count) for handler, count in zip(handlers, taken, strict=True) if count)
    return tuple(slots), read_calls(acted or b"", redis_ms(at)), chain
