"""Replay: run kept events of a handler again, selected by time, type and entity.

Each page moves together with a progress note, in one change, so an interrupted replay continues where it was. Events
that are not settled yet are left alone, since they will run anyway. Dead letters of replayed events are removed.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

from eventlog.errors import ChangeRefused
from eventlog.log import EventLog
from eventlog.operation.handlers import unknown_handler
from eventlog.operation.reopen import Again, LettersUnread, Progress, reopen
from eventlog.record import OPEN_QUOTA, OpenRecord, StoredEvent, decode_event

ROOM = OPEN_QUOTA // 2  # the other half stays free for failures

_LOOKS = 2_000  # events that one script may read
_GIVES, _BYTES = 256, 1 << 20  # and return; after each page a drain reads all of `open` again
_LETTERS = 200  # read at once, with their bodies
_WAIT_S = 0.5


@dataclass(frozen=True)
class Selection:
    """Selects kept events of a handler.

    Attributes:
        from_ms, to_ms: when they arrived, both inclusive.
        types: notification types; `*` for all.
        key: entity key, or None for all.
    """

    handler: str
    from_ms: int
    to_ms: int
    types: tuple[str, ...]
    key: str | None = None

    def lanes(self, log: EventLog) -> tuple[int, ...]:
        """Return the lanes that can hold such events."""
        return tuple(range(log.lanes)) if self.key is None else (log.lane_of(self.key, b""),)


@dataclass(frozen=True)
class Survey:
    """What a selection contains.

    Attributes:
        first_ms, last_ms: when the first and last of them arrived; None without events.
    """

    by_type: Mapping[str, int]
    first_ms: int | None
    last_ms: int | None

    @property
    def total(self) -> int:
        return sum(self.by_type.values())


@dataclass(frozen=True)
class Replay:
    """A running replay. Redis keeps its progress; the counts are those of this process.

    Attributes:
        done: lane -> stream id of the last event that was handled.
        put: events queued to run again.
        open: events left alone because they are open already.
        waiting: events left alone because they are not settled yet.
    """

    selection: Selection
    begun_ms: int
    done: Mapping[int, str]
    put: int = 0
    open: int = 0
    waiting: int = 0

    def text(self) -> str:
        """Return the progress note."""
        note = {"v": 1, "selection": asdict(self.selection), "begun_ms": self.begun_ms, "done": self.done}
        return json.dumps(note, sort_keys=True)


async def survey(log: EventLog, selection: Selection) -> Survey:
    """Count the events of a selection."""
    counts: Counter[str] = Counter()
    first: int | None = None
    last: int | None = None
    for lane in selection.lanes(log):
        after, done = "", False
        while not done:
            scanned, done, found = await _match(log, selection, lane, after, gives=_LOOKS, max_bytes=0)
            after = scanned or after
            for raw_id, type_name in found:
                at_ms = int(raw_id.partition(b"-")[0])
                first = at_ms if first is None else min(first, at_ms)
                last = at_ms if last is None else max(last, at_ms)
                counts[type_name.decode()] += 1
    return Survey(dict(sorted(counts.items())), first, last)


async def events(log: EventLog, selection: Selection) -> AsyncIterator[StoredEvent]:
    """Yield the selected events lane by lane, each lane in order."""
    for lane in selection.lanes(log):
        after, done = "", False
        while not done:
            after, done, page = await _page(log, selection, lane, after)
            for event in page:
                yield event


async def unfinished(log: EventLog, handler: str) -> Replay | None:
    """Return the unfinished replay of a handler, if any."""
    raw = await log.redis.hget(log.key("replays"), handler)
    return _replay(raw, handler) if raw else None


async def begin(log: EventLog, selection: Selection, *, now_ms: int) -> Replay:
    """Record that a replay begins.

    Raises:
        UnknownName: no such handler is registered.
        ChangeRefused: another replay of this handler is unfinished.
    """
    if not await log.redis.hexists(log.key("newest"), selection.handler):
        raise await unknown_handler(log, selection.handler)
    replay = Replay(selection, now_ms, {})
    if not await log.redis.hsetnx(log.key("replays"), selection.handler, replay.text()):
        raise ChangeRefused(
            f"an earlier replay of {selection.handler} was not finished; "
            f"`handlers replay {selection.handler} --continue` goes on with it, --forget drops the rest of it"
        )
    return replay


async def forget(log: EventLog, handler: str) -> bool:
    """Drop an unfinished replay. Events already queued will still run. False when there is none."""
    return bool(await log.redis.hdel(log.key("replays"), handler))


async def feed(log: EventLog, replay: Replay, *, patience_s: float) -> AsyncIterator[Replay]:
    """Queue the events of a replay as room becomes free; yield the progress after each page.

    Args:
        patience_s: how long to wait for room, in seconds.

    Raises:
        ChangeRefused: no room became free, or another process runs the same replay. It can be continued.
        UnknownName: the handler is no longer registered.
    """
    handler = replay.selection.handler
    remaining = list(replay.selection.lanes(log))
    letters = _Letters(log, handler)
    waited_s = 0.0
    while remaining:
        stuck = True
        for lane in list(remaining):
            after, done, page = await _page(log, replay.selection, lane, replay.done.get(lane, ""))
            fed = await _put(log, replay, letters, lane, after, page) if after else replay
            if fed is None:
                continue
            stuck = False
            if done:
                remaining.remove(lane)
            if after:
                replay = fed
                yield replay
        if stuck:
            if waited_s >= patience_s:
                raise ChangeRefused(
                    f"{handler} makes no room: {ROOM} of its events wait in a lane; see whether it is paused or "
                    f"without workers, then `handlers replay {handler} --continue`"
                )
            await asyncio.sleep(_WAIT_S)
            waited_s += _WAIT_S
        else:
            waited_s = 0.0
    await log.redis.hdel(log.key("replays"), handler)


class _Letters:
    """The dead letters of a handler by their event."""

    def __init__(self, log: EventLog, handler: str) -> None:
        self._log = log
        self._stream = log.key("dead", handler)
        self._of: dict[str, str] = {}
        self.read = "0-0"

    async def read_on(self) -> None:
        """Read the letters that came since the last call."""
        while page := await self._log.redis.xrange(self._stream, min=f"({self.read}", count=_LETTERS):
            for raw_id, fields in page:
                self.read = raw_id.decode()
                self._of[fields[b"event"].decode()] = self.read

    def of(self, event: StoredEvent) -> str:
        """Return the id of the letter of an event; empty when it has none."""
        return self._of.get(event.event_id, "")


async def _put(
    log: EventLog, replay: Replay, letters: _Letters, lane: int, after: str, page: list[StoredEvent]
) -> Replay | None:
    """Queue one page together with its progress note; None when there is no room."""
    then = replace(replay, done={**replay.done, lane: after})
    progress = Progress(replay.text(), then.text())
    while True:
        await letters.read_on()
        batch = [Again(OpenRecord(event, "replay", replayed=True), letters.of(event)) for event in page]
        with suppress(LettersUnread):
            answers = await reopen(
                log,
                replay.selection.handler,
                lane,
                batch,
                room=ROOM,
                progress=progress,
                letters_read=letters.read,
            )
            break
    if answers is None:
        return None
    told = Counter(answers)
    return replace(
        then,
        put=then.put + told["put"],
        open=then.open + told["open"],
        waiting=then.waiting + told["waiting"],
    )


async def _page(
    log: EventLog, selection: Selection, lane: int, after: str
) -> tuple[str, bool, list[StoredEvent]]:
    scanned, done, found = await _match(log, selection, lane, after, gives=_GIVES, max_bytes=_BYTES)
    return scanned, done, [decode_event(lane, raw_id, fields) for raw_id, fields in found]


async def _match(
    log: EventLog, selection: Selection, lane: int, after: str, *, gives: int, max_bytes: int
) -> tuple[str, bool, list[tuple[bytes, Any]]]:
    low = f"({after}" if after else str(selection.from_ms)
    arguments: list[str | int] = [
        log.prefix,
        lane,
        low,
        selection.to_ms,
        _LOOKS,
        gives,
        max_bytes,
        selection.key or "",
    ]
    scanned, done, found = await log.scripts.match(args=[*arguments, *selection.types])
    return scanned.decode(), bool(done), found


def _replay(raw: bytes, handler: str) -> Replay:
    """Read a progress note; the handler may have been renamed since."""
    record = json.loads(raw)
    selection = record["selection"]
    return Replay(
        Selection(**{**selection, "handler": handler, "types": tuple(selection["types"])}),
        record["begun_ms"],
        {int(lane): after for lane, after in record["done"].items()},
    )
