"""Holds in Redis, and outages of what a handler needs: what every script does with them, and how they end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest
from redis.asyncio.client import Monitor

from eventlog.lease import Lease, Settlement
from eventlog.log import EventLog
from eventlog.operation.handlers import pause, rename, resume, retire
from eventlog.operation.hurry import hurry
from eventlog.outages import AMPECO, OPEN_FULL, OTHERS, REST, Outages, Rules, known_outages
from eventlog.record import OpenRecord
from eventlog.schedule import recompute, sweep
from handlers import Backoff, Context, Event, Raw, Retry, Unavailable, handler
from tests.harness import at_work, declaration, event, eventually, position
from tests.outage import Ampeco, living

Check = Callable[[EventLog], Awaitable[None]]
LONG = Rules(first_s=60.0, longest_s=600.0)


@handler("h", on=["*"], start="oldest")
async def h(event: Event[Raw], ctx: Context) -> None:
    pass


async def held(log: EventLog, *, rules: Rules = LONG, service: str = AMPECO) -> Outages:
    """Let the handler `h` be held."""
    await log.declare([declaration(h)])
    outages = Outages(log, rules)
    verdict = await outages.failed(service, "h", "503", ["a", "b", "c", "a", "b"])
    assert verdict.is_away
    assert verdict.held_ms > verdict.at_ms
    return outages


async def due(log: EventLog) -> list[tuple[str, int]]:
    return await log.due("default", ["h"], limit=100)


def test_five_failures_over_three_entities_in_a_row_are_an_outage(on_each_server):
    async def check(log: EventLog) -> None:
        await log.declare([declaration(h)])
        outages = Outages(log, LONG)
        for entities in (["a"] * 9, ["b"] * 9):
            assert not (await outages.failed(AMPECO, "h", "500", entities)).is_away
        assert (await outages.failed(AMPECO, "h", "503", ["c"])).is_away
        outage = (await known_outages(log)).outages[AMPECO]
        assert (outage.failures, outage.why) == (19, "503")
        assert outage.since_ms <= (outage.away_ms or 0)

    on_each_server(check)


def test_an_answer_between_them_begins_the_count_again(on_each_server):
    async def check(log: EventLog) -> None:
        await log.declare([declaration(h)])
        outages = Outages(log, LONG)
        await outages.failed(AMPECO, "h", "500", ["a", "b", "c", "d"])
        await outages.answered(AMPECO, 0.0)
        assert not (await outages.failed(AMPECO, "h", "500", ["a", "b", "c", "d"])).is_away
        await asyncio.sleep(0.02)
        await outages.answered(AMPECO, 5.0)  # before the first of them
        assert (await outages.failed(AMPECO, "h", "500", ["e"])).is_away

    on_each_server(check)


def test_nothing_makes_a_held_handler_due_before_its_time(on_each_server):
    async def check(log: EventLog) -> None:
        await held(log)
        reply = await log.append([event("t", f"session:{n}") for n in range(50)])
        assert reply.wake == [], "no worker is woken for it"
        assert await due(log) == []
        await recompute(log)
        assert await due(log) == []
        assert await sweep(log) == []
        # Code of before knows no holds, and makes pairs due.
        for lane in range(log.lanes):
            await log.redis.zadd(log.key("due", "default"), {f"h|{lane}": 1})
        assert await sweep(log) == []
        assert await due(log) == []
        scores = await log.redis.zrange(log.key("due", "default"), 0, -1, withscores=True)
        assert all(score > 1 for _, score in scores)
        assert await Lease(log, "h", 0, "default").take() is None
        await pause(log, "h", reason="", now_ms=1)
        await resume(log, "h")
        assert await due(log) == []

    on_each_server(check)


def test_a_drain_at_work_learns_that_its_handler_is_held_and_gives_its_lane_back_for_that_time(
    on_each_server,
):
    async def check(log: EventLog) -> None:
        await log.declare([declaration(h)])
        await log.append([event("t", "session:1")])
        [(_, lane)] = await due(log)
        lease = Lease(log, "h", lane, "default")
        taken = await lease.take()
        assert taken is not None
        assert not taken.tries
        await held(log)
        read = await lease.step(Settlement(), after=taken.cur, count=1)
        assert (read.held, read.paused) == (True, False)
        assert (await lease.step(Settlement(), mode="release")).asleep
        assert await due(log) == []
        assert await log.redis.zscore(log.key("due", "default"), f"h|{lane}") > 1e12

    on_each_server(check)


def test_after_the_hold_one_lane_tries_and_the_others_wait_for_it(on_each_server):
    rules = Rules(first_s=0.05, longest_s=10.0, probe_s=0.0)

    async def check(log: EventLog) -> None:
        outages = await held(log, rules=rules)
        await log.append([event("t", f"session:{n}") for n in range(50)])
        await eventually(lambda: _has(due(log), 4))
        first, other = Lease(log, "h", 0, "default"), Lease(log, "h", 1, "default")
        taken = await first.take()
        assert taken is not None
        assert taken.tries
        assert await other.take() is None
        await outages.answered(AMPECO, 0.0, tried="h")
        again = await other.take()
        assert again is not None
        assert not again.tries
        assert again.back_s is not None
        assert again.back_s < 5

    on_each_server(check)


def test_a_trial_whose_process_dies_is_made_by_another(on_each_server):
    async def check(log: EventLog) -> None:
        await held(log, rules=Rules(first_s=0.02, longest_s=10.0, probe_s=0.0))
        await asyncio.sleep(0.05)
        assert await Lease(log, "h", 0, "default").take() is not None
        await log.redis.delete(log.key("lease", "h", 0))
        taken = await Lease(log, "h", 1, "default").take()
        assert taken is not None
        assert taken.tries

    on_each_server(check)


def test_each_failed_probe_or_trial_lengthens_the_pause_up_to_a_bound(on_each_server):
    async def check(log: EventLog) -> None:
        outages = await held(log, rules=Rules(first_s=10.0, longest_s=60.0))
        pauses = []
        for _ in range(4):
            await outages.probed(AMPECO, "504")
            known = await known_outages(log)
            assert known.outages[AMPECO].why == "504"
            pauses.append(round(((known.outages[AMPECO].next_ms or 0) - known.at_ms) / 1000))
        assert pauses == [20, 40, 60, 60]
        await outages.probed(AMPECO, "429", asked_s=3_000)
        known = await known_outages(log)
        assert (known.outages[AMPECO].next_ms or 0) - known.at_ms <= 60_000, "whatever it asks for"

    on_each_server(check)


def test_a_successful_probe_ends_the_outage_and_its_time_is_kept(on_each_server):
    async def check(log: EventLog) -> None:
        outages = await held(log)
        await outages.probed(AMPECO, None)
        outage = (await known_outages(log)).outages[AMPECO]
        assert outage.away_ms is None
        [(begin, end)] = outage.past
        assert begin <= end
        await log.append([event("t", f"session:{n}") for n in range(50)])
        assert len(await due(log)) == log.lanes

    on_each_server(check)


def test_the_time_of_old_outages_is_kept_however_many_come_after_them(on_each_server):
    async def check(log: EventLog) -> None:
        outages, hour_ms = await held(log), 3_600_000
        for n in range(30):
            if n:
                await outages.failed(AMPECO, "h", "503", list("abcab"))
            away = json.loads(await log.redis.hget(log.key("away"), AMPECO))
            began_ms = away["away"] - (20 * hour_ms if n == 0 else 0)
            await log.redis.hset(log.key("away"), AMPECO, json.dumps({**away, "away": began_ms}))
            await outages.probed(AMPECO, None)
        past = (await known_outages(log)).outages[AMPECO].past
        assert len(past) == 20
        assert list(past) == sorted(past)
        assert 20 * hour_ms <= sum(end - begin for begin, end in past) < 20.1 * hour_ms

    on_each_server(check)


def test_a_service_whose_outage_is_over_keeps_its_time_where_others_can_make_room(with_lane):
    async def check(log: EventLog) -> None:
        outages = await held(log, service=f"{OTHERS}crm")
        await outages.answered(f"{OTHERS}crm", -1.0, tried="h")
        for n in range(60):
            await outages.failed(f"{OTHERS}{n}", "other", "unavailable", ["a"])
        assert len((await known_outages(log)).outages[f"{OTHERS}crm"].past) == 1

    with_lane(check)


@pytest.mark.parametrize("change", ["rename", "retire"])
def test_a_handler_that_goes_takes_its_hold_along(on_each_server, change):
    async def check(log: EventLog) -> None:
        await held(log)
        if change == "rename":
            await rename(log, "h", "new", now_ms=1)
        else:
            await retire(log, "h", now_ms=1)
        assert (await known_outages(log)).holds == []

    on_each_server(check)


def test_a_clock_of_redis_that_goes_back_ends_holds(with_lane):
    async def check(log: EventLog) -> None:
        await held(log)
        await log.redis.hset(
            log.key("held"), "h", '9999999999999 {"v":1,"service":"ampeco","why":"503","since":1,"pause":1}'
        )
        assert await Lease(log, "h", 0, "default").take() is not None, "no hold of an age is believed"
        await log.redis.hset(log.key("tenant"), "swept", 9_999_999_999_999)
        await sweep(log)
        assert await log.redis.hlen(log.key("held")) == 0

    with_lane(check)


def test_services_that_authors_name_are_bounded(with_lane):
    async def check(log: EventLog) -> None:
        outages = await held(log)
        for n in range(70):
            await outages.failed(f"{OTHERS}{n}" + "x" * 500, "h", "y" * 500, ["a"])
        known = await known_outages(log)
        assert len(known.outages) <= 50
        assert AMPECO in known.outages, "one that is away stays"
        assert max(map(len, known.outages)) <= len(OTHERS) + 100

    with_lane(check)


def test_ampeco_has_room_among_services_that_are_all_away(with_lane):
    async def check(log: EventLog) -> None:
        await log.declare([declaration(h)])
        outages = Outages(log, LONG)
        for n in range(52):
            await outages.failed(f"{OTHERS}{n}", "h", "unavailable", list("abcde"))
        assert (await outages.failed(AMPECO, "h", "503", list("abcde"))).is_away
        known = await known_outages(log)
        assert known.outages[AMPECO].next_ms is not None, "it is probed"
        assert known.outages[REST].failures == 10
        assert len(known.outages) == 52

    with_lane(check)


def test_an_outage_that_is_over_costs_the_next_leases_nothing(with_lane):
    looked = 0

    async def check(log: EventLog) -> None:
        nonlocal looked
        outages = await held(log)
        await outages.probed(AMPECO, None)
        await outages.answered(AMPECO, 0.0, tried="h")

        async def listen(monitor: Monitor) -> None:
            nonlocal looked
            async for command in monitor.listen():
                looked += command["command"] == f"HGETALL {log.key('away')}"
                if command["command"] == "ECHO end":
                    return

        async with log.redis.monitor() as monitor, at_work(log, h):
            listening = asyncio.create_task(listen(monitor))
            for n in range(5):
                await log.append([event("t", f"session:{n}")])
                await eventually(lambda: _settled_and_asleep(log))
            await log.redis.echo("end")
            await listening
        assert looked == 1, "the first one learns how long it was"

    with_lane(check)


def test_what_an_author_calls_unavailable_holds_its_handler_and_spends_nothing(with_lane):
    began: list[int] = []
    done: list[int] = []
    is_away = True

    @handler("bills", on=["*"], start="oldest", max_attempts=2, backoff=Backoff(0.01, 0.5))
    async def bills(event: Event[Raw], ctx: Context) -> None:
        began.append(ctx.attempt)
        if is_away:
            raise Unavailable("billing")
        done.append(event.payload.data["n"])

    async def check(log: EventLog) -> None:
        nonlocal is_away
        await log.declare([declaration(bills)])
        await log.append([event("t", f"session:{n}", n=n) for n in range(200)])
        async with living(log, Ampeco(), [bills]):
            await eventually(lambda: _away(log, OTHERS + "billing"))
            await asyncio.sleep(0.5)
            before = len(began)
            await asyncio.sleep(2.0)
            assert len(began) - before <= 6, "one event tries now and then"
            assert (await position(log, "bills")).open < 100
            is_away = False
            await eventually(lambda: _is(len(done) == 200))
        found = await position(log, "bills")
        assert (found.dead, found.open, sorted(done)) == (0, 0, list(range(200)))
        assert set(began) == {1}
        assert not (await known_outages(log)).away

    with_lane(check)


def test_one_entity_whose_dependency_is_away_stops_nobody(with_lane):
    done: list[str] = []

    @handler("bills", on=["*"], start="oldest", backoff=Backoff(0.01, 0.05))
    async def bills(event: Event[Raw], ctx: Context) -> None:
        if event.key == "session:1":
            raise Unavailable("billing", retry_after_s=0.05)
        done.append(str(event.key))

    async def check(log: EventLog) -> None:
        await log.declare([declaration(bills)])
        async with living(log, Ampeco(), [bills]):
            for _ in range(10):
                await log.append([event("t", f"session:{n}") for n in range(10)])
                await asyncio.sleep(0.1)
            await eventually(lambda: _is(len(done) == 90))
            assert not (await known_outages(log)).away

    with_lane(check)


def test_a_full_open_set_is_back_pressure_that_ends_by_itself(with_lane, monkeypatch):
    monkeypatch.setattr("workers.drain.reader.OPEN_QUOTA", 40)
    monkeypatch.setattr("workers.drain.reader._STAY_AT_MOST_S", 0.0)
    opens, fails = 1.5, True
    done: list[str] = []

    @handler("h", on=["*"], start="oldest")
    async def fills(event: Event[Raw], ctx: Context) -> None:
        if fails:
            raise Retry("closed", after_s=opens)
        done.append(str(event.key))

    async def check(log: EventLog) -> None:
        nonlocal fails
        await log.declare([declaration(fills)])
        await log.append([event("t", f"session:{n}") for n in range(250)])
        async with at_work(log, fills):
            await eventually(lambda: _held_lanes(log, 1))
            fails = False
            taken = await log.redis.exists(log.key("lease", "h", 0))
            assert not taken, "no drain stays with it"
            reply = await log.append([event("t", f"session:{n}") for n in range(250, 256)])
            assert reply.wake == []
            await eventually(lambda: _is(len(done) == 256))
        assert (await position(log, "h")).open == 0
        assert (await known_outages(log)).lanes_held("h") == 0

    with_lane(check)


def test_a_wait_that_is_ended_by_hand_ends_the_hold_of_a_full_lane(with_lane):
    async def check(log: EventLog) -> None:
        await log.declare([declaration(h)])
        await log.append([event("t", "session:1")])
        lease = Lease(log, "h", 0, "default")
        taken = await lease.take()
        assert taken is not None
        read = await lease.step(Settlement(), after=taken.cur, count=1)
        record = OpenRecord(read.events[0], "retry", due_ms=1 << 42, wait_ms=86_400_000)
        await lease.step(
            Settlement(read.events[0].stream_id, [record], wakes_in_ms=600_000, held_by=OPEN_FULL),
            mode="hold",
        )
        assert (await known_outages(log)).lanes_held("h") == 1
        assert await due(log) == []
        assert await hurry(log, "h", 0, [read.events[0].stream_id]) == [True]
        assert await due(log) == [("h", 0)]

    with_lane(check)


async def _is(value: bool) -> bool:
    return value


async def _has(found: Awaitable[list[tuple[str, int]]], number: int) -> bool:
    return len(await found) == number


async def _held_lanes(log: EventLog, number: int) -> bool:
    return (await known_outages(log)).lanes_held("h") == number


async def _away(log: EventLog, service: str) -> bool:
    outage = (await known_outages(log)).outages.get(service)
    return outage is not None and outage.away_ms is not None


async def _settled_and_asleep(log: EventLog) -> bool:
    found = await position(log, "h")
    return not found.waiting and not await log.redis.exists(log.key("lease", "h", 0))
