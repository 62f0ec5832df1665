"""What others may do to a handler while it is drained: pause it, or put events into `open` from outside."""

from __future__ import annotations

import asyncio

from eventlog.inspection.events import list_events
from eventlog.lease import Lease
from eventlog.log import EventLog
from eventlog.record import OpenRecord, encode_open
from eventlog.schedule import recompute, sweep
from handlers import Context, Event, Raw, Retry, handler
from tests.harness import at_work, declaration, drained, event, eventually, position


async def put_into_open(log: EventLog, name: str, record: OpenRecord) -> None:
    """As the commands do it: the record, when it is due, and a new generation of `open`."""
    stream_id = record.event.stream_id
    pair = f"{name}|{record.event.lane}"
    await log.redis.hset(log.key("open", name, record.event.lane), stream_id, encode_open(record))
    await log.redis.zadd(log.key("opendue", name, record.event.lane), {stream_id: 0})
    await log.redis.hincrby(log.key("gen"), pair, 1)
    await log.redis.zadd(log.key("due", "default"), {pair: 0})


async def paused(log: EventLog, name: str) -> None:
    await log.redis.hset(log.key("paused"), name, '{"since_ms": 1, "reason": "test"}')


async def resumed(log: EventLog, name: str) -> None:
    await log.redis.hdel(log.key("paused"), name)
    await recompute(log)


def test_a_paused_handler_finishes_what_runs_and_starts_nothing_until_it_is_resumed(with_lane):
    started: list[int] = []
    ended: list[int] = []
    may_end = asyncio.Event()

    @handler("h", on=["*"])
    async def h(event: Event[Raw], ctx: Context) -> None:
        started.append(event.payload.data["n"])
        await may_end.wait()
        ended.append(event.payload.data["n"])

    async def check(log: EventLog) -> None:
        await log.declare([declaration(h)])
        await log.append([event(n=n) for n in range(3)])

        async def begun() -> bool:
            return started == [0]

        async def nobody_holds_it() -> bool:
            return not await log.redis.exists(log.key("lease", "h", 0))

        async with at_work(log, h):
            await eventually(begun)
            await paused(log, "h")
            await asyncio.sleep(0.3)
            may_end.set()
            await eventually(nobody_holds_it)
        assert (started, ended) == ([0], [0])
        await log.append([event(n=3)])
        await drained(log, h)
        assert (await sweep(log), await recompute(log), await log.due("default", ["h"], limit=9)) == (
            [],
            0,
            [],
        )
        assert await Lease(log, "h", 0, "default").take() is None
        assert started == [0]

        await resumed(log, "h")
        await drained(log, h)
        assert ended == [0, 1, 2, 3]
        found = await position(log, "h")
        assert (found.stats["done"], found.open, found.waiting) == (4, 0, 0)

    with_lane(check)


def test_other_handlers_go_on_while_one_is_paused(with_lane):
    got: dict[str, list[int]] = {"idle": [], "busy": []}

    @handler("idle", on=["*"])
    async def idle(event: Event[Raw], ctx: Context) -> None:
        got["idle"].append(event.payload.data["n"])

    @handler("busy", on=["*"])
    async def busy(event: Event[Raw], ctx: Context) -> None:
        got["busy"].append(event.payload.data["n"])

    async def check(log: EventLog) -> None:
        await log.declare([declaration(idle), declaration(busy)])
        await paused(log, "idle")
        await log.append([event(n=n) for n in range(5)])
        await drained(log, idle, busy)
        assert got == {"idle": [], "busy": [0, 1, 2, 3, 4]}
        assert (await position(log, "idle")).waiting == 5

    with_lane(check)


def test_what_is_put_into_open_from_outside_is_found_by_the_drain_at_work(with_lane):
    ran: list[tuple[str, bool]] = []
    may_end = asyncio.Event()

    @handler("h", on=["*"])
    async def h(event: Event[Raw], ctx: Context) -> None:
        ran.append((event.payload.data["name"], event.replayed))
        if event.payload.data["name"] == "slow":
            await may_end.wait()

    async def check(log: EventLog) -> None:
        await log.declare([declaration(h)])
        await log.append([event(key="session:1", name="first")])
        await drained(log, h)
        (first,) = await list_events(log)
        await log.append([event(key="session:2", name="slow")])

        async def slow_runs() -> bool:
            return ("slow", False) in ran

        async def replayed() -> bool:
            return ("first", True) in ran

        async with at_work(log, h):
            await eventually(slow_runs)
            await put_into_open(log, "h", OpenRecord(first, "replay"))
            may_end.set()
            await eventually(replayed)
        assert ran == [("first", False), ("slow", False), ("first", True)]
        found = await position(log, "h")
        assert (found.stats["done"], found.open, found.waiting) == (3, 0, 0)

    with_lane(check)


def test_replayed_events_run_in_the_order_of_their_key_and_before_a_later_retry(with_lane):
    ran: list[str] = []
    may_pass = False

    @handler("h", on=["*"])
    async def h(event: Event[Raw], ctx: Context) -> None:
        name = event.payload.data["name"]
        ran.append(name)
        if name == "c" and not may_pass:
            raise Retry("later", after_s=0.3, counts=False)
        if name == "a" and may_pass:
            await asyncio.sleep(0.5)  # meanwhile c is due

    async def check(log: EventLog) -> None:
        nonlocal may_pass
        await log.declare([declaration(h)])
        await log.append([event(name=name) for name in "abc"])
        await drained(log, h, until=lambda: "c" in ran)
        ran.clear()
        may_pass = True
        for stored in await list_events(log):  # the newest first
            if b'"c"' not in stored.body:
                await put_into_open(log, "h", OpenRecord(stored, "replay"))
        await drained(log, h, until=lambda: "c" in ran)
        assert ran == ["a", "b", "c"]
        assert (await position(log, "h")).open == 0

    with_lane(check)


def test_a_replayed_event_that_was_settled_ahead_of_the_cursor_runs_again(with_lane):
    ran: list[str] = []
    slow_may_end = asyncio.Event()

    @handler("h", on=["*"])
    async def h(event: Event[Raw], ctx: Context) -> None:
        name = event.payload.data["name"]
        ran.append(name)
        if name == "slow":
            await slow_may_end.wait()

    async def check(log: EventLog) -> None:
        await log.declare([declaration(h)])
        await log.append([event(key=f"session:{name}", name=name) for name in ("slow", "quick")])

        async def settled_ahead() -> bool:
            return bool(await log.redis.scard(log.key("ahead", "h", 0)))

        async def ran_twice() -> bool:
            return ran.count("quick") == 2

        async with at_work(log, h):
            await eventually(settled_ahead, every_s=0.005)
            quick = next(e for e in await list_events(log) if b"quick" in e.body)
            await put_into_open(log, "h", OpenRecord(quick, "replay"))
            slow_may_end.set()
            await eventually(ran_twice)
        found = await position(log, "h")
        assert (found.open, found.waiting, await log.redis.scard(log.key("ahead", "h", 0))) == (0, 0, 0)

    with_lane(check)
