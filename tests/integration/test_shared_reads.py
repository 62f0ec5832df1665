"""Handlers of one process share what they read of a lane, and no rule about settling changes by it."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from pydantic import ValidationError

from ampeco.notifications import SessionUpdate
from eventlog.clock import now_ms
from eventlog.errors import LeaseLost
from eventlog.lease import Claim, Lease, Settlement
from eventlog.log import EventLog
from eventlog.operation.handlers import pause, resume
from eventlog.operation.replay import Selection, begin, feed
from eventlog.schedule import recompute, spread, sweep
from handlers import Context, Event, Raw, handler
from handlers.declaration import Handler
from tests.harness import VERSION, at_work, declaration, drained, event, eventually, opened, position
from tests.integration.test_drain_takeover import died, lost
from workers.delivery.attempt import Runtime
from workers.drain.dispatcher import Dispatcher

PADDING = "x" * 1_000


def counting(name: str, **options: Any) -> tuple[Handler, list[Event[Any]]]:
    """A handler of everything, and what it was given."""
    got: list[Event[Any]] = []

    @handler(name, **{"on": ["*"], "start": "oldest", **options})
    async def counted(event: Event[Raw], ctx: Context) -> None:
        got.append(event)

    return counted, got


async def taken(log: EventLog, name: str) -> tuple[Lease, str]:
    lease = Lease(log, name, 0, "default")
    start = await lease.take()
    assert start is not None
    return lease, start.cur


async def claimed(log: EventLog, name: str, *wanted: str) -> tuple[Lease, str, Claim]:
    """A lease, and a claim of all that the lane holds of the wanted types, as another drain has read it."""
    lease, cur = await taken(log, name)
    other, _ = await taken(log, "other")
    read = await other.step(Settlement(), after=cur, count=100)
    found = [each for each in read.events if each.type in wanted]
    return lease, cur, Claim(read.scanned, found, exhausted=True)


async def runto(log: EventLog, name: str) -> str:
    return (await log.redis.hget(log.key("runto"), f"{name}|0") or b"").decode()


def wants(name: str, *types: str, **changes: Any):
    return declaration(counting(name)[0], types=types, **changes)


async def bytes_read(log: EventLog, names: list[str], events: int) -> int:
    """What the server sends while these handlers drain the log."""
    handlers = [counting(name) for name in names]
    await log.declare([declaration(each) for each, _ in handlers])
    await recompute(log)
    before = (await log.redis.info("stats"))["total_net_output_bytes"]
    await drained(log, *(each for each, _ in handlers))
    after = (await log.redis.info("stats"))["total_net_output_bytes"]
    assert [len(got) for _, got in handlers] == [events] * len(names)
    return int(after - before)


@pytest.fixture
def few_log_lines() -> Iterator[None]:
    """Without the line for each delivery, which takes longer than the delivery."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    yield
    structlog.configure(**before)


@pytest.mark.usefixtures("few_log_lines")
def test_ten_handlers_read_the_bodies_about_once(server, prefix):
    async def check() -> None:
        async with opened(server.url, prefix) as log:
            for first in range(0, 2_000, 200):
                numbers = range(first, first + 200)
                await log.append([event("x", f"session:{n % 50}", n=n, p=PADDING) for n in numbers])
            one = await bytes_read(log, ["one"], 2_000)
            ten = await bytes_read(log, [f"h{n}" for n in range(10)], 2_000)
            assert one > 2_000_000, "all bodies"
            assert ten < 2 * one

    asyncio.run(check())


def test_handlers_of_one_type_are_given_one_payload_that_none_of_them_can_change(with_lane):
    got: dict[str, list[Event[SessionUpdate]]] = {"a": [], "b": []}

    def typed(name: str) -> Handler:
        @handler(name, start="oldest")
        async def keeps(event: Event[SessionUpdate], ctx: Context) -> None:
            got[name].append(event)

        return keeps

    raw, got_raw = counting("raw")

    async def check(log: EventLog) -> None:
        handlers = [typed("a"), typed("b"), raw]
        await log.declare([declaration(each) for each in handlers])
        await log.append([event(key=f"session:{n}", deep={"list": [1, {"n": n}]}) for n in range(40)])
        await drained(log, *handlers)
        assert len(got["a"]) == len(got["b"]) == len(got_raw) == 40
        pairs = list(
            zip(sorted(got["a"], key=lambda e: e.id), sorted(got["b"], key=lambda e: e.id), strict=True)
        )
        assert sum(a.payload is b.payload for a, b in pairs) == 40, "made once"
        for a, b in pairs:
            assert a.raw == b.raw
            assert json.loads(a.raw)["session"]["status"] == a.payload.session.status
            with pytest.raises(ValidationError):
                a.payload.session.status = "changed"  # type: ignore[misc]
            with pytest.raises(dataclasses.FrozenInstanceError):
                a.payload = None  # type: ignore[misc]
            with pytest.raises(TypeError):
                a.payload.deep["list"][1]["n"] = 0  # type: ignore[attr-defined]
            assert b.payload.deep == a.payload.deep  # type: ignore[attr-defined]
        for each in got_raw:
            with pytest.raises(TypeError):
                each.payload.data["deep"]["list"][1]["n"] = 0

    with_lane(check)


