"""A handler's position changed by hand: paused, renamed, retired; and what a new declaration changes."""

from __future__ import annotations

import asyncio
import json

import pytest

from eventlog.errors import ChangeRefused, UnknownName
from eventlog.inspection.events import list_events
from eventlog.lease import Lease
from eventlog.log import EventLog
from eventlog.operation import dead_letters, handlers
from eventlog.operation.dead_letters import DeadFilter
from eventlog.operation.handlers import pause, pauses, released_types, rename, resume, retire
from eventlog.registry import declared
from handlers import Context, Event, GiveUp, Raw, Retry, handler
from tests.harness import at_work, declaration, drained, event, eventually, position

A, B = "SessionUpdateNotification", "never.seen"


class Recorder:
    """A handler that remembers what it ran, and fails in the way the test chooses."""

    def __init__(self, name: str = "h", **declared) -> None:
        self.ran: list[int] = []
        self.fault: Exception | None = None

        @handler(name, **{"on": ["*"], **declared})
        async def h(event: Event[Raw], ctx: Context) -> None:
            if self.fault is not None:
                raise self.fault
            self.ran.append(event.payload.data["n"])

        self.handler = h


def test_paused_nothing_starts_and_resumed_everything_goes_on(on_each_server):
    async def check(log: EventLog) -> None:
        one, two = Recorder("one"), Recorder("two")
        await log.declare([declaration(one.handler), declaration(two.handler)])
        await pause(log, "one", reason="the mail server moves", now_ms=5)
        assert (await pauses(log))["one"].reason == "the mail server moves"
        await log.append([event(n=n, key=f"session:{n}") for n in range(20)])
        await drained(log, one.handler, two.handler)
        assert (len(one.ran), len(two.ran)) == (0, 20)
        assert await resume(log, "one")
        assert not await resume(log, "one")
        await drained(log, one.handler)
        assert sorted(one.ran) == list(range(20))
        for change in (pause(log, "nobody", reason="", now_ms=1), resume(log, "nobody")):
            with pytest.raises(UnknownName, match="there are: one, two"):
                await change

    on_each_server(check)


async def _everything_of(log: EventLog, name: str) -> dict[str, str]:
    """Every key and field that belongs to a handler: its place without the name, and what is there."""
    found = {}
    async for key in log.redis.scan_iter(match=f"{log.prefix}*", count=1000):
        text = key.decode()
        if f":{name}:" in text or text.endswith(f":{name}"):
            found[text.replace(name, "?")] = await log.redis.type(key)
        elif await log.redis.type(key) == b"hash":
            for field, value in (await log.redis.hgetall(key)).items():
                if (said := field.decode(errors="replace")) == name or said.startswith(f"{name}|"):
                    found[f"{text} {said.replace(name, '?')}"] = value
        elif await log.redis.type(key) == b"zset":
            for member in await log.redis.zrange(key, 0, -1):
                if member.decode().startswith(f"{name}|"):
                    found[f"{text} {member.decode().replace(name, '?')}"] = b""
    return found


