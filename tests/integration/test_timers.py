"""Timers of handlers on a real server: set, moved into their lane, cancelled, replaced, renamed, retired."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from ampeco.notifications import SessionUpdate
from eventlog.clock import now_ms
from eventlog.entity_records import PendingTimer, PutTimer, fire, records_of
from eventlog.errors import LeaseLost
from eventlog.history import Settled, decode
from eventlog.lease import Lease, Settlement
from eventlog.log import EventLog
from eventlog.operation.handlers import rename, retire
from eventlog.schedule import sweep
from handlers import Backoff, Context, Event, GiveUp, Raw, Retry, Skip, SyncContext, Timer, handler
from tests.harness import declaration, drained, event, eventually, position

KEY = "session:1"
SOON_S = 0.03


async def fired(log: EventLog, count: int = 1) -> None:
    """Wait until so many timers were due, and have been moved."""
    moved = 0

    async def all_moved() -> bool:
        nonlocal moved
        moved += await fire(log)
        return moved >= count

    await eventually(all_moved)
    assert moved == count


async def pending(log: EventLog, name: str = "h", key: str = KEY) -> tuple[PendingTimer, ...]:
    return (await records_of(log, name, {key: log.lane_of(key, b"")}))[key].timers


async def history(log: EventLog, name: str) -> list[Settled]:
    found = []
    for lane in range(log.lanes):
        for _, fields in await log.redis.xrange(log.key("history", name, lane)):
            found += decode(fields[b"d"])
    return found


async def timer_keys(log: EventLog) -> list[str]:
    found = [raw.decode() async for raw in log.redis.scan_iter(match=log.key("timers*"))]
    return sorted(name.removeprefix(log.prefix) for name in found)


@pytest.mark.parametrize("is_async", [True, False])
def test_a_timer_calls_its_handler_again_for_its_entity_with_its_data(on_each_server, is_async):
    seen: list[Any] = []

    def work(event: Event[Any], ctx: Context[Any, Any] | SyncContext[Any, Any]) -> None:
        if isinstance(event.payload, Timer):
            seen.append((event.kind, event.key, event.payload.name, event.payload.data, event.payload.set_by))
            assert event.occurred_at == event.payload.due_at
            assert event.received_at >= event.payload.due_at
        else:
            ctx.later("check", SOON_S, {"status": event.payload.session.status, "list": [1]})

    async def in_loop(event: Event[SessionUpdate | Timer], ctx: Context) -> None:
        work(event, ctx)

    def in_thread(event: Event[SessionUpdate | Timer], ctx: SyncContext) -> None:
        work(event, ctx)

    h = handler("h")(in_loop if is_async else in_thread)

    @handler("other", on=["*", "receiver.timer"])
    async def other(event: Event[Raw], ctx: Context) -> None:
        assert event.kind == "notification"

    async def check(log: EventLog) -> None:
        await log.declare([declaration(h), declaration(other)])
        (answer,) = (await log.append([event()])).answers
        await drained(log, h, other)
        (timer,) = await pending(log)
        assert (timer.name, timer.set_by, timer.event_id) == ("check", answer.event_id, "")
        assert seen == []
        await fired(log)
        (timer,) = await pending(log)
        assert timer.event_id.startswith(f"{log.lane_of(KEY, b'')}-")
        assert (await position(log, "h")).waiting == 1
        assert (await position(log, "other")).waiting == 0
        await drained(log, h, other)
        assert seen == [("timer", KEY, "check", {"status": "active", "list": (1,)}, answer.event_id)]
        assert await timer_keys(log) == []
        assert await fire(log) == 0

    on_each_server(check)


@pytest.mark.parametrize("end", [Retry("x", after_s=60), GiveUp("x"), ValueError("x")])
def test_a_timer_of_an_attempt_that_is_neither_done_nor_skipped_is_never_set(with_lane, end):
    @handler("h", backoff=Backoff(base_s=60, cap_s=60, jitter=False))
    async def h(event: Event[SessionUpdate | Timer], ctx: Context) -> None:
        ctx.later("check", 0)
        raise end

    async def check(log: EventLog) -> None:
        await log.declare([declaration(h)])
        await log.append([event()])
        await drained(log, h)
        found = await position(log, "h")
        assert found.open + found.dead == 1
        assert await timer_keys(log) == []

    with_lane(check)


def test_a_skipped_event_sets_its_timers_and_the_last_of_a_name_counts(with_lane):
    @handler("h")
    async def h(event: Event[SessionUpdate | Timer], ctx: Context) -> None:
        ctx.later("a", 100)
        ctx.later("b", 50, data=[1])
        ctx.later("a", 10, data="é")
        ctx.later("c", 1)
        assert ctx.cancel_later("c") is True
        assert ctx.cancel_later("c") is False
        raise Skip("later")

    async def check(log: EventLog) -> None:
        await log.declare([declaration(h)])
        before = now_ms()
        await log.append([event()])
        await drained(log, h)
        first, second = await pending(log)
        assert (first.name, first.data, second.name, second.data) == ("a", '"é"', "b", "[1]")
        assert 9_900 <= first.due_ms - before <= 20_000
        assert 49_900 <= second.due_ms - before <= 60_000

    with_lane(check)


@pytest.mark.parametrize("order", ["entity", "none", "latest"])
@pytest.mark.parametrize("change", ["cancel", "replace"])
def test_a_timer_that_is_cancelled_or_replaced_after_it_fell_due_is_superseded(with_lane, order, change):
    ran: list[Any] = []

    @handler("h", order=order)
    async def h(event: Event[SessionUpdate | Timer], ctx: Context) -> None:
        if isinstance(event.payload, Timer):
            ran.append(event.payload.data)
        elif event.payload.session.status == "active":
            ctx.later("check", 0, "first")
            ctx.later("other", 0, "other")
        elif change == "cancel":
            assert ctx.cancel_later("check")
        else:
            ctx.later("check", 0, "second")

    async def check(log: EventLog) -> None:
        await log.declare([declaration(h)])
        await log.append([event()])
        await drained(log, h)
        await log.append([event(session={"id": "1", "status": "finished"})])
        if order != "entity":  # the later event is settled before the timers fall due, or there is no order
            await drained(log, h)
        await fired(log, 2 if order == "entity" or change == "replace" else 1)
        await drained(log, h)
        if order == "entity":
            (over,) = [each for each in await history(log, "h") if each.outcome == "superseded"]
            assert over.reason == "the timer was cancelled or set again"
        if change == "replace":
            if order == "entity":
                await fired(log)
            await drained(log, h)
            assert sorted(ran) == ["other", "second"]
        else:
            assert ran == ["other"]
        assert await timer_keys(log) == []

    with_lane(check)


def test_a_timer_may_set_itself_again_and_a_retried_one_keeps_its_place(with_lane):
    ran: list[tuple[str, int]] = []

    @handler("h", backoff=Backoff(base_s=0.01, cap_s=0.01, jitter=False))
    async def h(event: Event[SessionUpdate | Timer], ctx: Context) -> None:
        if isinstance(event.payload, Timer):
            ran.append((event.payload.data, ctx.attempt))
            if ctx.attempt == 1:
                raise ValueError
            if event.payload.data == "one":
                ctx.later("check", 0, "two")
        else:
            ctx.later("check", 0, "one")

    async def check(log: EventLog) -> None:
        await log.declare([declaration(h)])
        await log.append([event()])
        await drained(log, h)
        await fired(log)
        await drained(log, h, until=lambda: len(ran) == 2)
        await fired(log)
        await drained(log, h, until=lambda: len(ran) == 4)
        assert ran == [("one", 1), ("one", 2), ("two", 1), ("two", 2)]
        assert await timer_keys(log) == []

    with_lane(check)


def test_with_latest_no_timer_replaces_another_one(with_lane):
    ran: list[str] = []

    @handler("h", order="latest")
    async def h(event: Event[SessionUpdate | Timer], ctx: Context) -> None:
        if isinstance(event.payload, Timer):
            ran.append(event.payload.name)
        else:
            for name in "abc":
                ctx.later(name, 0)

    async def check(log: EventLog) -> None:
        await log.declare([declaration(h)])
        await log.append([event()])
        await drained(log, h)
        await fired(log, 3)
        await drained(log, h)
        assert sorted(ran) == ["a", "b", "c"]

    with_lane(check)


def test_a_full_log_still_moves_timers(with_lane):
    ran: list[str] = []

    @handler("h")
    async def h(event: Event[SessionUpdate | Timer], ctx: Context) -> None:
        if isinstance(event.payload, Timer):
            ran.append(event.payload.name)
        else:
            ctx.later("check", 0)

    async def check(log: EventLog) -> None:
        await log.declare([declaration(h)])
        await log.append([event()])
        await drained(log, h)
        await log.redis.set(log.key("full"), "x")
        assert (await log.append([event()])).answers[0].outcome == "refused"
        await fired(log)
        await drained(log, h)
        assert ran == ["check"]

    with_lane(check)


def test_a_rename_takes_timers_along_and_the_new_name_gets_those_that_fell_due_before(on_each_server):
    ran: list[tuple[str, str]] = []

    async def work(event: Event[SessionUpdate | Timer], ctx: Context) -> None:
        if isinstance(event.payload, Timer):
            ran.append((event.type, event.payload.name))
        else:
            ctx.later("soon", 0)
            ctx.later("late", 0.3)

    old, new = handler("old")(work), handler("new")(work)

    async def check(log: EventLog) -> None:
        await log.declare([declaration(old)])
        await log.append([event()])
        await drained(log, old)
        await fired(log)
        await rename(log, "old", "new", now_ms=now_ms())
        assert [timer.name for timer in await pending(log, "new")] == ["soon", "late"]
        # The old declaration does not count any more after ten minutes.
        await log.declare([declaration(new, version="v2")], keep_version_ms=0)
        await drained(log, new, version="v2")
        assert ran == [("receiver.timer:old", "soon")]
        await fired(log)
        await drained(log, new, version="v2")
        assert ran == [("receiver.timer:old", "soon"), ("receiver.timer:new", "late")]
        await log.declare([declaration(new, version="v2")])
        assert await log.wanted_types() == {*new.types}  # and no longer those of the old name
        assert await timer_keys(log) == []

    on_each_server(check)


def test_a_retired_handler_has_no_timers(on_each_server):
    @handler("h")
    async def h(event: Event[SessionUpdate | Timer], ctx: Context) -> None:
        ctx.later("check", 0)

    async def check(log: EventLog) -> None:
        await log.declare([declaration(h)])
        await log.append([event(key=f"session:{n}") for n in range(5)])
        await drained(log, h)
        await retire(log, "h", now_ms=now_ms())
        assert await timer_keys(log) == []
        assert await fire(log) == 0

    on_each_server(check)


def test_timers_wait_while_no_version_of_the_handler_wants_them(with_lane):
    ran: list[str] = []

    @handler("h")
    async def with_timers(event: Event[SessionUpdate | Timer], ctx: Context) -> None:
        if isinstance(event.payload, Timer):
            ran.append(event.payload.name)
        else:
            ctx.later("check", 0)

    @handler("h")
    async def without(event: Event[SessionUpdate], ctx: Context) -> None: ...

    async def check(log: EventLog) -> None:
        await log.declare([declaration(with_timers)])
        await log.append([event()])
        await drained(log, with_timers)
        await log.declare([declaration(without, version="v0")], keep_version_ms=-1)
        await asyncio.sleep(0.01)
        await log.declare([declaration(without, version="v0")], keep_version_ms=5)
        assert await fire(log) == 0
        assert [timer.event_id for timer in await pending(log)] == [""]
        await log.declare([declaration(with_timers, version="v2")])
        await log.redis.zadd(log.key("timers"), {"h|0": 0})  # instead of waiting for five seconds
        await fired(log)
        await drained(log, with_timers, version="v2")
        assert ran == ["check"]

    with_lane(check)


def test_a_lost_reply_of_the_step_sets_a_timer_once_and_a_lost_lease_sets_none(with_lane):
    @handler("h")
    async def h(event: Event[SessionUpdate | Timer], ctx: Context) -> None: ...

    def settled(generation: str) -> Settlement:
        return Settlement(kept=[PutTimer(KEY, KEY, "check", generation, 0, "0-1-0", "")])

    async def check(log: EventLog) -> None:
        await log.declare([declaration(h)])
        lease = Lease(log, "h", 0, "default")
        taken = await lease.take()
        assert taken is not None
        await lease.step(settled("one"), after=taken.cur)
        await fired(log)
        lease._seq -= 1  # the reply was lost, so the same step is sent again
        await lease.step(settled("two"), after=taken.cur)
        assert [timer.generation for timer in await pending(log)] == ["one"]
        assert await fire(log) == 0
        await log.redis.delete(log.key("lease", "h", 0))
        with pytest.raises(LeaseLost):
            await lease.step(settled("three"), after=taken.cur)
        assert [timer.generation for timer in await pending(log)] == ["one"]

    with_lane(check)


def test_a_clock_of_redis_that_went_back_makes_no_timer_wait_longer(with_lane):
    hour_ms = 3_600_000

    @handler("h")
    async def h(event: Event[SessionUpdate | Timer], ctx: Context) -> None:
        if isinstance(event.payload, SessionUpdate):
            ctx.later("soon", 0)
            ctx.later("late", 600)

    async def check(log: EventLog) -> None:
        await log.declare([declaration(h)])
        await log.append([event(), event(key="session:2")])
        await drained(log, h)
        # As if they had been set by a clock that was an hour ahead.
        for key in (KEY, "session:2"):
            record = json.loads(await log.redis.hget(log.key("timers", "h", 0), key))
            for timer in record["t"].values():
                timer[0] += hour_ms
            await log.redis.hset(log.key("timers", "h", 0), key, json.dumps(record))
            await log.redis.zincrby(log.key("timersdue", "h", 0), hour_ms, key)
        await log.redis.zincrby(log.key("timers"), hour_ms, "h|0")
        assert await fire(log) == 0
        await sweep(log)
        await log.redis.hset(log.key("tenant"), "swept", now_ms() + hour_ms)
        await fired(log, 2)
        assert [timer.event_id == "" for timer in await pending(log)] == [False, True]
        assert (await pending(log))[1].due_ms <= now_ms() + 600_000

    with_lane(check)
