"""What a backlog may do to others: events of another handler in the same process, and the calls of old events."""

from __future__ import annotations

import asyncio

from eventlog.clock import now_ms
from eventlog.log import EventLog, NewEvent
from handlers import Context, Event, Raw, handler
from tests.harness import VERSION, declaration, event, eventually, position
from workers.delivery.attempt import Runtime
from workers.drain.dispatcher import Dispatcher
from workers.drain.pace import OLD_MS


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

        async def work() -> None:
            while not dispatcher.stopping:
                await dispatcher.work()

        working = asyncio.create_task(work())
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
