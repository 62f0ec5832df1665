"""A lane into which another client put an id of the far future: it comes back as a whole, or stays as it was."""

from __future__ import annotations

import asyncio
from typing import Any

from eventlog.clock import now_ms
from eventlog.lease import Lease
from eventlog.log import EventLog
from eventlog.retention import Keep, keep
from handlers import Context, Event, Raw, handler
from tests.harness import declaration, drained, event

handled: list[Any] = []


@handler("acme.notes", on=["*"], start="oldest")
async def notes(event: Event[Raw], ctx: Context) -> None:
    handled.append(event.payload.data["n"])


@handler("acme.a", on=["A"], start="oldest")
async def only_a(event: Event[Raw], ctx: Context) -> None: ...


def test_a_lane_of_the_far_future_that_cannot_be_copied_keeps_all_it_has(on_each_server) -> None:
    """An entry has more values than Lua passes to a command."""

    async def check(log: EventLog) -> None:
        handled.clear()
        await log.declare([declaration(notes)])
        await log.append([event(n=0), event(n=1)])
        stream = log.key("events", log.lane_of("session:1", b""))
        huge = {f"f{n}": "x" for n in range(5_000)}
        entry = await log.redis.xadd(stream, huge, id="99999999999999999-0")
        for n in (2, 3):
            reply = await log.append([event(n=n)])
            assert [answer.outcome for answer in reply.answers] == ["accepted"]
            assert "cannot be copied" in reply.fault
        assert await log.redis.xlen(stream) == 5
        assert not await log.redis.exists(log.key("far", log.lane_of("session:1", b"")))
        await log.redis.xdel(stream, entry)
        reply = await log.append([event(n=4)])
        assert int((reply.answers[0].event_id or "").split("-")[1]) <= now_ms() + 1_000
        await drained(log, notes)
        assert handled == [0, 1, 2, 3, 4]

    on_each_server(check)


def test_a_lane_that_has_no_id_left_takes_events_again(on_each_server) -> None:
    async def check(log: EventLog) -> None:
        handled.clear()
        await log.declare([declaration(notes)])
        await log.append([event(n=0)])
        stream = log.key("events", log.lane_of("session:1", b""))
        entry = await log.redis.xadd(stream, {"x": "y"}, id="18446744073709551615-18446744073709551615")
        reply = await log.append([event(n=1)])
        assert [answer.outcome for answer in reply.answers] == ["accepted"]
        assert "far future" in reply.fault
        for entry, fields in await log.redis.xrange(stream):
            if b"x" in fields:
                await log.redis.xdel(stream, entry)
        await drained(log, notes)
        assert handled == [0, 1]

    on_each_server(check)


def test_what_a_drain_was_handed_of_the_far_future_makes_no_suspect_of_later_events(with_log) -> None:
    async def check(log: EventLog) -> None:
        await log.declare([declaration(notes)])
        await log.append([event(n=0)])
        lane = log.lane_of("session:1", b"")
        await log.redis.xadd(log.key("events", lane), {"x": "y"}, id="99999999999999999-0")
        await log.redis.hset(log.key("runto"), f"acme.notes|{lane}", "99999999999999999-0")
        reply = await log.append([event(n=1)])
        taken = await Lease(log, "acme.notes", lane, "default").take()
        assert taken is not None
        assert taken.runto < (reply.answers[0].event_id or "").partition("-")[2]

    with_log(check)


def test_the_last_number_of_a_millisecond_is_trimmed_with_those_before_it(on_each_server) -> None:
    async def check(log: EventLog) -> None:
        await log.declare([declaration(only_a)])
        lane = log.lane_of("session:1", b"")
        await log.append([event("A", n=0)])
        await asyncio.sleep(0.01)
        odd = f"{now_ms()}-18446744073709551615"
        await log.redis.xadd(log.key("events", lane), {"x": "y"}, id=odd)
        await log.append([event("A", n=1)])
        await log.redis.hset(log.key("cur"), f"acme.a|{lane}", odd)
        await asyncio.sleep(0.01)
        await keep(log, Keep(hours=0))
        assert await log.redis.xlen(log.key("events", lane)) <= 2
        await drained(log, only_a)
        await keep(log, Keep(hours=0))
        assert await log.redis.xlen(log.key("events", lane)) == 0

    on_each_server(check)
