"""Gather the story of an event, or of every event of an entity, from its lane and from each handler.

When the lane no longer has the event, open records, dead letters and the history replace it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from eventlog.duplicates import MARK
from eventlog.inspection.delivery_state import EventFacts, Fate, HandlerFacts, PairFacts, fate_of
from eventlog.inspection.endpoint_records import copies_of_body
from eventlog.inspection.events import read_event
from eventlog.inspection.moment import at_once
from eventlog.inspection.search import End, Where, ends_of_entity, ends_of_event, find, find_open, open_record
from eventlog.log import EventLog
from eventlog.record import OpenRecord, StoredEvent, id_order, read_marks
from eventlog.text import bounded
from eventlog.turned_away import Copy, fingerprint


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
    log: EventLog, lane: int, stream_id: str, handlers: Sequence[HandlerFacts], now_ms: int
) -> Story:
    kept = await read_event(log, f"{lane}-{stream_id}")
    if kept is not None:
        event = EventFacts(
            lane,
            stream_id,
            kept.received_at_ms,
            kept.type,
            kept.key,
            len(kept.body),
            kept.key_id,
            kept.marks,
            kept=True,
            fingerprint=fingerprint(kept.body),
        )
    else:
        event = EventFacts(lane, stream_id, id_order(stream_id)[0])
    fates = []
    for handler in handlers:
        pair = await pair_facts(log, handler.name, lane)
        record = await open_record(log, handler.name, lane, stream_id)
        open_ = [record] if record is not None else []
        if record is not None and record.event.key is not None:
            open_ = [
                other for other, _ in (await find_open(log, handler.name, lane, record.event.key)).values()
            ]
        ends = await ends_of_event(log, handler.name, lane, stream_id)
        letters = await _letters(log, handler.name, Where("event", "is", f"{lane}-{stream_id}"))
        event = _better(event, record, len(record.event.body) if record else 0, letters.get(stream_id))
        letter = letters.get(stream_id)
        fate = fate_of(
            event,
            handler,
            pair,
            open_=open_,
            ends=ends,
            letter=letter.id if letter else "",
            now_ms=now_ms,
        )
        fates.append(_with_reason(fate, letter))
    copies = await copies_of_body(log, event.fingerprint) if event.fingerprint else ()
    repeats = await _equal_before(log, kept) if kept is not None and MARK in kept.marks else None
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
    async for found in find(log, stream, is_key, ["t", "r", "s", "m", "sha1(b)"]):
        type_name, received, key_id, marks, body = (field.decode() for field in found.fields)
        events[found.stream_id] = EventFacts(
            lane,
            found.stream_id,
            int(received),
            type_name,
            key,
            found.size,
            key_id,
            _marks(marks),
            kept=True,
            fingerprint=body,
        )
    gathered = []
    for handler in handlers:
        pair = await pair_facts(log, handler.name, lane)
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


async def _equal_before(log: EventLog, event: StoredEvent) -> str | None:
    """Return the id of the last event before one that has its body; None if the lane keeps none."""
    stream, last = log.key("events", event.lane), None
    async for found in find(log, stream, [Where("b", "is", event.body)], []):
        if id_order(found.stream_id) >= event.order:
            break
        last = f"{event.lane}-{found.stream_id}"
    return last


@dataclass(frozen=True, slots=True)
class _Letter:
    id: str
    type: str
    key: str
    reason: str


def _with_reason(fate: Fate, letter: _Letter | None) -> Fate:
    """Return a fate that has the reason of its dead letter, where the history no longer has it."""
    return fate if fate.why or letter is None or fate.state != "dead" else replace(fate, why=letter.reason)


async def _letters(log: EventLog, handler: str, where: Where) -> Mapping[str, _Letter]:
    """Dead letters by the stream id of their events."""
    return {
        event.decode().partition("-")[2]: _Letter(
            f"{handler}/{stream_id}",
            type_name.decode(),
            key.decode(),
            bounded(reason.decode(errors="replace")),
        )
        async for stream_id, _, (event, type_name, key, reason) in find(
            log, log.key("dead", handler), [where], ["event", "t", "k", "reason"]
        )
    }


async def pair_facts(log: EventLog, handler: str, lane: int) -> PairFacts:
    """Return how far a handler is in a lane."""
    cur, runto, ahead, holder, open_count = await at_once(
        log,
        ("HGET", "cur", f"{handler}|{lane}"),
        ("HGET", "runto", f"{handler}|{lane}"),
        ("SMEMBERS", f"ahead:{handler}:{lane}"),
        ("HGET", f"lease:{handler}:{lane}", "holder"),
        ("HLEN", f"open:{handler}:{lane}"),
    )
    return PairFacts(
        (cur or b"0-0").decode(),
        (runto or cur or b"0-0").decode(),
        frozenset(stream_id.decode() for stream_id in ahead),
        (holder or b"").decode(),
        open_count,
    )


def _better(event: EventFacts, record: OpenRecord | None, size: int, letter: _Letter | None) -> EventFacts:
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


def _marks(text: str) -> tuple[str, ...]:
    return read_marks(text.split(","))[0] if text else ()
