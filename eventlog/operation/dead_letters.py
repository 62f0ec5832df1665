"""Dead letters: deliveries that were given up. A human can inspect, retry or discard them.

A letter is identified by its handler and its id in the handler's stream; the id contains the time of its death.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from eventlog.errors import UnknownName
from eventlog.ids import EVENT_ID, STREAM_ID, end_before
from eventlog.log import EventLog
from eventlog.operation.handlers import unknown_handler
from eventlog.operation.reopen import BATCH, Again, reopen
from eventlog.record import TRACE_CHARS, DeadLetter, OpenRecord, StoredEvent, decode_open, id_order
from eventlog.registry import handler_names
from eventlog.text import bounded

_PAGE = 200


@dataclass(frozen=True, slots=True)
class DeadEntry:
    """A dead letter and its id.

    Attributes:
        is_readable: False for a letter whose record another version wrote, or that is damaged. Then `letter` holds
            only what lies beside the record, without a body, and the letter cannot be retried.
    """

    handler: str
    stream_id: str
    letter: DeadLetter
    is_readable: bool = True

    @property
    def id(self) -> str:
        """Return `<handler>/<stream id>`, the identity that users see."""
        return f"{self.handler}/{self.stream_id}"

    @property
    def since_ms(self) -> int:
        """Return when it was given up, in Unix ms."""
        return id_order(self.stream_id)[0]

    @property
    def place(self) -> tuple[str, int, tuple[int, int]]:
        """Return the sort key for retries: within an entity, the order of its events."""
        event = self.letter.record.event
        return self.handler, event.lane, event.order


@dataclass(frozen=True)
class DeadFilter:
    """Selects letters; None means any. `since_ms` and `until_ms` (exclusive): when they were given up."""

    handler: str | None = None
    reason: str | None = None
    type: str | None = None
    key: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None

    def fits(self, letter: DeadLetter) -> bool:
        event = letter.record.event
        return (
            self.reason in (None, letter.reason)
            and self.type in (None, event.type)
            and self.key in (None, event.key)
        )


async def newest(
    log: EventLog, wanted: DeadFilter, *, limit: int, before: tuple[str, str] | None = None
) -> list[DeadEntry]:
    """Return a page of letters, newest first, that follows the letter `before` (handler, stream id).

    Raises:
        UnknownName: the filter names a handler that is not registered.
    """
    found: list[DeadEntry] = []
    last = (id_order(before[1]), before[0]) if before else None
    for handler in await _handlers(log, wanted):
        kept = 0
        async for entry in _read(log, handler, wanted, newest_first=True, last=before and before[1]):
            if last is not None and (id_order(entry.stream_id), handler) >= last:
                continue
            found.append(entry)
            kept += 1
            if kept == limit:
                break
    found.sort(key=lambda entry: (id_order(entry.stream_id), entry.handler), reverse=True)
    return found[:limit]


async def matching(log: EventLog, wanted: DeadFilter) -> list[DeadEntry]:
    """Return every selected letter without its body, in the order of a retry.

    Raises:
        UnknownName: the filter names a handler that is not registered.
    """
    found = [
        _without_body(entry)
        for handler in await _handlers(log, wanted)
        async for entry in _read(log, handler, wanted)
    ]
    return sorted(found, key=lambda entry: entry.place)


async def by_id(log: EventLog, id: str) -> list[DeadEntry]:
    """Return the letter `<handler>/<stream id>`, or every letter of one event; UnknownName if there is none."""
    handler, slash, stream_id = id.rpartition("/")
    if slash:
        is_id = STREAM_ID.fullmatch(stream_id)
        stream = log.key("dead", handler)
        page = await log.redis.xrange(stream, min=stream_id, max=stream_id) if is_id else ()
        found = [entry_of(handler, raw_id, fields) for raw_id, fields in page]
    else:
        found = [
            entry
            for name in await _handlers(log, DeadFilter())
            async for entry in _read(log, name, DeadFilter())
            if entry.letter.record.event.event_id == id
        ]
    if not found:
        raise unknown_letter(id)
    return found


def unknown_letter(id: str) -> UnknownName:
    """Return the error for the id of a letter that is not there."""
    return UnknownName(f"no dead letter {id!r} is in this log; `dead list` shows those that are")


def unread(handler: str, stream_id: str, event_id: str) -> DeadEntry:
    """Return a letter of which only the ids are known, to be retried or discarded."""
    record = _beside_the_record(stream_id.encode(), {"event": event_id})
    return DeadEntry(handler, stream_id, DeadLetter(record, ""))


async def retry(log: EventLog, entries: Sequence[DeadEntry], *, act: str = "") -> Mapping[str, int]:
    """Retry letters: move them back into `open`, as if they were never tried.

    Args:
        act: id of the operator's act that counts the letters put.

    Returns:
        How many were `put`, were `open` already, were `gone` (another command took them), found `open` `full`, or
        are `unreadable`.

    Raises:
        UnknownName: a handler is no longer registered.
    """
    readable = [entry for entry in entries if entry.is_readable]
    answered: Counter[str] = Counter()
    if unreadable := len(entries) - len(readable):
        answered["unreadable"] = unreadable
    ordered = sorted(readable, key=lambda entry: entry.place)
    for (handler, lane), group in groupby(ordered, key=lambda entry: entry.place[:2]):
        for some in _batches(list(group)):
            fetched = await _fetch(log, some)
            batch = [Again(_as_new(one.letter), one.stream_id) for one in fetched if one.is_readable]
            answered["gone"] += len(some) - len(fetched)
            if unreadable := len(fetched) - len(batch):
                answered["unreadable"] += unreadable
            if not batch:
                continue
            answers = await reopen(log, handler, lane, batch, act=act)
            answered.update(answers if answers is not None else {"full": len(batch)})
    return answered


async def discard(log: EventLog, entries: Sequence[DeadEntry], *, act: str = "") -> int:
    """Discard letters; return how many were still there. An operator's act with the id `act` counts them."""
    discarded = 0
    ordered = sorted(entries, key=lambda entry: entry.place)
    for handler, group in groupby(ordered, key=lambda entry: entry.handler):
        for some in _batches(list(group)):
            ids = [entry.stream_id for entry in some]
            discarded += int(await log.scripts.dead_discard(args=[log.prefix, handler, act, *ids]))
    return discarded


