"""Gather the story of an event, or of every event of an entity, from its lane and from each handler.

When the lane no longer has the event, open records, dead letters and the history replace it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from eventlog.duplicates import MARK
from eventlog.ids import EVENT_ID
from eventlog.inspection.delivery_state import EventFacts, Fate, HandlerFacts, PairFacts, fate_of
from eventlog.inspection.endpoint_records import copies_of_body
from eventlog.inspection.event_traces import ALL, EventLetter, EventReader, Limits, equal_before
from eventlog.inspection.moment import at_once
from eventlog.inspection.search import End, Found, Where, ends_of_entity, find, find_open
from eventlog.log import EventLog
from eventlog.reading import arrived_ms, readable
from eventlog.record import OpenRecord, UnknownRecord, id_order, read_marks
from eventlog.stored_event import EVENT_VERSION
from eventlog.text import bounded
from eventlog.turned_away import Copy

_FACTS = ("t", "k", "r", "s", "m", "sha1(b)")  # fields of an entry, in the order of `_facts`


@dataclass(frozen=True)
class Story:
    """One event, and what became of it at each handler.

    Attributes:
        copies: notifications that were dropped, because this event has their body.
        repeats: id of the event before it that has its body; None if it is not marked as a repetition, or unknown.
    """

    event: EventFacts
    fates: tuple[Fate, ...]
    copies: tuple[Copy, ...] = ()
    repeats: str | None = None


async def of_event(
    log: EventLog,
    lane: int,
    stream_id: str,
    handlers: Sequence[HandlerFacts],
    now_ms: int,
    limits: Limits = ALL,
) -> Story:
    """Return the story of one event. Its body is not read.

    Args:
        limits: what may be read. The rest is missing, and fates note where their histories were read in part.
    """
    event = await _kept(log, lane, stream_id) or EventFacts(lane, stream_id, id_order(stream_id)[0])
    reader = EventReader(log, lane, stream_id, len(handlers), limits)
    fates = []
    pairs = await pair_facts(log, handlers, lane, stream_id)
    for handler, pair in zip(handlers, pairs, strict=True):
        found = await reader.read(handler.name)
        event = _better(event, found.open[0] if found.open else None, found.size, found.letter)
        fate = (
            Fate(handler.name, found.cut)
            if found.cut
            else fate_of(
                event,
                handler,
                pair,
                open_=found.open,
                ends=found.ends,
                letter=found.letter.id if found.letter else "",
                now_ms=now_ms,
            )
        )
        fates.append(replace(_with_reason(fate, found.letter), is_partial=found.is_partial))
    copies = await copies_of_body(log, event.fingerprint, limits.copies) if event.fingerprint else ()
    repeats = await equal_before(log, lane, stream_id, limits) if MARK in event.marks and event.kept else None
    return Story(event, certain(event, fates), tuple(copies), repeats)


async def of_entity(
    log: EventLog,
    lane: int,
    key: str,
    handlers: Sequence[HandlerFacts],
    now_ms: int,
    dropped: Sequence[Copy] = (),
) -> tuple[Story, ...]:
    """Return the story of every event of an entity; `dropped` are the copies of them that were not appended."""
    stream, is_key = log.key("events", lane), [Where("k", "is", key)]
    events: dict[str, EventFacts] = {}
    async for found in find(log, stream, is_key, _FACTS):
        events[found.stream_id] = _facts(lane, found)
    gathered = []
    for handler, pair in zip(handlers, await pair_facts(log, handlers, lane), strict=True):
        open_ = await find_open(log, handler.name, lane, key)
        ends: dict[str, list[End]] = {}
        for end in await ends_of_entity(log, handler.name, lane, key):
            ends.setdefault(end.settled.stream_id, []).append(end)
        letters = await _letters(log, handler.name, Where("k", "is", key))
        gathered.append((handler, pair, open_, ends, letters))
        for stream_id in {*open_, *ends, *letters} - events.keys():
            events[stream_id] = EventFacts(lane, stream_id, id_order(stream_id)[0], key=key)
        for stream_id, event in events.items():
            record, size = open_.get(stream_id, (None, 0))
            events[stream_id] = _better(event, record, size, letters.get(stream_id))
    stories: list[Story] = []
    last_with: dict[str, str] = {}
    for event in sorted(events.values(), key=lambda event: id_order(event.stream_id)):
        fates = [
            _with_reason(
                fate_of(
                    event,
                    handler,
                    pair,
                    open_=[record for record, _ in open_.values()],
                    ends=ends.get(event.stream_id, ()),
                    letter=letters[event.stream_id].id if event.stream_id in letters else "",
                    now_ms=now_ms,
                ),
                letters.get(event.stream_id),
            )
            for handler, pair, open_, ends, letters in gathered
        ]
        copies = tuple(copy for copy in dropped if copy.fingerprint == event.fingerprint)
        repeats = last_with.get(event.fingerprint) if MARK in event.marks else None
        stories.append(Story(event, certain(event, fates), copies, repeats))
        if event.fingerprint:
            last_with[event.fingerprint] = event.event_id
    return tuple(stories)


async def _kept(log: EventLog, lane: int, stream_id: str) -> EventFacts | None:
    """Return the facts of an event that its lane has; None when it has none.

    Raises:
        UnknownRecord: code of another version wrote it.
    """
    async for found in find(log, log.key("events", lane), [], (*_FACTS, "v"), since=stream_id, most=1):
        if id_order(found.stream_id) != id_order(stream_id):
            return None
        *fields, version = found.fields
        if version != EVENT_VERSION:
            raise UnknownRecord(f"event record version {version!r}")
        return _facts(lane, found._replace(fields=tuple(fields)))
    return None


def _facts(lane: int, found: Found) -> EventFacts:
    texts = (field.decode(errors="replace") for field in found.fields)
    type_name, key, received, key_id, written, body = texts
    read = readable(read_marks, written.split(",")) if written else None
    marks, occurred_at_us = read or ((), None)
    return EventFacts(
        lane,
        found.stream_id,
        arrived_ms(received, found.stream_id),
        type_name,
        key or None,
        found.size,
        key_id,
        marks,
        kept=True,
        fingerprint=body,
        occurred_at_ms=occurred_at_us // 1000 if occurred_at_us else None,
    )


def _with_reason(fate: Fate, letter: EventLetter | None) -> Fate:
    """Return a fate that has the reason of its dead letter, where the history no longer has it."""
    return fate if fate.why or letter is None or fate.state != "dead" else replace(fate, why=letter.reason)


async def _letters(log: EventLog, handler: str, where: Where) -> Mapping[str, EventLetter]:
    """Return dead letters by the stream id of their events."""
    found = {}
    async for stream_id, _, fields in find(
        log, log.key("dead", handler), [where], ["event", "t", "k", "reason"]
    ):
        event, type_name, key, reason = (value.decode(errors="replace") for value in fields)
        if EVENT_ID.fullmatch(event):  # another client may have written the letter
            id_ = event.partition("-")[2]
            found[id_] = EventLetter(f"{handler}/{stream_id}", type_name, key, bounded(reason))
    return found


async def pair_facts(
    log: EventLog, handlers: Sequence[HandlerFacts], lane: int, of: str | None = None
) -> list[PairFacts]:
    """Return how far each of these handlers is in a lane, as of one moment.

    Args:
        of: the one event that `ahead` is to know of; None for all.
    """
    reads: list[tuple[str, ...]] = []
    for name in (handler.name for handler in handlers):
        ahead = f"ahead:{name}:{lane}"
        reads += [
            ("HGET", "cur", f"{name}|{lane}"),
            ("HGET", "runto", f"{name}|{lane}"),
            ("SMEMBERS", ahead) if of is None else ("SISMEMBER", ahead, of),
            ("HGET", f"lease:{name}:{lane}", "holder"),
            ("HLEN", f"open:{name}:{lane}"),
        ]
    replies = await at_once(log, *reads)
    return [
        PairFacts(
            (cur or b"0-0").decode(),
            (runto or cur or b"0-0").decode(),
            _ahead(ahead, of),
            (holder or b"").decode(),
            open_count,
        )
        for cur, runto, ahead, holder, open_count in zip(*(replies[at::5] for at in range(5)), strict=True)
    ]


def _ahead(reply: Any, of: str | None) -> frozenset[str]:
    if of is not None:
        return frozenset((of,) if reply else ())
    return frozenset(stream_id.decode() for stream_id in reply)


def _better(
    event: EventFacts, record: OpenRecord | None, size: int, letter: EventLetter | None
) -> EventFacts:
    """Return the facts of an event, completed from a copy when its lane no longer has it."""
    if event.type is not None:
        return event
    if record is not None:
        of = record.event
        return EventFacts(
            of.lane, of.stream_id, of.received_at_ms, of.type, of.key, size, of.key_id, of.marks
        )
    if letter is not None:
        return EventFacts(event.lane, event.stream_id, event.received_at_ms, letter.type, letter.key or None)
    return event


def certain(event: EventFacts, fates: Sequence[Fate]) -> tuple[Fate, ...]:
    """Return the fates that are certain: for a removed event, the mere position of a handler proves nothing."""
    return tuple(fate for fate in fates if event.kept or _is_trace(fate))


def _is_trace(fate: Fate) -> bool:
    if fate.state in ("waiting", "settled", "before-start"):
        return False
    return fate.state != "not-wanted" or fate.at_ms is not None
