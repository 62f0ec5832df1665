"""Replay: run selected events of a handler again.

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

from eventlog.errors import ChangeRefused
from eventlog.log import EventLog
from eventlog.operation.handlers import unknown_handler
from eventlog.operation.reopen import Again, LettersUnread, Progress, reopen
from eventlog.operation.selection import Selection, page_after
from eventlog.reading import readable
from eventlog.record import OPEN_QUOTA, OpenRecord, StoredEvent

ROOM = OPEN_QUOTA // 2  # the other half stays free for failures

_LETTERS = 200  # read at once, with their bodies
_WAIT_S = 0.5


@dataclass(frozen=True)
class Replay:
    """A running replay. Redis keeps its progress (`done`: lane -> stream id of the last event that was handled).

    The counts are those of this process: events queued to run again, and those left alone because they are open
    already or wait to be settled.
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


async def unfinished(log: EventLog, handler: str) -> Replay | None:
    """Return the unfinished replay of a handler, if any."""
    raw = await log.redis.hget(log.key("replays"), handler)
    return readable(_replay, raw, handler) if raw else None


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


async def feed(log: EventLog, replay: Replay, *, patience_s: float, act: str = "") -> AsyncIterator[Replay]:
    """Queue the events of a replay as room becomes free; yield the progress after each page.

    Args:
        patience_s: how long to wait for room, in seconds.
        act: id of the operator's act that counts the events put.

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
            after, done, page = await page_after(log, replay.selection, lane, replay.done.get(lane, ""))
            fed = await _put(log, replay, letters, lane, after, page, act) if after else replay
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
        """Read the letters that were written since the last call."""
        while page := await self._log.redis.xrange(self._stream, min=f"({self.read}", count=_LETTERS):
            for raw_id, fields in page:
                self.read = raw_id.decode()
                self._of[fields.get(b"event", b"").decode("utf-8", "replace")] = self.read

    def of(self, event: StoredEvent) -> str:
        """Return the id of the letter of an event; empty when it has none."""
        return self._of.get(event.event_id, "")


async def _put(
    log: EventLog,
    replay: Replay,
    letters: _Letters,
    lane: int,
    after: str,
    page: list[StoredEvent],
    act: str,
) -> Replay | None:
    """Queue one page together with its progress note; None when there is no room."""
    then = replace(replay, done={**replay.done, lane: after})
    progress = Progress(replay.text(), then.text())
    while True:
        await letters.read_on()
        batch = [Again(OpenRecord(event, "replay", replayed=True), letters.of(event)) for event in page]
        with suppress(LettersUnread):
            handler, read = replay.selection.handler, letters.read
            answers = await reopen(
                log, handler, lane, batch, room=ROOM, progress=progress, letters_read=read, act=act
            )
            break
    if answers is None:
        return None
    n = Counter(answers)
    return replace(
        then, put=then.put + n["put"], open=then.open + n["open"], waiting=then.waiting + n["waiting"]
    )


def _replay(raw: bytes, handler: str) -> Replay:
    """Read a progress note; the handler may have been renamed since."""
    record = json.loads(raw)
    selection = record["selection"]
    return Replay(
        Selection(**{**selection, "handler": handler, "types": tuple(selection["types"])}),
        record["begun_ms"],
        {int(lane): after for lane, after in record["done"].items()},
    )