def test_a_claim_hands_out_without_bodies_and_settles_as_a_read_does(with_lane):
    async def check(log: EventLog) -> None:
        await log.declare([wants("h", "A"), wants("other", "A", "B")])
        await log.append([event("A", n=1), event("B", n=2), event("A", n=3)])
        lease, cur, claim = await claimed(log, "h", "A")
        read = await lease.step(Settlement(), after=cur, count=10, claim=claim)
        assert (list(read.events), read.scanned, read.all_events) == (list(claim.events), claim.until, ())
        assert await runto(log, "h") == claim.until
        lease._seq -= 1  # the reply was lost, and the call is repeated
        again = await lease.step(Settlement(), after=cur, count=10, claim=claim)
        assert list(again.events) == list(read.events)

    with_lane(check)


@pytest.mark.parametrize(("now", "numbers"), [(("A", "B"), [1, 2, 3]), (("B",), [2])])
def test_a_claim_is_refused_when_the_handler_wants_something_else_by_now(with_lane, now, numbers):
    """In a rolling deploy. It reads what the handler wants now, in the same step."""

    async def check(log: EventLog) -> None:
        await log.declare([wants("h", "A"), wants("other", "A", "B")])
        await log.append([event("A", n=1), event("B", n=2), event("A", n=3)])
        lease, cur, claim = await claimed(log, "h", "A")
        assert [json.loads(each.body)["n"] for each in claim.events] == [1, 3]
        await log.declare([wants("h", *now, version="v2")], keep_version_ms=-1)
        read = await lease.step(Settlement(), after=cur, count=10, claim=claim)
        assert [json.loads(each.body)["n"] for each in read.events] == numbers
        assert sorted(lease.wants.split("\n")) == sorted(now)
        second = await lease.step(Settlement(), after=cur, count=10, claim=claim)
        assert second.all_events == (), "what the drain knows is right again"

    with_lane(check)


def test_a_claim_of_what_this_redis_does_not_hold_is_refused(with_lane):
    async def check(log: EventLog) -> None:
        await log.declare([wants("h", "A"), wants("other", "A")])
        await log.append([event("A", n=1), event("A", n=2)])
        lease, cur, claim = await claimed(log, "h", "A")
        await log.redis.xdel(log.key("events", 0), claim.until)  # as on a replica that had not received it
        read = await lease.step(Settlement(), after=cur, count=10, claim=claim)
        assert [json.loads(each.body)["n"] for each in read.events] == [1]
        assert await runto(log, "h") == read.scanned

    with_lane(check)


def test_a_drain_that_lost_its_lease_claims_nothing(with_lane):
    async def check(log: EventLog) -> None:
        await log.declare([wants("h", "A"), wants("other", "A")])
        await log.append([event("A")])
        lease, cur, claim = await claimed(log, "h", "A")
        await log.redis.delete(log.key("lease", "h", 0))
        await taken(log, "h")
        with pytest.raises(LeaseLost):
            await lease.step(Settlement(), after=cur, count=10, claim=claim)
        assert await runto(log, "h") == ""

    with_lane(check)


def test_claimed_events_that_were_at_work_when_a_worker_died_are_suspect(with_lane):
    """Exactly those that were handed out, for each handler, as without sharing."""
    may_end = asyncio.Event()
    started: dict[str, set[str]] = {"a": set(), "b": set()}

    def blocked(name: str) -> Handler:
        @handler(name, on=["*"], start="oldest", concurrency=100)
        async def blocks(event: Event[Raw], ctx: Context) -> None:
            started[name].add(event.id)
            await may_end.wait()

        return blocks

    async def check(log: EventLog) -> None:
        handlers = [blocked("a"), blocked("b")]
        await log.declare([declaration(each) for each in handlers])
        await log.append([event("x", f"session:{n}") for n in range(20)])

        async def both_started() -> bool:
            return all(len(ids) == 20 for ids in started.values())

        async with at_work(log, *handlers) as dispatcher:
            await eventually(both_started)
            shares = [drain._steps.reads for drain, _ in dispatcher._drains.values()]
            assert shares[0].lane.ranges, "they did share"
            await died(dispatcher)
        may_end.set()
        for name in started:
            await lost(log, name)
        with structlog.testing.capture_logs() as lines:
            await drained(log, *handlers)
        for name, ids in started.items():
            suspected = {
                line["event_id"]
                for line in lines
                if line["event"] == "delivery.suspected" and line["handler"] == name
            }
            assert suspected == ids
            found = await position(log, name)
            assert (found.stats["done"], found.open, found.waiting) == (20, 0, 0)

    with_lane(check)


