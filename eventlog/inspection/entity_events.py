"""What became of an entity's events, a page at a time and the newest first. A page reads a bounded number of entries.

`explain` reads everything that is kept of an entity, for the command line. A page must not, since logs are large.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

from eventlog.acts import Act, read_acts
from eventlog.clock import redis_ms
from eventlog.history import decode, key_bytes
from eventlog.inspection.delivery_state import EventFacts, Fate, HandlerFacts, PairFacts, State, fate_of
from eventlog.inspection.event_search import Found, Place, Row, Wanted, search
from eventlog.inspection.explain import Explanation, about_entity, registered
from eventlog.inspection.search import End
from eventlog.inspection.timeline import Story, certain, pair_facts
from eventlog.log import EventLog
from eventlog.record import OpenRecord, decode_open, id_order
from eventlog.throttle import SCOPE

ROWS: Final = 15

_END_LOOKS = 100  # entries of a history that are read from the time of one event on
_ENDS_LOOKS = 8_000  # of all histories, for one page
_OLD_LOOKS = 500  # of each history, for events that are no longer kept
_LETTER_LOOKS = 1_000
_LETTERS = 20
_OPEN_LOOKS, _OPEN_PAGES = 200, 5
_BYTES = 60_000  # of each kind, for one page


class Slots(NamedTuple):
    """How many events of the entity have a slot of a handler's throttle now."""

    handler: str
    taken: int


@dataclass(frozen=True)
class EntityPage:
    """What one page shows.

    Attributes:
        about: its stories are those of this page, the newest first.
        found: how far the lane was read.
        older: events beyond this page that are open or dead, on the first page only.
        acts: calls of handlers about the entity within the last minutes, the newest first.
        chain: how many of them follow from each other's echoes.
    """

    about: Explanation
    found: Found
    older: tuple[Story, ...]
    slots: tuple[Slots, ...]
    acts: tuple[Act, ...]
    chain: int


class _Letter(NamedTuple):
    id: str
    event_id: str
    type: str
    reason: str


@dataclass
class _AtHandler:
    """What one handler has of the entity: open records, states beyond the bound of bytes, ends, letters."""

    handler: HandlerFacts
    pair: PairFacts
    open: dict[str, OpenRecord] = field(default_factory=dict)
    cut: dict[str, State] = field(default_factory=dict)
    ends: dict[str, list[End]] = field(default_factory=dict)
    letters: dict[str, _Letter] = field(default_factory=dict)

    def fate(self, event: EventFacts, now_ms: int) -> Fate:
        if event.stream_id in self.cut:
            return Fate(self.handler.name, self.cut[event.stream_id])
        letter = self.letters.get(event.stream_id)
        found = fate_of(
            event,
            self.handler,
            self.pair,
            open_=sorted(self.open.values(), key=lambda record: record.event.order),
            ends=self.ends.get(event.stream_id, ()),
            letter=letter.id if letter else "",
            now_ms=now_ms,
        )
        if letter is not None and found.state == "dead" and not found.why:
            return replace(found, why=letter.reason)
        return found


