"""Reads what one handler has of one entity: open records, dead letters and ends of deliveries, each within bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from eventlog.history import decode, key_bytes
from eventlog.ids import EVENT_ID
from eventlog.inspection.delivery_state import EventFacts, Fate, HandlerFacts, PairFacts, State, fate_of
from eventlog.inspection.search import End
from eventlog.log import EventLog
from eventlog.record import OpenRecord, decode_open, id_order

_END_LOOKS = 100  # entries of a history that are read from the time of one event on
_OLD_LOOKS = 500  # of each history, for events that are no longer kept
_LETTER_LOOKS = 1_000
_LETTERS = 20
_OPEN_LOOKS, _OPEN_PAGES = 200, 5


class _Letter(NamedTuple):
    id: str
    type: str
    reason: str


@dataclass
class Traces:
    """What one handler has of an entity, each by the id of an event in its lane.

    Attributes:
        cut: states of open records that were too large to be read whole.
    """

    handler: HandlerFacts
    pair: PairFacts
    open: dict[str, OpenRecord] = field(default_factory=dict)
    cut: dict[str, State] = field(default_factory=dict)
    ends: dict[str, list[End]] = field(default_factory=dict)
    letters: dict[str, _Letter] = field(default_factory=dict)

    def fate(self, event: EventFacts, now_ms: int) -> Fate:
        """Return what became of an event of the entity."""
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


async def read_open(
    log: EventLog,
    at: Traces,
    lane: int,
    key: str,
    events: Mapping[str, EventFacts],
    most: int,
    *,
    is_first: bool,
) -> None:
    """Read the open records of these events, and on the first page some others of the entity."""
    name = at.handler.name
    if events and at.pair.open_count:
        answer = await log.scripts.open_heads(args=[log.prefix, name, lane, most, *events])
        for one, head in zip(events, answer[::2], strict=True):
            if head.startswith(b"["):
                at.cut[one] = head[1:-1].decode()
            elif head:
                at.open[one] = decode_open(lane, one.encode(), head)
                most -= len(head)
    cursor, pages = b"0", 0
    while is_first and at.pair.open_count and pages < _OPEN_PAGES and (pages == 0 or cursor != b"0"):
        cursor, *rest = await log.scripts.find_open(
            args=[log.prefix, name, lane, cursor, _OPEN_LOOKS, key, most]
        )
        most -= sum(map(len, rest[1::3]))
        pages += 1
        for raw_id, head in zip(rest[::3], rest[1::3], strict=True):
            if raw_id.decode() not in at.cut:
                at.open[raw_id.decode()] = decode_open(lane, raw_id, head)


async def read_letters(log: EventLog, at: Traces, key: str) -> None:
    """Read the newest dead letters of the entity."""
    name = at.handler.name
    limits = _LETTER_LOOKS, _LETTERS
    _, _, *rest = await log.scripts.newest_letters(args=[log.prefix, name, "k", key, "+", *limits])
    for raw in zip(*(rest[at::5] for at in range(5)), strict=True):
        letter_id, event_id, type_, _, reason = (value.decode(errors="replace") for value in raw)
        if EVENT_ID.fullmatch(event_id):  # another client may have written the letter
            at.letters[event_id.partition("-")[2]] = _Letter(f"{name}/{letter_id}", type_, reason)


async def read_ends(
    log: EventLog, at: Traces, lane: int, key: str, events: Mapping[str, EventFacts], looks: int, most: int
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


async def read_old_ends(log: EventLog, at: Traces, lane: int, key: str, most: int) -> None:
    """Read how the last deliveries of the entity ended, whether their events are kept or not."""
    _, _, *rest = await _ends(log, at, lane, key, "+", "back", _OLD_LOOKS, most)
    _add(at, rest)


async def _ends(
    log: EventLog, at: Traces, lane: int, key: str, from_: str, way: str, looks: int, most: int
) -> list[bytes]:
    found: list[bytes] = await log.scripts.ends(
        args=[log.prefix, at.handler.name, lane, from_, way, looks, key_bytes(key), most]
    )
    return found


def _add(at: Traces, rest: Sequence[bytes]) -> None:
    for entry_id, packed in zip(rest[::2], rest[1::2], strict=True):
        at_ms = id_order(entry_id.decode())[0]
        for settled in decode(packed):
            ends = at.ends.setdefault(settled.stream_id, [])
            if not any((end.at_ms, end.settled.outcome) == (at_ms, settled.outcome) for end in ends):
                ends.append(End(at_ms, settled))
                ends.sort(key=lambda end: end.at_ms)