def test_renamed_it_goes_on_where_it_was(on_each_server):
    async def check(log: EventLog) -> None:
        old, new = Recorder("old"), Recorder("new")
        await log.declare([declaration(old.handler)])
        await log.append([event(n=0)])
        await drained(log, old.handler)
        old.fault = GiveUp("broken")
        await log.append([event(n=1)])
        await drained(log, old.handler)
        old.fault = Retry("later", after_s=0.3)
        await log.append([event(n=2), event(n=3)])
        await drained(log, old.handler)
        await log.append([event(n=4, key="session:9")])
        await log.redis.hset(log.key("ledger", "old", "session:1"), "mail", "{}")
        await log.redis.hset(log.key("asking"), "old|0", "token of a drain")
        before = await _everything_of(log, "old")

        await rename(log, "old", "new", now_ms=9)
        after = await _everything_of(log, "new")
        ignored = {key for key in {*before, *after} if " ?|" in key and ":due:" in key}
        assert {k: v for k, v in after.items() if k not in ignored} == {
            k: v for k, v in before.items() if k not in ignored
        }
        assert set(await _everything_of(log, "old")) == {f"{log.prefix}retired ?"}

        assert await log.declare([declaration(old.handler)]) == {"old"}, "its old workers may still be there"
        await log.declare([declaration(new.handler)])
        await drained(log, new.handler, until=lambda: len(new.ran) == 3)
        assert (old.ran, sorted(new.ran)) == ([0], [2, 3, 4])
        (entry,) = await dead_letters.matching(log, DeadFilter(handler="new"))
        await dead_letters.retry(log, [entry])
        await drained(log, new.handler)
        assert sorted(new.ran) == [1, 2, 3, 4]

    on_each_server(check)


def test_back_and_forth_a_name_can_be_given_up_and_taken_again(on_each_server):
    async def check(log: EventLog) -> None:
        old = Recorder("old")
        await log.declare([declaration(old.handler)])
        await rename(log, "old", "new", now_ms=1)
        await rename(log, "new", "old", now_ms=2)
        assert await log.declare([declaration(old.handler)]) == frozenset()
        await log.append([event(n=1)])
        await drained(log, old.handler)
        assert old.ran == [1]

    on_each_server(check)


def test_of_two_queues_for_one_version_the_newest_start_wins_and_the_other_worker_hears_of_it(on_each_server):
    async def check(log: EventLog) -> None:
        mail = Recorder("mail")
        here, there = declaration(mail.handler), declaration(mail.handler, queue="letters")
        assert (await declared(log, [here])).elsewhere == {}
        assert (await declared(log, [there])).elsewhere == {}
        await log.append([event(n=1)])
        assert (await position(log, "mail")).queue == "letters"
        assert (await declared(log, [here], again=True)).elsewhere == {"mail": "letters"}
        assert (await position(log, "mail")).queue == "letters", "a renewal does not take it back"
        assert await log.due("letters", ["mail"], limit=9) != []
        # Code that only knows the handler does not move it either.
        aside = declaration(mail.handler, queue="aside", serves=False)
        assert (await declared(log, [aside])).elsewhere == {"mail": "letters"}
        # A new start does, and what was due goes with it.
        assert (await declared(log, [here])).elsewhere == {}
        await drained(log, mail.handler)
        assert mail.ran == [1]

    on_each_server(check)


def test_a_handler_counts_as_served_only_by_workers_that_run_it(on_each_server):
    async def check(log: EventLog) -> None:
        mail = Recorder("mail")
        await log.declare([declaration(mail.handler, serves=False)])
        assert (await position(log, "mail")).served_ms == 0
        await log.declare([declaration(mail.handler)])
        served_ms = (await position(log, "mail")).served_ms
        assert served_ms > 0
        await log.declare([declaration(mail.handler, serves=False)])
        assert (await position(log, "mail")).served_ms == served_ms

    on_each_server(check)


def test_a_rename_is_refused_where_it_would_mix_two_positions(on_each_server):
    async def check(log: EventLog) -> None:
        old, new = Recorder("old"), Recorder("new")
        await log.declare([declaration(old.handler), declaration(new.handler)])
        with pytest.raises(ChangeRefused, match="new has a position of its own"):
            await rename(log, "old", "new", now_ms=1)
        assert await log.declare([declaration(new.handler)]) == frozenset()
        with pytest.raises(UnknownName):
            await rename(log, "nobody", "other", now_ms=1)

    on_each_server(check)


