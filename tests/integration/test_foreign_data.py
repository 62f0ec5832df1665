"""Another client wrote into the keys of the log: what it spoiled is named, and everything else goes on."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from redis.exceptions import ResponseError
from structlog.testing import capture_logs

from eventlog.clock import now_ms
from eventlog.housekeeping import tick_forever
from eventlog.inspection.explain import explain
from eventlog.inspection.overview import overview
from eventlog.log import EventLog
from eventlog.retention import Keep
from eventlog.schedule import recompute
from handlers import Context, Event, Raw, handler
from receiver.metrics import exposition
from tests.harness import at_work, declaration, drained, event, eventually, position

Spoil = Callable[[EventLog], Awaitable[Any]]
handled: list[Any] = []


@handler("acme.notes", on=["*"], start="oldest")
async def notes(event: Event[Raw], ctx: Context) -> None:
    handled.append(event.payload.data["n"])


@handler("acme.other", on=["*"], start="oldest")
async def other(event: Event[Raw], ctx: Context) -> None: ...


class Woken:
    """Takes wake-ups."""

    def __init__(self) -> None:
        self.queues: set[str] = set()

    def wake(self, queues: list[str]) -> None:
        self.queues.update(queues)


def put(key: str, *values: Any) -> Spoil:
    """Return what writes fields of a hash."""
    return lambda log: log.redis.hset(log.key(key), mapping=dict(zip(values[::2], values[1::2], strict=True)))


def score(key: str, member: str) -> Spoil:
    return lambda log: log.redis.zadd(log.key(key), {member: 1})


def instead(key: str) -> Spoil:
    """Return what puts a list in the place of a key."""

    async def spoil(log: EventLog) -> None:
        await log.redis.delete(log.key(key))
        await log.redis.rpush(log.key(key), "x")

    return spoil


SPOILED = {
    "counts": put("counts", "accepted", "many", "duplicates", "x"),
    "counts that overflow": put("counts", "accepted", "9223372036854775807"),
    "no counts": instead("counts"),
    "added": put("added", "0|", "x", "1|", "x", "2|", "x", "3|", "x"),
    "no added": instead("added"),
    "no marks": instead("fresh"),
    "a mark": lambda log: log.redis.sadd(log.key("fresh"), "no mark"),
    "a due pair": score("due:default", "no pair"),
    "a due lane": score("due:default", "acme.notes|99"),
    "a timer": score("timers", "no pair"),
    "no timers": instead("timers"),
    "a beat": put("workers", "default|h:1:x", "{"),
    "a declaration": put("handlers", "acme.gone|1", '{"v":9}', "no version", "[]"),
    "a declared version": put(
        "handlers", "acme.gone|1", json.dumps({"declaration": {"types": ["x"], "queue": 1}})
    ),
    "a newest version": put("newest", "acme.gone", "1"),
    "a hold": put("held", "acme.notes", "99999999999999 no JSON", "acme.other", "0 no JSON"),
    "an outage": put("away", "ampeco", "{", "dependency:x", "[]"),
    "a pause of another": put("paused", "acme.gone", "{"),
    "standing": put("standing", "at_ms", "x", "events", "-"),
    "minutes": put("minutes", "1", "x y"),
    "attempts": put("attempted", "acme.notes", "x"),
    "stats": put("stats:acme.notes", "done", "x"),
    "beats of receivers": put("door", "r", "x"),
    "no beats": instead("workers:beats"),
    "replicas": put("replicas", "r", "x|{"),
    "budget": put("budget", "limit", "x", "tokens", "nan"),
    "unwanted": put("unwanted", "acme.notes", "{"),
    "retired": put("retired", "acme.notes", "{"),
    "registration": put("registration", "missing", "{", "looked", "x"),
    "the window": lambda log: instead(f"seen:{now_ms() // 3_600_000 // 4 * 4}")(log),
    "usual": put("usual", "w1", "x", "hour", "x", "at", "x"),
}


async def ticked(log: EventLog) -> list[Any]:
    """Let housekeeping make one round; return what it logged."""
    for role in ("ticker", "keeper", "listener"):
        await log.redis.delete(log.key(role))
    stop = asyncio.Event()
    with capture_logs() as lines:
        round_ = asyncio.create_task(tick_forever(log, Woken(), stop, Keep()))
        await eventually(_done(log, round_))
        stop.set()
        await round_
    return lines


def _done(log: EventLog, round_: asyncio.Task[None]) -> Callable[[], Awaitable[bool]]:
    async def is_done() -> bool:
        return round_.done() or bool(await log.redis.exists(log.key("listener")))

    return is_done


@pytest.mark.parametrize("name", SPOILED)
def test_a_spoiled_key_stops_nothing(with_log, cli, name: str) -> None:
    async def check(log: EventLog) -> None:
        handled.clear()
        await log.claim("https://t.example", "1")
        await log.declare([declaration(notes), declaration(other)])
        await log.append([event(n=0)])
        await drained(log, notes, other)
        await SPOILED[name](log)
        reply = await log.append([event(key=f"session:{n}", n=n) for n in range(1, 5)])
        assert {answer.outcome for answer in reply.answers} == {"accepted"}
        lines = await ticked(log)
        assert not [line for line in lines if line["event"] == "ticker.paused"]
        await log.declare([declaration(notes), declaration(other)])
        await recompute(log)
        with capture_logs() as lines:
            async with at_work(log, notes, other):
                await eventually(_handled(4))
        assert not [line for line in lines if line["event"] in ("drain.failed", "redis.unreachable")]
        assert sorted(handled) == [0, 1, 2, 3, 4]
        assert b"awr_deliveries_total" in await exposition(log)
        with contextlib.suppress(*([ResponseError] if name.startswith("no ") else [])):
            assert (await overview(log)).handlers
            assert (await explain(log, "session:1", handler=None, now_ms=now_ms())).stories

    with_log(check)


def _handled(last: int) -> Callable[[], Awaitable[bool]]:
    async def is_handled() -> bool:
        return len(handled) > last

    return is_handled


def test_an_entry_of_the_far_future_takes_no_event_along(on_each_server) -> None:
    async def check(log: EventLog) -> None:
        handled.clear()
        await log.claim("", "")
        await log.declare([declaration(notes)])
        await log.append([event(n=0)])
        lane = log.lane_of("session:1", b"")
        for far in ("99999999999999999-0", "18446744073709551615-18446744073709551610"):
            await log.redis.xadd(log.key("events", lane), {"x": "y"}, id=far)
            await log.declare([declaration(other)])  # would begin after it
            reply = await log.append([event(n=1), event(n=2)])
            assert "far future" in reply.fault
            for answer in reply.answers:
                assert answer.event_id is not None
                assert int(answer.event_id.split("-")[1]) <= now_ms() + 1000
            for entry, fields in await log.redis.xrevrange(log.key("events", lane)):
                if b"x" in fields:
                    await log.redis.xdel(log.key("events", lane), entry)
            await drained(log, notes, other)
        assert handled == [0, 1, 2, 1, 2]
        assert (await position(log, "acme.other")).waiting == 0

    on_each_server(check)


def test_a_record_that_cannot_be_read_stops_its_lane_with_a_reason_and_nothing_else(with_log, cli) -> None:
    async def check(log: EventLog) -> None:
        handled.clear()
        await log.claim("", "")
        await log.declare([declaration(notes), declaration(other)])
        lane = log.lane_of("session:1", b"")
        far = next(f"session:{n}" for n in range(2, 99) if log.lane_of(f"session:{n}", b"") != lane)
        await log.append([event(n=0)])
        fields = {"v": "9", "t": "SessionUpdateNotification", "k": "session:1", "b": "{}", "r": "1"}
        bad = (await log.redis.xadd(log.key("events", lane), fields)).decode()
        reply = await log.append([event(n=1), event(key=far, n=2)])
        with capture_logs() as lines:
            await drained(log, notes, other)
        assert sorted(handled) == [0, 2]
        said = [line for line in lines if line["event"] == "lane.unreadable"]
        assert {(line["handler"], line["lane"]) for line in said} == {
            ("acme.notes", lane),
            ("acme.other", lane),
        }
        assert all(f"{lane}-{bad}" in line["record"] for line in said)
        assert len(said) == 2
        asked = reply.answers[0].event_id or ""
        shown = await asyncio.to_thread(cli, "explain", asked)
        assert f"{lane}-{bad}" in shown[1]
        assert "cannot read" in shown[1]
        assert f"{lane}-{bad}" in (await asyncio.to_thread(cli, "status"))[1]
        listed = await asyncio.to_thread(cli.json, "handlers", "list")
        assert [(row["lanes_held"], row["lanes_stopped"]) for row in listed] == [(0, 1)] * 2
        await log.redis.xadd(log.key("events", lane), {**fields, "v": "1", "t": b"\xff", "r": "x"})
        await log.redis.xadd(log.key("events", lane), {"x": "y"})
        for words in (("events", "list"), ("explain", "session:1")):
            code, out, err = await asyncio.to_thread(cli, *words)
            assert (code, err) == (0, ""), words
            assert asked in out
        for odd, _ in (await log.redis.xrevrange(log.key("events", lane)))[:2]:
            await log.redis.xdel(log.key("events", lane), odd)
        await log.redis.xdel(log.key("events", lane), bad)
        await log.redis.delete(log.key("held"))  # a minute later
        await recompute(log)
        await drained(log, notes, other)
        assert sorted(handled) == [0, 1, 2]

    with_log(check)


@pytest.mark.parametrize("record", [b"{", b'{"v":99}\n{}', b'{"v":2,"state":"odd"}\n{}', b"", b"\xff\n"])
def test_an_open_record_that_cannot_be_read_stops_its_lane_alone(with_log, record: bytes) -> None:
    async def check(log: EventLog) -> None:
        handled.clear()
        await log.claim("", "")
        await log.declare([declaration(notes)])
        lane = log.lane_of("session:1", b"")
        far = next(f"session:{n}" for n in range(2, 99) if log.lane_of(f"session:{n}", b"") != lane)
        await log.redis.hset(log.key("open", "acme.notes", lane), "5-0", record)
        await log.append([event(n=0), event(key=far, n=1)])
        with capture_logs() as lines:
            await drained(log, notes)
        assert handled == [1]
        assert [line["event"] for line in lines if line["log_level"] == "error"] == ["lane.unreadable"]
        await log.redis.hdel(log.key("open", "acme.notes", lane), "5-0")
        await log.redis.delete(log.key("held"))
        await recompute(log)
        await drained(log, notes)
        assert handled == [1, 0]

    with_log(check)
