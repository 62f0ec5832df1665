"""Dispatchers share the pairs of a backlog, in one process and on a real log: joining, leaving, keeping still."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from typing import NamedTuple

import pytest

from eventlog.lease import Lease, Settlement
from eventlog.log import EventLog
from eventlog.presence import present
from eventlog.schedule import recompute
from handlers import Context, Event, Raw, handler
from handlers.declaration import Handler
from tests.harness import PATIENCE_S, VERSION, declaration, event, eventually, opened, position
from workers.delivery.attempt import Runtime
from workers.drain.dispatcher import Dispatcher

BEATS = 3


def slow(
    name: str = "h", seen: list[tuple[str | None, int]] | None = None, *, takes_s: float = 0.02
) -> Handler:
    """A handler that waits a little, so that its backlog lasts."""

    @handler(name, on=["*"], start="oldest", concurrency=1)
    async def waits(event: Event[Raw], ctx: Context) -> None:
        if seen is not None:
            seen.append((event.key, event.payload.data["n"]))
        await asyncio.sleep(takes_s)

    return waits


@contextlib.asynccontextmanager
async def working(log: EventLog, *handlers: Handler, version: str = VERSION) -> AsyncIterator[Dispatcher]:
    """A dispatcher at work, as in a worker process; then a polite stop."""
    dispatcher = Dispatcher(log, "default", {each.name: Runtime(each, version) for each in handlers})

    async def work() -> None:
        while not dispatcher.stopping:
            await dispatcher.work()

    tasks = [asyncio.create_task(work()), asyncio.create_task(dispatcher.look_forever())]
    try:
        yield dispatcher
    finally:
        await dispatcher.stop()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def backlog(log: EventLog, *handlers: Handler, lanes: Sequence[int], each: int = 300) -> None:
    """Put so many events into each of these lanes."""
    await log.declare([declaration(item) for item in handlers])
    of_lane = {log.lane_of(f"session:{n}", b""): f"session:{n}" for n in range(500)}
    for lane in lanes:
        for first in range(0, each, 100):
            await log.append([event("t", of_lane[lane], n=n) for n in range(first, min(each, first + 100))])


async def held(log: EventLog, name: str = "h") -> dict[str, frozenset[int]]:
    """The lanes that each live process says it holds."""
    return {each.name: each.parts[name].held for each in await present(log) if name in each.parts}


async def counts(log: EventLog, name: str = "h") -> list[int]:
    return sorted((len(lanes) for lanes in (await held(log, name)).values()), reverse=True)


class Sharing(NamedTuple):
    """Which lanes each live process says it holds, and which of them it is giving back."""

    held: dict[str, frozenset[int]]
    ending: dict[str, frozenset[int]]

    def counts(self) -> list[int]:
        return sorted((len(lanes) for lanes in self.held.values()), reverse=True)


async def settles(log: EventLog, counts: list[int], name: str = "h") -> None:
    """Wait until the lanes are shared so, and nothing moves while each process beats a few times.

    A beat that is late on a busy machine moves a lane rightly, since others take over from a process that is
    silent. Then the count of beats begins again.
    """
    deadline_s = time.monotonic() + PATIENCE_S
    before: Sharing | None = None
    beaten: Counter[str] = Counter()
    ages: dict[str, int] = {}
    while not beaten or min(beaten.values()) < BEATS:
        assert time.monotonic() < deadline_s, f"it does not come to rest: {before}"
        there = [each for each in await present(log) if name in each.parts]
        now = Sharing(
            {each.name: each.parts[name].held for each in there},
            {each.name: each.parts[name].ending for each in there if each.parts[name].ending},
        )
        if now != before or now.ending or now.counts() != counts:
            before, beaten = now, Counter(dict.fromkeys(now.held, 0))
        for each in there:
            beaten[each.name] += each.age_ms < ages.get(each.name, 0)
            ages[each.name] = each.age_ms
        await asyncio.sleep(0.05)


@pytest.fixture
def on_lanes(valkey, prefix) -> Callable[..., None]:
    def run(check, lanes: int = 16) -> None:
        async def opened_and_checked() -> None:
            async with opened(valkey.url, prefix, lanes=lanes) as log:
                await check(log)

        asyncio.run(asyncio.wait_for(opened_and_checked(), 4 * PATIENCE_S))

    return run


def test_ten_processes_share_sixteen_lanes_and_then_nothing_moves(on_lanes):
    h = slow(takes_s=0.1)  # ten processes are busy for two minutes

    async def check(log: EventLog) -> None:
        await backlog(log, h, lanes=range(16), each=700)
        async with contextlib.AsyncExitStack() as running:
            await running.enter_async_context(working(log, h))
            await eventually(lambda: _is(counts(log), [16]))
            for _ in range(9):
                await running.enter_async_context(working(log, h))
            await settles(log, [2] * 6 + [1] * 4)

    on_lanes(check)


def test_an_odd_hot_pair_stays_where_it_is(on_lanes):
    h = slow(takes_s=0.1)

    async def check(log: EventLog) -> None:
        await backlog(log, h, lanes=range(3), each=400)
        async with working(log, h):
            await eventually(lambda: _is(counts(log), [3]))
            async with working(log, h):
                await settles(log, [2, 1])

    on_lanes(check, lanes=3)


def test_nothing_is_lost_doubled_or_overtaken_while_pairs_move(on_lanes):
    seen: list[tuple[str | None, int]] = []
    h = slow(seen=seen)

    async def check(log: EventLog) -> None:
        await backlog(log, h, lanes=range(8), each=50)
        async with working(log, h):
            await eventually(lambda: _is(counts(log), [8]))
            async with working(log, h):
                await eventually(lambda: _is(counts(log), [4, 4]))
            await eventually(lambda: _is(counts(log), [8]))
            await eventually(lambda: _settled(log, 8 * 50), within_s=60)
        assert len(seen) == len(set(seen)) == 8 * 50
        for key in {key for key, _ in seen}:
            numbers = [n for of, n in seen if of == key]
            assert numbers == sorted(numbers)

    on_lanes(check, lanes=8)


def test_two_images_share_only_what_both_serve(on_lanes):
    both, first, second = (slow(name, takes_s=0.1) for name in ("both", "first", "second"))

    async def check(log: EventLog) -> None:
        await backlog(log, both, first, second, lanes=range(4), each=300)
        async with working(log, both, first):
            await eventually(lambda: _is(counts(log, "first"), [4]))
            async with working(log, both, second):
                await settles(log, [2, 2], "both")
                await settles(log, [4], "second")
                await settles(log, [4], "first")

    on_lanes(check, lanes=4)


def test_a_process_whose_code_is_outdated_is_given_no_more(on_lanes):
    """Each event is one that only the newer code wants, so the older code can go on with none of the lanes."""
    new = slow(takes_s=0.1)

    @handler("h", on=["other"], start="oldest")
    async def old(event: Event[Raw], ctx: Context) -> None:
        raise AssertionError("the event is for newer code")

    async def check(log: EventLog) -> None:
        await log.declare([declaration(old, version="v0")])
        await backlog(log, new, lanes=range(4), each=300)
        async with working(log, old, version="v0"):
            await eventually(lambda: _any(log, lambda part: part.outdated))
            async with working(log, new):
                await settles(log, [4, 0])

    on_lanes(check, lanes=4)


def test_a_given_pair_is_for_a_process_below_its_share_for_a_second_and_then_for_any(on_lanes):
    h = slow()

    async def check(log: EventLog) -> None:
        await backlog(log, h, lanes=[0], each=1)
        lease = Lease(log, "h", 0, "default")
        await lease.take()
        await lease.step(Settlement(), mode="give")
        names = ["h"]
        assert await log.due("default", names, limit=9, room={"h": 0}) == []
        assert await log.due("default", names, limit=9, room={"h": 1}) == [("h", 0)]
        assert await log.due("default", names, limit=9) == [("h", 0)]
        await log.append([event("t", "session:0", n=1)])
        await recompute(log)
        assert await log.due("default", names, limit=9, room={"h": 0}) == [], "an event does not change that"
        await eventually(lambda: _is(log.due("default", names, limit=9, room={"h": 0}), [("h", 0)]))

    on_lanes(check, lanes=1)


async def _is(found, expected) -> bool:
    return await found == expected


async def _any(log: EventLog, holds) -> bool:
    return any(holds(part) for each in await present(log) for part in each.parts.values())


async def _settled(log: EventLog, number: int) -> bool:
    return (await position(log, "h")).stats.get("done", 0) >= number