def test_a_rename_waits_for_a_worker_to_give_back_its_lanes_and_gives_up_in_time(on_each_server):
    async def check(log: EventLog) -> None:
        old = Recorder("old")
        await log.declare([declaration(old.handler)])
        await pause(log, "old", reason="mine", now_ms=3)
        await resume(log, "old")
        lease = Lease(log, "old", 0, "default")
        assert await lease.take() is not None
        for change in (
            rename(log, "old", "new", now_ms=1, give_back_s=0.1),
            retire(log, "old", now_ms=1, give_back_s=0.1),
        ):
            with pytest.raises(ChangeRefused, match="still holds a lane"):
                await change
            assert await pauses(log) == {}, "it stands as it stood before"
        await log.redis.delete(log.key("lease", "old", 0))

        may_end = asyncio.Event()

        @handler("old", on=["*"])
        async def slow(event: Event[Raw], ctx: Context) -> None:
            old.ran.append(event.payload.data["n"])
            await may_end.wait()

        async def runs() -> bool:
            return old.ran == [1]

        async with at_work(log, slow):
            await log.append([event(n=1)])
            await eventually(runs)
            renaming = asyncio.create_task(rename(log, "old", "new", now_ms=1))
            await asyncio.sleep(0.2)
            assert not renaming.done()
            may_end.set()
            await renaming
        found = await position(log, "new")
        assert (found.stats["done"], found.open, found.waiting) == (1, 0, 0)

    on_each_server(check)


def test_a_rename_that_was_cut_off_holds_the_handler_until_it_is_done_again(on_each_server):
    async def check(log: EventLog) -> None:
        await log.declare([declaration(Recorder("old").handler)])
        await pause(log, "old", reason="before", now_ms=7)
        await handlers._hold(log, "old", "rename to new", 8, 1.0)  # the first half of a rename
        for change in (
            resume(log, "old"),
            pause(log, "old", reason="", now_ms=1),
            retire(log, "old", now_ms=1),
        ):
            with pytest.raises(ChangeRefused, match="rename to new of old was begun"):
                await change
        await rename(log, "old", "new", now_ms=9)
        found = (await pauses(log))["new"]
        assert (found.reason, found.since_ms) == ("before", 7), "it stays paused as it was"

    on_each_server(check)


def test_retired_nothing_of_it_is_left_but_a_note(on_each_server):
    async def check(log: EventLog) -> None:
        gone, stays = Recorder("gone", on=[A, B]), Recorder("stays", on=[A])
        await log.declare([declaration(gone.handler), declaration(stays.handler)])
        gone.fault = GiveUp("broken")
        await log.append([event(A, n=1)])
        await drained(log, gone.handler)
        gone.fault = Retry("later", after_s=60)
        await log.append([event(A, n=2)])
        await drained(log, gone.handler)
        await log.redis.hset(log.key("ledger", "gone", "session:1"), "mail", "{}")
        await log.redis.hset(log.key("asking"), "gone|0", "token of a drain")
        await pause(log, "gone", reason="", now_ms=1)
        await retire(log, "gone", now_ms=2)
        assert set(await _everything_of(log, "gone")) == {f"{log.prefix}retired ?"}
        assert [found.name for found in await log.handlers()] == ["stays"]
        assert (await log.wanted_types(), await released_types(log)) == ({A}, {B})
        await drained(log, stays.handler)
        assert stays.ran == [1, 2]

        assert await log.declare([declaration(gone.handler)], again=True) == {"gone"}
        assert [found.name for found in await log.handlers()] == ["stays"]
        await log.declare([declaration(gone.handler)])
        gone.fault = None
        await log.append([event(A, n=3)])
        await drained(log, gone.handler)
        assert gone.ran == [3], "it begins anew"
        assert await released_types(log) == frozenset()

    on_each_server(check)


