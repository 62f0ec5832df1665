"""Internal events against real servers: who gets them, what bounds them, and what announces itself."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
import redis.exceptions

from eventlog.behind import announce_behind
from eventlog.heartbeat import Hole, open_gap
from eventlog.inspection.delivery_state import HandlerFacts
from eventlog.inspection.events import list_events, read_counts
from eventlog.inspection.explain import explain
from eventlog.internal import InternalEvent, internal_event
from eventlog.lag import count_waiting
from eventlog.lease import Lease, Settlement
from eventlog.log import EventLog
from eventlog.operation.handlers import pause, rename, resume
from eventlog.operation.replay import Selection, begin, feed
from eventlog.operation.selection import survey
from eventlog.record import StoredEvent
from eventlog.retention import Keep, keep
from eventlog.schedule import recompute, spread, sweep
from handlers import Context, Event, GiveUp, Raw, handler
from handlers.internal import (
    PAYLOADS,
    DeliveryDead,
    GapClosed,
    GapOpened,
    HandlerBehind,
    HandlerPaused,
    LogFull,
    Started,
)
from tests.harness import declaration, drained, event, opened, position

STARTED = internal_event("receiver.started", "receiver:door", {"replica": "r1"})
LONG_AGO_MS = 1_700_000_000_000


def collecting(name: str, **options: Any):
    """A handler, and what it was given."""
    got: list[Event[Any]] = []

    @handler(name, **{"on": ["*"], "start": "oldest", **options})
    async def collects(event: Event[Raw], ctx: Context) -> None:
        got.append(event)

    return collects, got


def wants(*types: str, name: str = "h", **changes: Any):
    return declaration(collecting(name)[0], types=types, **changes)


def of(type: str, key: str = "receiver:door") -> InternalEvent:
    return internal_event(type, key, {})


def lane_of(log: EventLog) -> int:
    return log.lane_of("receiver:door", b"")


async def stored(log: EventLog) -> list[StoredEvent]:
    return [one for one in await list_events(log) if one.type.startswith("receiver.")]


async def bodies(log: EventLog) -> list[dict[str, Any]]:
    return [json.loads(one.body) for one in reversed(await stored(log))]


# `*` leaves them out, in each script that knows what handlers want


@pytest.mark.parametrize("name", sorted(PAYLOADS))
def test_a_handler_gets_an_internal_event_by_name_and_not_by_everything(on_each_server, name):
    async def check(log: EventLog) -> None:
        by_name, named = collecting("by-name", on=[name])
        of_all, everything = collecting("of-all")
        both, all_of_them = collecting("both", on=["*", name])
        await log.declare([declaration(each) for each in (by_name, of_all, both)])
        assert await log.announce(of(name)) == ["default", "default"]
        await log.append([event("A", "receiver:door")])  # on the same lane, so that reads are shared
        await drained(log, by_name, of_all, both)
        assert [one.type for one in named] == [name]
        assert [one.type for one in everything] == ["A"]
        assert sorted(one.type for one in all_of_them) == ["A", name]
        assert (named[0].kind, everything[0].kind) == ("internal", "notification")
        assert named[0].occurred_at is not None
        assert named[0].key == "receiver:door"

    on_each_server(check)


def test_an_append_makes_nothing_due_for_a_handler_of_everything(on_each_server):
    async def check(log: EventLog) -> None:
        await log.declare([wants("*")])
        assert (await log.append([event("receiver.started", "receiver:door")])).wake == []
        await spread(log)
        assert await log.due("default", ["h"], limit=9) == []
        assert await sweep(log) == []
        assert (await position(log, "h")).waiting == 0
        assert (await log.append([event("A", "receiver:door")])).wake == ["default"]
        assert await log.due("default", ["h"], limit=9) == [("h", lane_of(log))]

    on_each_server(check)


def test_marks_of_both_kinds_make_due_only_who_wants_them(on_each_server):
    async def check(log: EventLog) -> None:
        await log.declare([wants("*"), wants("receiver.started", name="news")])
        await log.append([event("receiver.started", "receiver:door")])
        assert await log.due("default", ["h", "news"], limit=9) == [("news", lane_of(log))]

    on_each_server(check)


def test_an_announcement_makes_due_only_who_wants_it_and_is_not_paused(on_each_server):
    async def check(log: EventLog) -> None:
        await log.declare([wants("*"), *(wants("receiver.started", name=name) for name in ("news", "still"))])
        await pause(log, "still", reason="", now_ms=1)
        assert await log.announce(STARTED) == ["default"]
        assert await log.due("default", ["h", "news", "still"], limit=9) == [("news", lane_of(log))]

    on_each_server(check)


def test_a_step_leaves_them_out_also_where_it_reads_for_others(on_each_server):
    async def check(log: EventLog) -> None:
        await log.declare([wants("*"), wants("receiver.started", name="news")])
        await log.announce(STARTED)
        await log.append([event("A", "receiver:door")])
        lease = Lease(log, "h", lane_of(log), "default")
        taken = await lease.take()
        assert taken is not None
        read = await lease.step(Settlement(), after=taken.cur, count=9)
        assert [one.type for one in read.events] == ["A"]
        read = await lease.step(
            Settlement(), after=taken.cur, count=9, others=frozenset({"receiver.started"})
        )
        assert [one.type for one in read.events] == ["A"]
        assert [one.type for one in read.all_events] == ["receiver.started", "A"]

    on_each_server(check)


def test_a_range_that_holds_none_of_them_is_not_claimed_by_who_wants_them(on_each_server):
    """The drain of a handler of everything reads first, without them; the other one reads for itself."""

    async def check(log: EventLog) -> None:
        of_all, everything = collecting("of-all")
        await log.declare([declaration(of_all), wants("*", "receiver.started", name="both")])
        await log.append([event("A", "receiver:door", n=n) for n in range(20)])
        await log.announce(STARTED)
        await drained(log, of_all)
        both, all_of_them = collecting("both", on=["*", "receiver.started"])
        await drained(log, both, of_all)
        assert (len(everything), len(all_of_them)) == (20, 21)

    on_each_server(check)


def test_recompute_wakes_at_most_a_drain_that_finds_nothing_and_falls_asleep(on_each_server):
    async def check(log: EventLog) -> None:
        of_all, everything = collecting("h")
        await log.declare([declaration(of_all), wants("receiver.started", name="news")])
        await log.announce(STARTED)
        await recompute(log)
        await drained(log, of_all)
        assert everything == []
        assert await recompute(log) == 1, "the other handler"
        cur = await log.redis.hget(log.key("cur"), f"h|{lane_of(log)}")
        assert cur.decode() == (await stored(log))[0].stream_id

    on_each_server(check)


def test_they_do_not_count_as_waiting_for_a_handler_of_everything(on_each_server):
    async def check(log: EventLog) -> None:
        news = [wants("receiver.started", name="news"), wants("*", "receiver.started", name="both")]
        await log.declare([wants("*"), *news])
        await log.append([event("A", "receiver:door")])
        await log.announce(STARTED)
        for name, waiting in (("h", 1), ("news", 1), ("both", 2)):
            found = await position(log, name)
            assert (found.waiting, found.waiting_is_exact) == (waiting, True)
        await drained(log, collecting("h")[0])
        assert ((await position(log, "h")).waiting, (await position(log, "h")).waiting_is_exact) == (0, True)
        await log.append([event("A", "receiver:door", n=2)])
        assert ((await position(log, "h")).waiting, (await position(log, "h")).waiting_is_exact) == (1, True)

    on_each_server(check)


def test_counting_again_leaves_them_out(on_each_server):
    async def check(log: EventLog) -> None:
        await log.declare([wants("A"), wants("receiver.started", name="news")])
        await log.announce(STARTED)
        await log.append([event("A", "receiver:door"), event("B", "receiver:door")])
        await log.declare([wants("*", version="v2")], keep_version_ms=0)
        assert await count_waiting(log, ["h"], most=None)
        found = await position(log, "h")
        assert (found.waiting, found.waiting_is_exact) == (2, True)

    on_each_server(check)


def test_a_handler_of_everything_is_counted_again_after_an_upgrade(on_each_server):
    """Earlier code counted internal events for it, and wrote only the types."""

    async def check(log: EventLog) -> None:
        await log.declare([wants("*"), wants("receiver.started", name="news")])
        await log.append([event("A", "receiver:door")])
        await log.announce(STARTED)
        await log.redis.hset(log.key("counted"), "h", "*")
        assert not (await position(log, "h")).waiting_is_exact
        await log.declare([wants("*")], again=True)
        assert await count_waiting(log, ["h"], most=None)
        found = await position(log, "h")
        assert (found.waiting, found.waiting_is_exact) == (1, True)

    on_each_server(check)


def test_a_replay_of_everything_leaves_them_out(on_each_server):
    async def check(log: EventLog) -> None:
        of_all, everything = collecting("h")
        await log.declare([declaration(of_all), wants("receiver.started", name="news")])
        await log.append([event("A", "receiver:door")])
        await log.announce(STARTED)
        await drained(log, of_all)
        selection = Selection("h", 0, 1 << 45, ("*",), "receiver:door")
        assert (await survey(log, selection)).by_type == {"A": 1}
        async for _ in feed(log, await begin(log, selection, now_ms=1), patience_s=5):
            pass
        await drained(log, of_all)
        assert [one.type for one in everything] == ["A", "A"]

    on_each_server(check)


def test_explain_says_that_a_handler_of_everything_does_not_want_one(on_each_server):
    async def check(log: EventLog) -> None:
        await log.declare([wants("*"), wants("receiver.started", name="news")])
        await log.announce(STARTED)
        (one,) = await stored(log)
        found = await explain(log, one.event_id, handler=None, now_ms=1)
        fates = {fate.handler: fate.state for fate in found.stories[-1].fates}
        assert fates["news"] == "waiting"
        assert fates["h"] != "waiting"

    on_each_server(check)
    facts = HandlerFacts("h", frozenset({"*"}), 1, 1)
    assert facts.wants("A")
    assert not facts.wants("receiver.started")


def test_one_that_an_earlier_version_left_open_for_everything_is_settled_and_not_handled(on_each_server):
    async def check(log: EventLog) -> None:
        await log.declare([wants("*", "receiver.started")])
        await log.announce(STARTED)
        lease = Lease(log, "h", lane_of(log), "default")
        taken = await lease.take()
        assert taken is not None
        assert (await lease.step(Settlement(), after=taken.cur, count=9)).events
        await log.redis.delete(log.key("lease", "h", lane_of(log)))  # its worker died
        of_all, everything = collecting("h")
        await log.declare([declaration(of_all, version="v2")], keep_version_ms=0)
        await recompute(log)
        await drained(log, of_all, version="v2")
        assert everything == []
        assert (await position(log, "h")).waiting == 0

    on_each_server(check)


# What bounds them


def test_one_that_no_handler_wants_is_not_appended_unless_it_shows_a_gap(on_each_server):
    async def check(log: EventLog) -> None:
        await log.declare([wants("*")])
        for name in PAYLOADS:
            await log.announce(of(name))
        assert sorted(one.type for one in await stored(log)) == ["receiver.gap.closed", "receiver.gap.opened"]
        assert (await read_counts(log)).internal == {"receiver.gap.closed": 1, "receiver.gap.opened": 1}

    on_each_server(check)


def test_what_is_announced_often_is_held_back_and_the_next_one_says_how_many(on_each_server):
    async def check(log: EventLog) -> None:
        await log.declare([wants("receiver.delivery.dead", "receiver.handler.paused")])
        for _ in range(4):
            await log.announce(of("receiver.delivery.dead", "handler:a"))
        await log.announce(of("receiver.delivery.dead", "handler:b"))
        assert sorted(one.key for one in await stored(log)) == ["handler:a", "handler:b"]
        told = log.key("told", "receiver.delivery.dead|handler:a")
        assert 0 < await log.redis.ttl(told) <= 86_400
        await log.redis.hset(told, "at", LONG_AGO_MS)  # the pause is over
        await log.announce(of("receiver.delivery.dead", "handler:a"))
        await log.redis.hset(told, "at", LONG_AGO_MS)
        await log.announce(of("receiver.delivery.dead", "handler:a"))
        found = [each for each in await stored(log) if each.key == "handler:a"]
        assert [json.loads(one.body).get("held", 0) for one in reversed(found)] == [0, 3, 0]
        for _ in range(3):
            await log.announce(of("receiver.handler.paused", "handler:a"))
        assert sum(one.type == "receiver.handler.paused" for one in await stored(log)) == 3

    on_each_server(check)


def test_a_clock_that_went_back_holds_nothing_back(on_each_server):
    async def check(log: EventLog) -> None:
        await log.declare([wants("receiver.started")])
        await log.announce(STARTED)
        await log.redis.hset(log.key("told", "receiver.started|receiver:door"), "at", 1 << 45)
        await log.announce(STARTED)
        assert len(await stored(log)) == 2

    on_each_server(check)


def test_all_of_an_hour_are_bounded_but_for_the_one_that_asks_for_a_resend(on_each_server):
    async def check(log: EventLog) -> None:
        await log.declare([wants("receiver.handler.paused", "receiver.gap.closed")])
        for _ in range(3):  # the hour may change meanwhile
            now_s, _ = await log.redis.time()
            await log.redis.set(log.key("told", int(now_s) // 3600), 1_000)
            await log.announce(of("receiver.handler.paused", "handler:a"))
            await log.announce(of("receiver.gap.closed"))
        assert [one.type for one in await stored(log)].count("receiver.gap.closed") == 3
        assert [one.type for one in await stored(log)].count("receiver.handler.paused") <= 1
        assert await log.redis.ttl(log.key("told", int(now_s) // 3600)) > 0

    on_each_server(check)


def test_a_full_log_takes_them_and_nothing_else(server, prefix):
    async def check() -> None:
        async with opened(server.url, prefix) as log:
            await log.declare([wants("receiver.started", "receiver.gap.closed")])
            await log.beat("r", hole_after_ms=5_000)
            beat_ms = int(await log.redis.hget(log.key("door"), "r"))
            await log.redis.set(log.key("full"), "x")
            used = (await log.redis.info("memory"))["used_memory"]
            await log.redis.config_set("maxmemory", used // 2)
            with pytest.raises(redis.exceptions.RedisError):
                await log.append([event()])
            await log.announce(STARTED)
            assert await log.close_gap("r", Hole(beat_ms, beat_ms + 9_000), ["A"], None) is not None
            await log.redis.config_set("maxmemory", 0)
            assert sorted(one.type for one in await stored(log)) == [
                "receiver.gap.closed",
                "receiver.started",
            ]

    asyncio.run(check())


# What announces itself


def announced(payload: type[Any]):
    """A handler of one internal event, typed, and what it was given."""
    got: list[Any] = []

    async def takes(event: Event[Any], ctx: Context) -> None:
        assert event.kind == "internal"
        got.append(event.payload)

    takes.__annotations__["event"] = Event[payload]
    return handler("news", start="oldest")(takes), got


def failing(name: str, *types: str):
    @handler(name, on=list(types), start="oldest")
    async def fails(event: Event[Raw], ctx: Context) -> None:
        raise GiveUp("never")

    return fails


def test_a_dead_delivery_is_announced_once_in_a_while_for_each_handler(on_each_server):
    async def check(log: EventLog) -> None:
        news, got = announced(DeliveryDead)
        first, second = failing("first", "A"), failing("second", "A")
        await log.declare([declaration(each) for each in (news, first, second)])
        answers = (await log.append([event("A", f"session:{n}") for n in range(5)])).answers
        await drained(log, first, second)
        await recompute(log)
        await drained(log, news)
        assert sorted(one.handler for one in got) == ["first", "second"]
        dead = got[0]
        assert dead.event_id in [answer.event_id for answer in answers]
        assert (dead.event_type, dead.reason) == ("A", "gave-up")
        assert dead.entity.startswith("session:")
        assert (await position(log, "first")).dead == 5

    on_each_server(check)


def test_a_dead_delivery_without_an_entity_is_announced_as_such(on_each_server):
    async def check(log: EventLog) -> None:
        news, got = announced(DeliveryDead)
        first = failing("first", "A")
        await log.declare([declaration(each) for each in (news, first)])
        await log.append([event("A", None)])
        await drained(log, first, news, until=lambda: bool(got))
        assert got[0].entity is None

    on_each_server(check)


def test_an_internal_event_that_is_given_up_is_not_announced(on_each_server):
    async def check(log: EventLog) -> None:
        fails = failing("fails", "receiver.started", "receiver.delivery.dead")
        await log.declare([declaration(fails)])
        await log.announce(STARTED)
        await drained(log, fails)
        assert (await position(log, "fails")).dead == 1
        assert [one.type for one in await stored(log)] == ["receiver.started"]

    on_each_server(check)


def test_a_pause_by_an_operator_is_announced_and_that_of_a_rename_is_not(on_each_server):
    async def check(log: EventLog) -> None:
        news, got = announced(HandlerPaused)
        await log.declare([declaration(news), wants("A")])
        await pause(log, "h", reason="deploy", now_ms=1)
        await pause(log, "h", reason="still the deploy", now_ms=2)
        await resume(log, "h")
        await rename(log, "h", "other", now_ms=3)
        await drained(log, news)
        assert [(one.handler, one.reason) for one in got] == [("h", "deploy")]
        assert (await stored(log))[0].key == "handler:h"

    on_each_server(check)


def test_a_log_that_becomes_full_is_announced_once(on_each_server):
    async def check(log: EventLog) -> None:
        news, got = announced(LogFull)
        await log.declare([declaration(news), wants("A")])
        await log.append([event("A", n=n, text="x" * 5_000) for n in range(40)])
        for _ in range(3):
            assert (await keep(log, Keep(max_bytes=50_000))).full
        await drained(log, news)
        (one,) = got
        assert "AWR_LOG_MAX_BYTES" in one.reason
        assert (one.max_bytes, one.bytes_used > 50_000) == (50_000, True)

    on_each_server(check)


def test_an_outage_of_the_receivers_is_announced_once_while_it_lasts(on_each_server):
    async def check(log: EventLog) -> None:
        news, got = announced(GapOpened)
        await log.declare([declaration(news)])
        assert await open_gap(log, after_ms=50) == [], "no receiver was ever there"
        await log.redis.hset(log.key("subscription"), "types", "A,B")
        for name in ("first", "second"):
            await log.beat(name, hole_after_ms=5_000)
        assert await open_gap(log) == []
        await asyncio.sleep(0.1)
        assert await open_gap(log, after_ms=50) == ["default"]
        assert await open_gap(log, after_ms=50) == []
        hole = await log.beat("first", hole_after_ms=50)
        assert hole is not None
        await log.close_gap("first", hole, ["A"], None)
        await asyncio.sleep(0.1)
        await open_gap(log, after_ms=50)
        await drained(log, news, until=lambda: len(got) == 2)
        assert [(one.reason, one.types) for one in got] == [("no-receiver", ("A", "B"))] * 2
        types = [one.type for one in reversed(await stored(log))]
        assert types == ["receiver.gap.opened", "receiver.gap.closed", "receiver.gap.opened"]
        assert got[0].from_at < got[1].from_at

    on_each_server(check)


def test_one_of_several_processes_announces_an_outage(on_each_server):
    async def check(log: EventLog) -> None:
        await log.beat("first", hole_after_ms=5_000)
        await asyncio.sleep(0.1)
        await asyncio.gather(*(open_gap(log, after_ms=50) for _ in range(5)))
        assert [one.type for one in await stored(log)] == ["receiver.gap.opened"]

    on_each_server(check)


def test_a_handler_that_is_behind_is_announced_unless_it_is_paused_or_only_waits_for_news(on_each_server):
    async def check(log: EventLog) -> None:
        news, got = announced(HandlerBehind)
        others = [
            wants("A", "receiver.started"),
            wants("A", name="still"),
            wants("receiver.started", name="n"),
        ]
        await log.declare([declaration(news), *others])
        await pause(log, "still", reason="", now_ms=1)
        await log.announce(STARTED)
        names = ["news", "h", "still", "n"]
        await asyncio.sleep(0.01)
        assert await announce_behind(log, names, after_s=0.001) == []
        await log.append([event("B", "session:1"), event("A", "session:1")])
        assert await announce_behind(log, names, after_s=600) == []
        await asyncio.sleep(0.1)
        assert await announce_behind(log, names, after_s=0.001) == ["default"]
        assert await announce_behind(log, names, after_s=0.001) == [], "once an hour"
        await drained(log, news)
        (one,) = got
        assert (one.handler, one.waiting) == ("h", 2)
        assert one.oldest_age_s > 0

    on_each_server(check)


def test_without_a_handler_that_wants_it_nobody_is_looked_at(on_each_server):
    async def check(log: EventLog) -> None:
        await log.declare([wants("A")])
        await log.append([event("A")])
        assert await announce_behind(log, ["h"], after_s=0.0) == []
        assert await stored(log) == []

    on_each_server(check)


def test_a_typed_handler_of_several_gets_each_with_its_payload(on_each_server):
    got: list[Any] = []

    @handler("news", start="oldest")
    async def news(event: Event[Started | GapClosed], ctx: Context) -> None:
        got.append(event.payload)

    async def check(log: EventLog) -> None:
        await log.declare([declaration(news)])
        await log.announce(STARTED)
        await log.beat("r", hole_after_ms=5_000)
        beat_ms = int(await log.redis.hget(log.key("door"), "r"))
        await log.close_gap("r", Hole(beat_ms, beat_ms + 9_000), ["A"], "https://us/x")
        await drained(log, news)
        assert (got[0].replica, got[0].held) == ("r1", 0)
        assert (got[1].types, got[1].callback_url) == (("A",), "https://us/x")

    on_each_server(check)
