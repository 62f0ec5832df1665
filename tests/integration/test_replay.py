"""Replay: chosen events run once more, none twice and none lost, also after interruptions."""

from __future__ import annotations

import asyncio

import pytest

from eventlog.clock import now_ms
from eventlog.errors import ChangeRefused, UnknownName
from eventlog.log import EventLog
from eventlog.operation import replay as replaying
from eventlog.operation import selection as selecting
from eventlog.operation.handlers import pause, rename
from eventlog.operation.replay import begin, feed, forget, unfinished
from eventlog.operation.selection import Selection, survey
from handlers import Context, Event, GiveUp, Raw, handler
from tests.harness import at_work, declaration, drained, event, eventually, position

A, B = "SessionUpdateNotification", "never.seen"


class Recorder:
    def __init__(self) -> None:
        self.ran: list[int] = []
        self.again: list[int] = []

        @handler("h", on=["*"])
        async def h(event: Event[Raw], ctx: Context) -> None:
            (self.again if event.replayed else self.ran).append(event.payload.data["n"])

        self.handler = h


def selected(*, types: tuple[str, ...] = ("*",), key: str | None = None, from_ms: int = 0) -> Selection:
    return Selection("h", from_ms, now_ms() + 1_000, types, key)


async def fed(log: EventLog, selection: Selection) -> replaying.Replay:
    last = begun = await begin(log, selection, now_ms=now_ms())
    async for page in feed(log, begun, patience_s=0.0):
        last = page
    return last


async def handled(log: EventLog, recorder: Recorder, *events) -> None:
    await log.declare([declaration(recorder.handler)])
    await log.append(list(events))
    await drained(log, recorder.handler)


def test_chosen_events_run_again_in_their_order(on_each_server):
    async def check(log: EventLog) -> None:
        recorder = Recorder()
        await handled(log, recorder, *(event(A if n % 2 else B, f"session:{n % 3}", n=n) for n in range(30)))
        for selection, expected in (
            (selected(), list(range(30))),
            (selected(types=(A,)), list(range(1, 30, 2))),
            (selected(key="session:2"), list(range(2, 30, 3))),
            (selected(from_ms=now_ms() + 500), []),
        ):
            found = await survey(log, selection)
            assert found.total == len(expected)
            told = await fed(log, selection)
            assert (told.put, told.open, told.waiting) == (len(expected), 0, 0)
            recorder.again.clear()
            await drained(log, recorder.handler)
            assert sorted(recorder.again) == expected
            for key in range(3):
                of_key = [n for n in recorder.again if n % 3 == key]
                assert of_key == sorted(of_key)
        assert await unfinished(log, "h") is None
        assert len(recorder.ran) == 30

    on_each_server(check)


def test_what_is_open_or_not_settled_is_left_alone(on_each_server):
    async def check(log: EventLog) -> None:
        recorder = Recorder()
        await handled(log, recorder, *(event(n=n) for n in range(5)))
        await log.append([event(n=n) for n in range(5, 8)])
        first = await fed(log, selected())
        assert (first.put, first.open, first.waiting) == (5, 0, 3)
        second = await fed(log, selected())
        assert (second.put, second.open, second.waiting) == (0, 5, 3)
        await drained(log, recorder.handler)
        assert (recorder.again, recorder.ran) == ([0, 1, 2, 3, 4], [0, 1, 2, 3, 4, 5, 6, 7])

    on_each_server(check)


def test_cut_off_between_any_two_pages_it_goes_on_where_it_was(on_each_server, monkeypatch):
    monkeypatch.setattr(selecting, "_GIVES", 7)

    async def check(log: EventLog) -> None:
        recorder = Recorder()
        await handled(log, recorder, *(event(n=n, key=f"session:{n % 11}") for n in range(120)))
        await begin(log, selected(), now_ms=now_ms())
        pieces = 0
        async with at_work(log, recorder.handler):
            while (begun := await unfinished(log, "h")) is not None:
                pages = feed(log, begun, patience_s=5.0)
                await anext(pages, None)  # and then it is killed
                await pages.aclose()
                pieces += 1

            async def all_ran() -> bool:
                return len(recorder.again) >= 120

            await eventually(all_ran)
        assert pieces > 10
        assert sorted(recorder.again) == list(range(120))
        found = await position(log, "h")
        assert (found.open, found.waiting) == (0, 0)

    on_each_server(check)


def test_two_at_once_do_not_put_anything_twice(on_each_server, monkeypatch):
    monkeypatch.setattr(selecting, "_GIVES", 3)

    async def check(log: EventLog) -> None:
        recorder = Recorder()
        await handled(log, recorder, *(event(n=n) for n in range(40)))
        begun = await begin(log, selected(), now_ms=now_ms())

        async def one() -> None:
            async for _ in feed(log, begun, patience_s=0.0):
                pass

        answers = await asyncio.gather(one(), one(), return_exceptions=True)
        assert sorted(type(answer) for answer in answers if answer) == [ChangeRefused]
        await drained(log, recorder.handler)
        assert recorder.again == list(range(40))

    on_each_server(check)