def test_a_handler_whose_wishes_grow_meanwhile_misses_nothing(with_lane):
    """Its old code hands the lane over at the first event that only the new code wants."""
    slow, got_slow = counting("h", on=["A"])
    beside, got_beside = counting("beside")

    @handler("h", on=["A", "B"], start="oldest")
    async def newer(event: Event[Raw], ctx: Context) -> None:
        got_slow.append(event)

    async def check(log: EventLog) -> None:
        await log.declare([declaration(slow), declaration(beside)])
        numbers = range(300)
        await log.append([event("AB"[n % 2], f"session:{n % 7}", n=n) for n in numbers[:200]])
        dispatcher = Dispatcher(log, "default", {h.name: Runtime(h, VERSION) for h in (slow, beside)})
        working = asyncio.create_task(dispatcher.work())

        async def begun() -> bool:
            return len(got_slow) > 8

        await eventually(begun, every_s=0.001)
        await log.declare([declaration(newer, version="v2")])
        await log.append([event("AB"[n % 2], f"session:{n % 7}", n=n) for n in numbers[200:]])

        async def all_beside() -> bool:
            return len(got_beside) == 300

        await eventually(all_beside)
        await dispatcher.stop()
        await working
        old = len(got_slow)
        await drained(log, newer, version="v2")
        ran = [each.payload.data["n"] for each in got_slow]
        assert len(ran) == len(set(ran)), "nothing ran twice"
        assert set(numbers[200:]) <= set(ran), "all that was appended since"
        assert {n for n in numbers if n % 2 == 0} <= set(ran)
        assert 8 < old < 300

    with_lane(check)


def test_a_paused_handler_and_a_replay_leave_the_others_alone(with_lane):
    one, got_one = counting("one")
    two, got_two = counting("two")

    async def check(log: EventLog) -> None:
        await log.declare([declaration(one), declaration(two)])
        await log.append([event("x", f"session:{n}", n=n) for n in range(100)])
        await pause(log, "two", reason="test", now_ms=now_ms())
        async with at_work(log, one, two):

            async def one_done() -> bool:
                return len(got_one) == 100

            await eventually(one_done)
            assert got_two == []
            await resume(log, "two")

            async def two_done() -> bool:
                return len(got_two) == 100 and (await position(log, "two")).waiting == 0

            await eventually(two_done)
            await log.append([event("x", f"session:{n}", n=n) for n in range(100, 150)])
            asked = await begin(log, Selection("one", 0, now_ms(), ("*",)), now_ms=now_ms())
            async for _ in feed(log, asked, patience_s=10.0):
                pass

            async def replayed() -> bool:
                return len(got_one) >= 250

            await eventually(replayed)
        assert sum(each.replayed for each in got_one) >= 100
        assert not any(each.replayed for each in got_two)
        assert len(got_two) == 150

    with_lane(check)


def test_workers_of_older_code_see_what_newer_receivers_append(with_lane):
    """They read `due` alone. Any newer process makes the pairs due every second, elected or not."""

    async def check(log: EventLog) -> None:
        await log.declare([wants("h", "A"), wants("paused", "A"), wants("any", "*"), wants("b", "B")])
        await pause(log, "paused", reason="test", now_ms=now_ms())
        reply = await log.append([event("A")])
        assert reply.wake == ["default"]
        due = log.key("due", "default")
        assert await log.redis.zrange(due, 0, -1) == []
        await spread(log)
        assert sorted(await log.redis.zrange(due, 0, -1)) == [b"any|0", b"h|0"]
        assert (await log.append([event("B")])).wake == [], "a wake-up is on its way"
        await log.redis.delete(log.key("wake", "default"))
        assert await sweep(log) == ["default"]
        assert sorted(await log.redis.zrange(due, 0, -1)) == [b"any|0", b"b|0", b"h|0"]

    with_lane(check)


def test_an_event_that_only_paused_handlers_want_wakes_none(with_lane):
    async def check(log: EventLog) -> None:
        await log.declare([wants("h", "A")])
        await pause(log, "h", reason="test", now_ms=now_ms())
        assert (await log.append([event("A"), event("B")])).wake == []
        await resume(log, "h")
        assert await log.due("default", ["h"], limit=10) == [("h", 0)]

    with_lane(check)


def test_an_append_costs_as_many_commands_with_two_hundred_handlers_as_with_one(server, prefix):
    async def check() -> None:
        commands = []
        async with opened(server.url, prefix, lanes=16) as log:
            for many in (1, 200):
                await log.declare([wants(f"h{n}", "A") for n in range(many)])
                before = (await log.redis.info("commandstats")).items()
                counted = {name: stats["calls"] for name, stats in before}
                await log.append([event("A", f"session:{n}", many=many) for n in range(100)])
                after = (await log.redis.info("commandstats")).items()
                commands.append(sum(stats["calls"] - counted.get(name, 0) for name, stats in after))
            pairs = await log.due("default", [f"h{n}" for n in range(200)], limit=10_000)
            assert len(pairs) == 200 * 16
        assert commands[1] <= commands[0] + 2

    asyncio.run(check())