async def entity_page(log: EventLog, key: str, *, before: Place | None, now_ms: int) -> EntityPage:
    """Return a page of an entity's events, with what handlers keep of it.

    Args:
        before: the place that the page before ended at; None for the newest events.
    """
    lane, handlers = log.lane_of(key, b""), await registered(log)
    found = await search(log, Wanted(key=key), before=before, limit=ROWS)
    events = {stream_id(row): _facts(row, lane) for row in found.rows}
    gathered, looks = [], _ENDS_LOOKS
    for handler in handlers:
        at = _AtHandler(handler, await pair_facts(log, handler.name, lane))
        await _read_open(log, at, lane, key, events, _BYTES // len(handlers), is_first=before is None)
        if before is None:
            await _read_letters(log, at, key)
        known = {**_others([at], events, lane, key), **events}
        looks -= await _read_ends(log, at, lane, key, known, looks, _BYTES // len(handlers))
        if found.next is None:
            await _read_old_ends(log, at, lane, key, _BYTES // len(handlers))
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
    gathered: Sequence[_AtHandler], events: dict[str, EventFacts], lane: int, key: str
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


async def _read_open(
    log: EventLog,
    at: _AtHandler,
    lane: int,
    key: str,
    events: dict[str, EventFacts],
    most: int,
    *,
    is_first: bool,
) -> None:
    """Read the open records of these events, and on the first page some others of the entity."""
    name = at.handler.name
    if events and at.pair.open_count:
        heads = await log.scripts.open_heads(args=[log.prefix, name, lane, most, *events])
        for one, head in zip(events, heads, strict=True):
            if head.startswith(b"["):
                at.cut[one] = head[1:-1].decode()
            elif head:
                at.open[one] = decode_open(lane, one.encode(), head)
    cursor, pages = b"0", 0
    while is_first and at.pair.open_count and pages < _OPEN_PAGES and (pages == 0 or cursor != b"0"):
        cursor, *rest = await log.scripts.find_open(args=[log.prefix, name, lane, cursor, _OPEN_LOOKS, key])
        pages += 1
        for raw_id, head in zip(rest[::3], rest[1::3], strict=True):
            if raw_id.decode() not in at.cut:
                at.open[raw_id.decode()] = decode_open(lane, raw_id, head)


async def _read_letters(log: EventLog, at: _AtHandler, key: str) -> None:
    name = at.handler.name
    _, *rest = await log.scripts.newest_letters(args=[log.prefix, name, key, _LETTER_LOOKS, _LETTERS])
    for raw in zip(rest[::4], rest[1::4], rest[2::4], rest[3::4], strict=True):
        letter_id, event_id, type_, reason = (value.decode(errors="replace") for value in raw)
        one = event_id.partition("-")[2]
        at.letters[one] = _Letter(f"{name}/{letter_id}", event_id, type_, reason)


async def _read_ends(
    log: EventLog, at: _AtHandler, lane: int, key: str, events: dict[str, EventFacts], looks: int, most: int
) -> int:
    """Read how deliveries of these events ended, beginning at the time of each; return how many entries it took."""
    taken, reached = 0, 0
    for one, event in sorted(events.items(), key=lambda item: id_order(item[0])):
        is_open = one in at.open or one in at.cut
        if is_open or one in at.ends or not at.handler.wants(event.type) or taken >= looks:
            continue
        from_ms = max(id_order(one)[0], reached)
        last, all_, *rest = await _ends(log, at, lane, key, f"{from_ms}-0", "on", _END_LOOKS, most)
        taken += _END_LOOKS
        if last:
            reached = id_order(last.decode())[0]
        _add(at, rest)
        if all_ and not last:
            break
    return taken


async def _read_old_ends(log: EventLog, at: _AtHandler, lane: int, key: str, most: int) -> None:
    """Read how the last deliveries of the entity ended, whether their events are kept or not."""
    _, _, *rest = await _ends(log, at, lane, key, "+", "back", _OLD_LOOKS, most)
    _add(at, rest)


async def _ends(
    log: EventLog, at: _AtHandler, lane: int, key: str, from_: str, way: str, looks: int, most: int
) -> list[bytes]:
    found: list[bytes] = await log.scripts.entity_ends(
        args=[log.prefix, at.handler.name, lane, from_, way, looks, key_bytes(key), most]
    )
    return found


def _add(at: _AtHandler, rest: Sequence[bytes]) -> None:
    for entry_id, packed in zip(rest[::2], rest[1::2], strict=True):
        at_ms = id_order(entry_id.decode())[0]
        for settled in decode(packed):
            ends = at.ends.setdefault(settled.stream_id, [])
            if End(at_ms, settled) not in ends:
                ends.append(End(at_ms, settled))
                ends.sort(key=lambda end: end.at_ms)


async def _lately(
    log: EventLog, key: str, handlers: Sequence[HandlerFacts]
) -> tuple[tuple[Slots, ...], tuple[Act, ...], int]:
    """Return slots of throttles that are taken, and what handlers did to the entity lately."""
    async with log.redis.pipeline(transaction=False) as asked:
        asked.time()
        asked.get(log.key("acted", key))
        asked.zcard(log.key("chain", key))
        for handler in handlers:
            asked.hlen(log.key("ledger", handler.name, SCOPE + key))
        at, acted, chain, *taken = await asked.execute()
    slots = (Slots(handler.name, count) for handler, count in zip(handlers, taken, strict=True) if count)
    return tuple(slots), read_acts(acted or b"", redis_ms(at)), chain