def test_without_room_it_waits_and_then_says_how_to_go_on(on_each_server, monkeypatch):
    monkeypatch.setattr(selecting, "_GIVES", 5)
    monkeypatch.setattr(replaying, "ROOM", 10)

    async def check(log: EventLog) -> None:
        recorder = Recorder()
        await handled(log, recorder, *(event(n=n) for n in range(30)))
        await pause(log, "h", reason="", now_ms=1)
        with pytest.raises(ChangeRefused, match="--continue"):
            await fed(log, selected())
        with pytest.raises(ChangeRefused, match="not finished"):
            await begin(log, selected(), now_ms=now_ms())
        assert (await position(log, "h")).open == 10
        assert await forget(log, "h")
        assert not await forget(log, "h")
        with pytest.raises(UnknownName):
            await begin(log, Selection("nobody", 0, 1, ("*",)), now_ms=now_ms())

    on_each_server(check)


def test_a_replay_that_was_not_finished_goes_on_under_a_new_name(on_each_server):
    @handler("h", on=["*"])
    async def h(event: Event[Raw], ctx: Context) -> None:
        pass

    async def check(log: EventLog) -> None:
        await log.declare([declaration(h)])
        await begin(log, Selection("h", 0, 1, ("*",)), now_ms=now_ms())
        await rename(log, "h", "renamed", now_ms=now_ms())
        found = await unfinished(log, "renamed")
        assert found is not None
        assert found.selection.handler == "renamed"

    on_each_server(check)


class Unlucky:
    """Gives up every third event until the test stops that."""

    def __init__(self) -> None:
        self.again: list[int] = []
        self.better = False

        @handler("h", on=["*"])
        async def h(event: Event[Raw], ctx: Context) -> None:
            if event.replayed:
                self.again.append(event.payload.data["n"])
            if event.payload.data["n"] % 3 == 0 and not self.better:
                raise GiveUp("not yet")

        self.handler = h


def test_what_was_dead_is_not_dead_any_more_when_it_runs_again(on_each_server):
    async def check(log: EventLog) -> None:
        unlucky = Unlucky()
        await log.declare([declaration(unlucky.handler)])
        await log.append([event(A, f"session:{n}", n=n) for n in range(12)])
        await drained(log, unlucky.handler)
        assert (await position(log, "h")).dead == 4
        assert (await fed(log, selected())).put == 12
        found = await position(log, "h")
        assert (found.dead, found.open) == (0, 12)
        await drained(log, unlucky.handler)
        assert sorted(unlucky.again) == list(range(12))
        letters = await log.redis.xrange(log.key("dead", "h"))
        assert len(letters) == len({fields[b"event"] for _, fields in letters}) == 4
        unlucky.better = True
        await fed(log, selected())
        await drained(log, unlucky.handler)
        assert (await position(log, "h")).dead == 0

    on_each_server(check)


def test_a_letter_that_comes_while_a_replay_is_fed_goes_too(on_each_server, monkeypatch):
    async def check(log: EventLog) -> None:
        unlucky = Unlucky()
        await log.declare([declaration(unlucky.handler)])
        await log.append([event(A, "session:1", n=0)])
        await drained(log, unlucky.handler)
        (first,) = await log.redis.xrange(log.key("dead", "h"))
        await log.redis.delete(log.key("dead", "h"))
        read_on, reads = replaying._Letters.read_on, 0

        async def dies_just_then(letters) -> None:
            nonlocal reads
            await read_on(letters)
            reads += 1
            if reads == 1:
                await log.redis.xadd(log.key("dead", "h"), first[1])

        monkeypatch.setattr(replaying._Letters, "read_on", dies_just_then)
        assert (await fed(log, selected())).put == 1
        assert ((await position(log, "h")).dead, reads) == (0, 2)

    on_each_server(check)


def test_a_letter_that_somebody_took_meanwhile_does_not_keep_its_event_from_running(
    on_each_server, monkeypatch
):
    async def check(log: EventLog) -> None:
        unlucky = Unlucky()
        await log.declare([declaration(unlucky.handler)])
        await log.append([event(A, "session:1", n=0)])
        await drained(log, unlucky.handler)
        read_on = replaying._Letters.read_on

        async def discarded_just_then(letters) -> None:
            await read_on(letters)
            await log.redis.xtrim(log.key("dead", "h"), maxlen=0)

        monkeypatch.setattr(replaying._Letters, "read_on", discarded_just_then)
        assert (await fed(log, selected())).put == 1

    on_each_server(check)