def _as_new(letter: DeadLetter) -> OpenRecord:
    return replace(
        letter.record,
        state="replay",
        due_ms=None,
        attempts=0,
        crashes=0,
        first_ms=0,
        failed_ms=0,
        replayed=True,
    )


def _batches(entries: Sequence[DeadEntry]) -> Iterator[Sequence[DeadEntry]]:
    for at in range(0, len(entries), BATCH):
        yield entries[at : at + BATCH]


async def _handlers(log: EventLog, wanted: DeadFilter) -> list[str]:
    known = await handler_names(log)
    if wanted.handler is None:
        return known
    if wanted.handler not in known:
        raise await unknown_handler(log, wanted.handler)
    return [wanted.handler]


async def _read(
    log: EventLog,
    handler: str,
    wanted: DeadFilter,
    *,
    newest_first: bool = False,
    last: str | None = None,
) -> AsyncIterator[DeadEntry]:
    stream = log.key("dead", handler)
    low = str(wanted.since_ms or "-")
    high = "+" if wanted.until_ms is None else end_before(wanted.until_ms)
    if last is not None and (wanted.until_ms is None or id_order(last) < (wanted.until_ms, 0)):
        high = last
    while True:
        if newest_first:
            page = await log.redis.xrevrange(stream, max=high, min=low, count=_PAGE)
        else:
            page = await log.redis.xrange(stream, min=low, max=high, count=_PAGE)
        for raw_id, fields in page:
            entry = entry_of(handler, raw_id, fields)
            if wanted.fits(entry.letter):
                yield entry
        if len(page) < _PAGE:
            return
        after = f"({page[-1][0].decode()}"
        low, high = (low, after) if newest_first else (after, high)


async def _fetch(log: EventLog, entries: Sequence[DeadEntry]) -> list[DeadEntry]:
    """Read letters again, with their bodies; leave out those that are gone."""
    async with log.redis.pipeline(transaction=False) as asked:
        for one in entries:
            asked.xrange(log.key("dead", one.handler), min=one.stream_id, max=one.stream_id)
        replies = await asked.execute()
    return [
        entry_of(one.handler, raw_id, fields)
        for one, reply in zip(entries, replies, strict=True)
        for raw_id, fields in reply
    ]


def entry_of(handler: str, raw_id: bytes, fields: Mapping[bytes, bytes]) -> DeadEntry:
    """Read a letter as it lies in its handler's stream."""
    texts = {
        name.decode(): value.decode(errors="replace") for name, value in fields.items() if name != b"record"
    }
    reason, trace = bounded(texts.get("reason", "")), bounded(texts.get("trace", ""), TRACE_CHARS)
    try:
        lane, _, event = texts["event"].partition("-")
        record = decode_open(int(lane), event.encode(), fields[b"record"])
    except (KeyError, ValueError):  # one letter must not hide the others
        bare = _beside_the_record(raw_id, texts)
        return DeadEntry(handler, raw_id.decode(), DeadLetter(bare, reason, trace), is_readable=False)
    return DeadEntry(handler, raw_id.decode(), DeadLetter(record, reason, trace))


def _beside_the_record(raw_id: bytes, texts: Mapping[str, str]) -> OpenRecord:
    found = EVENT_ID.fullmatch(texts.get("event", ""))
    lane, stream_id = (int(found[1]), found[2]) if found else (-1, "0-0")
    at_ms = id_order(raw_id.decode())[0]
    event = StoredEvent(lane, stream_id, texts.get("t", ""), texts.get("k") or None, b"", at_ms)
    return OpenRecord(event, "running", last_error="this version cannot read the record")


def _without_body(entry: DeadEntry) -> DeadEntry:
    record = entry.letter.record
    bare = replace(record, event=record.event._replace(body=b""))
    return replace(entry, letter=replace(entry.letter, record=bare))