def test_a_retirement_that_was_cut_off_goes_on(with_log, cli, monkeypatch):
    async def check(log: EventLog) -> None:
        await log.declare([declaration(Recorder("gone").handler)])
        for n in range(3):
            await log.redis.hset(log.key("state", "gone", f"session:{n}"), "s", "{}")

        async def away(*_: object) -> None:
            raise ConnectionError("Redis is away")

        with monkeypatch.context() as patch:
            patch.setattr(log.redis, "unlink", away)
            with pytest.raises(ConnectionError):
                await retire(log, "gone", now_ms=1)
        assert len(await _everything_of(log, "gone")) > 1
        for words in (("retire", "gone"), ("rename", "gone", "new", "--yes")):
            assert (await asyncio.to_thread(cli, "handlers", *words))[0] == 2
        code, out, _ = await asyncio.to_thread(cli, "handlers", "retire", "gone", "--yes")
        assert (code, out.endswith("registers it as new\nretired\n")) == (0, True)
        assert set(await _everything_of(log, "gone")) == {f"{log.prefix}retired ?"}

    with_log(check)


def test_types_that_are_added_and_removed_count_from_now_on(on_each_server):
    async def check(log: EventLog) -> None:
        first, second = Recorder(on=[A]), Recorder(on=[B])
        await log.declare([declaration(first.handler)])
        first.fault = Retry("later", after_s=0.2)
        await log.append([event(A, n=1), event(B, n=2, key="session:1"), event(A, n=3)])
        await drained(log, first.handler)
        await log.declare([declaration(second.handler, version="v2")])
        await log.redis.hdel(log.key("handlers"), "h|v1")  # as after ten minutes without it
        await log.declare([declaration(second.handler, version="v2")])
        await log.append([event(A, n=4), event(B, n=5)])
        await drained(log, second.handler, version="v2", until=lambda: second.ran == [5])
        found = await position(log, "h")
        assert (found.types, found.versions, found.open, found.waiting) == ((B,), ("v2",), 0, 0)
        assert found.stats["skipped"] == 2, "what was open of a type that nobody wants any more is let go"

    on_each_server(check)


@pytest.mark.parametrize(("before", "after"), [("none", "entity"), ("entity", "none"), ("latest", "entity")])
def test_the_order_may_change_while_events_are_open(on_each_server, before, after):
    at_once: set[str] = set()
    ran: list[int] = []

    @handler("h", on=["*"], order=before)
    async def failing(event: Event[Raw], ctx: Context) -> None:
        raise Retry("later", after_s=0.4 - event.payload.data["n"] / 100)

    @handler("h", on=["*"], order=after)
    async def working(event: Event[Raw], ctx: Context) -> None:
        key = event.key or ""
        assert after != "entity" or key not in at_once
        at_once.add(key)
        await asyncio.sleep(0.005)
        at_once.discard(key)
        ran.append(event.payload.data["n"])

    async def check(log: EventLog) -> None:
        await log.declare([declaration(failing)])
        await log.append([event(n=n) for n in range(10)])
        await drained(log, failing)
        await log.declare([declaration(working)])
        expected = sorted(json.loads(e.body)["n"] for e in await list_events(log))
        if before == "latest":
            expected = expected[-1:]
        await drained(log, working, until=lambda: len(ran) >= len(expected))
        assert sorted(ran) == expected
        if after == "entity":
            assert ran == expected, "the later one went first"
        found = await position(log, "h")
        assert (found.open, found.dead, found.order) == (0, 0, after)

    on_each_server(check)


def test_what_is_due_goes_over_to_the_queue_that_was_declared_last(on_each_server):
    async def check(log: EventLog) -> None:
        recorder = Recorder()
        await log.declare([declaration(recorder.handler, queue="slow")])
        recorder.fault = None
        await log.append([event(n=1)])
        assert await log.due("slow", ["h"], limit=9) != []
        await log.declare([declaration(recorder.handler, version="v2")])
        assert (await log.due("slow", ["h"], limit=9), len(await log.due("default", ["h"], limit=9))) == (
            [],
            1,
        )
        await drained(log, recorder.handler, version="v2")
        assert recorder.ran == [1]

    on_each_server(check)
