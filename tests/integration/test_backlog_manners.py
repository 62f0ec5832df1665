"""What a backlog may do to others: events of another handler in the same process, and the calls of old events."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable

import pytest

from eventlog.clock import now_ms
from eventlog.connection.embedded import EmbeddedServer
from eventlog.log import EventLog, NewEvent
from handlers import Context, Event, Raw, handler
from handlers.declaration import Handler
from tests.harness import VERSION, declaration, event, eventually, opened, position
from tests.integration.conftest import Check
from workers.delivery.attempt import Runtime
from workers.drain.dispatcher import Dispatcher
from workers.drain.pace import OLD_MS


@pytest.fixture
def with_16_lanes(valkey: EmbeddedServer, prefix: str) -> Callable[[Check], None]:
    async def opened_and_checked(check: Check) -> None:
        async with opened(valkey.url, prefix, lanes=16) as log:
            await check(log)

    return lambda check: asyncio.run(opened_and_checked(check))


def test_a_backlog_leaves_turns_to_a_handler_that_waits(on_each_server):
    """The handler that waits is not last. How many turns each has, the unit tests of turns count."""
    done = {"backlog": 0, "waits": 0}

    @handler("backlog", on=["many"], start="oldest")
    async def backlog(event: Event[Raw], ctx: Context) -> None:
        done["backlog"] += 1

    @handler("waits", on=["few"], start="oldest")
    async def waits(event: Event[Raw], ctx: Context) -> None:
        for _ in range(4):
            await asyncio.sleep(0)
        done["waits"] += 1

    async def check(log: EventLog) -> None:
        await log.declare([declaration(backlog), declaration(waits)])
        await log.append([event("few", f"session:{n}", n=n) for n in range(200)])
        for first in range(0, 10_000, 250):
            await log.append([event("many", f"session:{n % 500}", n=n) for n in range(first, first + 250)])
        dispatcher = Dispatcher(log, "default", {h.name: Runtime(h, VERSION) for h in (backlog, waits)})
        working = asyncio.create_task(dispatcher.work())
        while done["waits"] < 200:
            await asyncio.sleep(0)
            assert done["backlog"] < 10_000, "the other handler came last"
        await dispatcher.stop()
        await working

    on_each_server(check)


def test_a_slow_handler_with_a_backlog_in_all_lanes_leaves_room_to_nineteen_others(with_16_lanes):
    """Its attempts wait, and in between they keep the loop busy. The others have a few events each."""
    done: Counter[str] = Counter()
    may_end = asyncio.Event()

    @handler("backlog", on=["many"], start="oldest")
    async def backlog(event: Event[Raw], ctx: Context) -> None:
        time.sleep(0.001)
        await may_end.wait()
        done["backlog"] += 1

    def few(number: int) -> Handler:
        @handler(f"few-{number}", on=["few"], start="oldest")
        async def handle(event: Event[Raw], ctx: Context) -> None:
            await asyncio.sleep(0)
            done["few"] += 1

        return handle

    handlers = [backlog, *(few(number) for number in range(19))]

    async def check(log: EventLog) -> None:
        await log.declare([declaration(h) for h in handlers])
        for first in range(0, 2_000, 250):
            await log.append([event("many", f"session:{n}", n=n) for n in range(first, first + 250)])
        dispatcher = Dispatcher(log, "default", {h.name: Runtime(h, VERSION) for h in handlers})
        working = asyncio.create_task(_work(dispatcher))
        await eventually(lambda: _is_busy(dispatcher))
        await log.append([event("few", f"session:{n}", n=n) for n in range(5)])
        await eventually(lambda: _is(done, "few", 19 * 5))
        assert done["backlog"] == 0, "none of its attempts has ended, and all others were handled"
        may_end.set()
        await dispatcher.stop()
        await working

    with_16_lanes(check)


async def _work(dispatcher: Dispatcher) -> None:
    while not dispatcher.stopping:
        await dispatcher.work()


async def _is(done: Counter[str], name: str, number: int) -> bool:
    return done[name] == number


async def _is_busy(dispatcher: Dispatcher) -> bool:
    return dispatcher.at_work


def test_handlers_that_run_one_event_at_a_time_take_turns(with_16_lanes):
    """As isolated handlers do: a place for one lane of one handler. The other one need not wait for 15 lanes."""
    begun: list[str] = []

    @handler("backlog", on=["many"], start="oldest")
    async def backlog(event: Event[Raw], ctx: Context) -> None:
        begun.append(event.key or "")
        await asyncio.sleep(0.01)

    @handler("waits", on=["few"], start="oldest")
    async def waits(event: Event[Raw], ctx: Context) -> None:
        begun.append("waits")

    async def check(log: EventLog) -> None:
        await log.declare([declaration(backlog), declaration(waits)])
        for first in range(0, 4_000, 250):
            await log.append([event("many", f"session:{n}", n=n) for n in range(first, first + 250)])
        runtimes = {h.name: Runtime(h, VERSION) for h in (backlog, waits)}
        dispatcher = Dispatcher(log, "default", runtimes, alone=True)
        working = asyncio.create_task(_work(dispatcher))
        await eventually(lambda: _has(begun, "session:"))
        await log.append([event("few", "session:1", n=1)])
        await eventually(lambda: _has(begun, "waits"), within_s=60)
        await dispatcher.stop()
        await working
        lanes = {log.lane_of(key, b"") for key in begun[: begun.index("waits")]}
        assert len(lanes) <= 3, f"it waited for {len(lanes)} lanes of the other handler"

    with_16_lanes(check)


async def _has(begun: list[str], name: str) -> bool:
    return any(name in one for one in begun)


def test_old_events_start_no_faster_than_the_bound_and_young_ones_at_once(with_lane):
    @handler("h", on=["*"], start="oldest")
    async def h(event: Event[Raw], ctx: Context) -> None:
        pass

    async def check(log: EventLog) -> None:
        await log.declare([declaration(h)])
        old = [event("t", f"session:{n}", n=n) for n in range(20)]
        await log.append([_received(each, now_ms() - OLD_MS) for each in old])
        # One in ten seconds, and the first at once: the second does not start while this test runs.
        dispatcher = Dispatcher(log, "default", {"h": Runtime(h, VERSION)}, catch_up_per_s=0.1)
        working = asyncio.create_task(_work(dispatcher))
        await eventually(lambda: _done(log, 1))
        await dispatcher.stop()
        await working
        found = await position(log, "h")
        assert found.stats["done"] == 1
        unbounded = Dispatcher(log, "default", {"h": Runtime(h, VERSION)})
        while await unbounded.work():
            pass
        assert await _done(log, 20)
        await log.append([event("t", f"session:{n}", n=100 + n) for n in range(20)])
        bounded = Dispatcher(log, "default", {"h": Runtime(h, VERSION)}, catch_up_per_s=0.1)
        while await bounded.work():
            pass
        assert await _done(log, 40)

    with_lane(check)


def _received(one: NewEvent, at_ms: int) -> NewEvent:
    return one._replace(received_at_ms=at_ms)


async def _done(log: EventLog, number: int) -> bool:
    return (await position(log, "h")).stats.get("done", 0) >= number
