"""What a stopped or killed drain leaves behind, the next one takes up: once, in order, with its counts."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import Any

import pytest
import structlog

from eventlog.lease import Lease, Settlement
from eventlog.log import EventLog
from eventlog.record import OpenRecord
from handlers import Context, Event, Raw, Retry, SyncContext, handler
from tests.harness import VERSION, at_work, declaration, drained, event, eventually, position
from workers.delivery.attempt import Runtime
from workers.drain.dispatcher import Dispatcher


async def lost(log: EventLog, name: str) -> None:
    """The lease of a holder that is no more has run out."""
    await log.redis.delete(log.key("lease", name, 0))
    await log.redis.zadd(log.key("due", "default"), {f"{name}|0": 0})


async def died(dispatcher: Dispatcher) -> None:
    """As after kill -9: everything stops where it is and nothing more is written."""

    async def never(*_: Any, **__: Any) -> None:
        await asyncio.Event().wait()

    dispatcher.stopping = True
    tasks = [task for _, task in dispatcher._drains.values()]
    for drain, task in list(dispatcher._drains.values()):
        drain._hand_back = drain.lease.step = never  # type: ignore[method-assign, assignment]
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def test_an_open_event_beyond_the_cursor_is_taken_up_once(with_lane):
    """Stopped while the head of the lane is at work and a retry waits behind it."""
    ran: list[tuple[str, int]] = []
    started = asyncio.Event()

    @handler("h", on=["*"], timeout_s=5)
    async def h(event: Event[Raw], ctx: Context) -> None:
        name = event.payload.data["name"]
        ran.append((name, ctx.attempt))
        if name == "a1":
            started.set()
            await asyncio.sleep(0.2)
        if name == "b1" and ctx.attempt == 1:
            raise Retry("later", after_s=0.4)

    async def check(log: EventLog) -> None:
        await log.declare([declaration(h)])
        names = ("a1", "a2", "b1", "b2")
        await log.append([event(key=f"session:{name[0]}", name=name) for name in names])

        async def b1_waits() -> bool:
            return ("b1", 1) in ran

        async with at_work(log, h):
            await started.wait()
            await eventually(b1_waits)
        await drained(log, h, until=lambda: ("b2", 1) in ran)
        assert sorted(ran) == [("a1", 1), ("a2", 1), ("b1", 1), ("b1", 2), ("b2", 1)]
        assert ran.index(("b1", 2)) < ran.index(("b2", 1))
        found = await position(log, "h")
        assert (found.stats["done"], found.open, found.waiting) == (4, 0, 0)

    with_lane(check)


def test_what_was_settled_ahead_of_the_cursor_never_runs_again(with_lane):
    ran: list[tuple[str, int]] = []
    slow_may_end = False

    @handler("h", on=["*"], timeout_s=5)
    async def h(event: Event[Raw], ctx: Context) -> None:
        name = event.payload.data["name"]
        ran.append((name, ctx.attempt))
        if name == "slow" and not slow_may_end:
            await asyncio.sleep(60)
        if name == "b1" and ctx.attempt == 1:
            raise Retry("later", after_s=0.02)

    async def check(log: EventLog) -> None:
        nonlocal slow_may_end
        await log.declare([declaration(h)])
        names = ("slow", "b1", "b2")
        await log.append([event(key=f"session:{name[0]}", name=name) for name in names])

        async def two_done() -> bool:
            return (await position(log, "h")).stats.get("done", 0) == 2

        async with at_work(log, h) as dispatcher:
            await eventually(two_done, every_s=0.005)
            await died(dispatcher)
        slow_may_end = True
        await lost(log, "h")
        await drained(log, h)
        assert ran == [("slow", 1), ("b1", 1), ("b1", 2), ("b2", 1), ("slow", 1)]
        assert (await position(log, "h")).stats["done"] == 3

    with_lane(check)


def test_many_due_retries_do_not_keep_a_takeover_from_reading_what_was_handed_out(with_lane):
    ran: set[int] = set()

    @handler("h", on=["*"], timeout_s=5)
    async def h(event: Event[Raw], ctx: Context) -> None:
        ran.add(event.payload.data["n"])

    async def check(log: EventLog) -> None:
        await log.declare([declaration(h)])
        await log.append([event(key=f"session:{n}", n=n) for n in range(90)])
        dead = Lease(log, "h", 0, "default")
        start = await dead.take()
        assert start is not None
        read = await dead.step(Settlement(), after=start.cur, count=20)
        retries = [OpenRecord(e, "retry", due_ms=1, attempts=1) for e in read.events]
        await dead.step(Settlement(cur=read.scanned, puts=retries), after=read.scanned, count=60)
        await lost(log, "h")
        await drained(log, h)
        assert ran == set(range(90))

    with_lane(check)


def test_code_that_became_old_while_it_works_leaves_new_types_to_the_new(with_lane):
    ran: list[tuple[str, str]] = []

    @handler("h", on=["old.type"], timeout_s=5)
    async def old(event: Event[Raw], ctx: Context) -> None:
        ran.append(("old code", event.type))
        await asyncio.sleep(0.3)

    @handler("h", on=["old.type", "new.type"], timeout_s=5)
    async def new(event: Event[Raw], ctx: Context) -> None:
        ran.append(("new code", event.type))

    async def check(log: EventLog) -> None:
        await log.declare([declaration(old)])
        await log.append([event("old.type", n=1)])

        async def old_runs() -> bool:
            return bool(ran)

        async with at_work(log, old):
            await eventually(old_runs, every_s=0.002)
            await asyncio.sleep(0.002)
            await log.declare([declaration(new, version="v2")])
            await log.append([event("new.type", key="session:2", n=2)])

            async def old_is_done() -> bool:
                return (await position(log, "h")).stats.get("done", 0) == 1

            await eventually(old_is_done)
        dispatcher = Dispatcher(log, "default", {"h": Runtime(new, "v2")})
        while await dispatcher.work():
            pass
        await dispatcher.stop()
        assert ran == [("old code", "old.type"), ("new code", "new.type")]
        assert "skipped" not in (await position(log, "h")).stats

    with_lane(check)


def test_an_attempt_that_survives_alone_clears_the_crash_count(with_lane):
    async def check(log: EventLog) -> None:
        crashes = []

        @handler("h", on=["*"], timeout_s=5)
        async def h(event: Event[Raw], ctx: Context) -> None:
            raise Retry("too early", after_s=3600, counts=False)

        await log.declare([declaration(h)])
        await log.append([event()])
        for _ in range(4):
            dead = Lease(log, "h", 0, "default")
            start = await dead.take()
            assert start is not None
            if start.open:
                crashes.append(start.open[0].crashes)
                put = OpenRecord(start.open[0].event, "running", crashes=start.open[0].crashes)
                await dead.step(Settlement(puts=[put]))
            else:
                await dead.step(Settlement(), after=start.cur, count=10)
            await lost(log, "h")
            await drained(log, h)
        assert crashes == [0, 0, 0]
        assert (await position(log, "h")).dead == 0

    with_lane(check)


def test_a_handler_that_answers_its_own_time_out_harms_nobody_after_it(with_lane):
    ran: list[int] = []

    @handler("h", on=["*"], timeout_s=0.1, max_attempts=1, concurrency=1)
    async def h(event: Event[Raw], ctx: Context) -> None:
        ran.append(event.payload.data["n"])
        if event.payload.data["n"] == 0:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(60)
        elif event.payload.data["n"] == 1:
            await asyncio.sleep(60)

    async def check(log: EventLog) -> None:
        await log.declare([declaration(h)])
        await log.append([event(key=f"session:{n}", n=n) for n in range(3)])
        await drained(log, h)
        assert ran == [0, 1, 2]
        found = await position(log, "h")
        assert (found.stats["done"], found.stats["dead"], found.open, found.waiting) == (2, 1, 0, 0)

    with_lane(check)


def test_a_thread_that_never_returns_is_an_attempt_and_asks_for_a_new_process(with_lane):
    release = threading.Event()

    @handler("h", on=["*"], timeout_s=0.1, max_attempts=1)
    def h(event: Event[Raw], ctx: SyncContext) -> None:
        release.wait(60)

    async def check(log: EventLog) -> None:
        await log.declare([declaration(h)])
        await log.append([event()])
        dispatcher = Dispatcher(log, "default", {"h": Runtime(h, VERSION)})
        dispatcher._grace_s = 0.2
        working = asyncio.create_task(dispatcher.work())
        await asyncio.wait_for(dispatcher.recycling.wait(), 60)
        await dispatcher.stop()
        await working
        release.set()
        found = await position(log, "h")
        assert (found.dead, found.open) == (1, 0)

    with_lane(check)


def test_an_attempt_that_ends_while_it_is_abandoned_ends_once(with_lane, monkeypatch):
    monkeypatch.setattr("workers.delivery.timeouts._CANCEL_S", 0.1)

    @handler("h", on=["*"], timeout_s=0.1)
    async def h(event: Event[Raw], ctx: Context) -> None:
        for _ in range(2):  # its time limit, then the end of the grace time
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(60)

    async def check(log: EventLog) -> None:
        await log.declare([declaration(h)])
        await log.append([event()])
        dispatcher = Dispatcher(log, "default", {"h": Runtime(h, VERSION)})
        dispatcher._grace_s = 0.1
        working = asyncio.create_task(dispatcher.work())
        await asyncio.wait_for(dispatcher.recycling.wait(), 60)
        await dispatcher.stop()
        await working
        found = await position(log, "h")
        assert (found.stats, found.open, found.waiting) == ({**found.stats, "done": 1}, 0, 0)
        assert "retried" not in found.stats

    with_lane(check)


async def cancels_itself() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(60)


async def is_cancelled_after_a_group_failed() -> None:
    """Until Python 3.13 a group that fails may leave its task cancelled once, so that the next looks like ours."""

    async def fails() -> None:
        raise KeyError

    with contextlib.suppress(ExceptionGroup):
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(60))
            group.create_task(fails())
    raise asyncio.CancelledError


@pytest.mark.parametrize("ends", [cancels_itself, is_cancelled_after_a_group_failed])
def test_a_handler_that_cancels_its_own_task_has_failed_and_holds_up_nobody(with_lane, ends):
    ran: list[int] = []

    @handler("h", on=["*"], max_attempts=1, concurrency=1)
    async def h(event: Event[Raw], ctx: Context) -> None:
        ran.append(event.payload.data["n"])
        if event.payload.data["n"] == 0:
            await ends()

    async def check(log: EventLog) -> None:
        await log.declare([declaration(h)])
        await log.append([event(n=n) for n in range(3)])
        await drained(log, h)
        assert ran == [0, 1, 2]
        found = await position(log, "h")
        assert (found.dead, found.stats["done"], found.open) == (1, 2, 0)
        ((_, letter),) = await log.redis.xrange(log.key("dead", "h"))
        lines = letter[b"trace"].decode().splitlines()
        assert lines[0] == "HandlerEnded"
        assert any(
            line.startswith(f"{__file__}:") and line.endswith(f" in {ends.__name__}") for line in lines
        )

    with_lane(check)


@pytest.mark.parametrize("raises", [StopIteration, GeneratorExit, KeyboardInterrupt])
def test_whatever_a_plain_function_raises_ends_its_attempt_and_nothing_else(with_lane, raises):
    ran: list[int] = []

    @handler("h", on=["*"], timeout_s=5, max_attempts=1)
    def h(event: Event[Raw], ctx: SyncContext) -> None:
        ran.append(event.payload.data["n"])
        if event.payload.data["n"] == 0:
            raise raises

    async def check(log: EventLog) -> None:
        await log.declare([declaration(h)])
        await log.append([event(n=0), event(n=1)])
        await drained(log, h)
        assert ran == [0, 1]
        found = await position(log, "h")
        assert (found.dead, found.stats["done"]) == (1, 1)

    with_lane(check)


def test_old_code_that_takes_over_leaves_to_the_new_what_it_did_not_read(with_lane):
    """New code died at work on a type that old code does not know; behind it something was settled already."""
    ran: list[tuple[str, int]] = []

    async def record(event: Event[Raw], ctx: Context) -> None:
        ran.append((event.payload.data["name"], ctx.attempt))

    old = handler("h", on=["old.type"], timeout_s=5)(record)
    new = handler("h", on=["old.type", "new.type"], timeout_s=5)(record)

    async def check(log: EventLog) -> None:
        await log.declare([declaration(old, version="v1")])
        await asyncio.sleep(0.002)
        await log.declare([declaration(new, version="v2")])
        await log.append([event("new.type", "session:a", name="a")])
        await log.append([event("old.type", "session:b", name=name) for name in ("b1", "b2")])
        dead = Lease(log, "h", 0, "default")
        start = await dead.take()
        assert start is not None
        read = await dead.step(Settlement(), after=start.cur, count=3)
        await dead.step(Settlement(ahead=[settled.stream_id for settled in read.events[1:]]))
        for code, version in ((old, "v1"), (new, "v2")):
            await lost(log, "h")
            await drained(log, code, version=version)
        assert ran == [("a", 1)]
        assert await log.redis.scard(log.key("ahead", "h", 0)) == 0

    with_lane(check)


def test_the_suspects_of_new_code_are_still_suspects_after_old_code_looked_at_them(with_lane):
    async def never(event: Event[Raw], ctx: Context) -> None:
        raise AssertionError("it killed two workers")

    old = handler("h", on=["old.type"], timeout_s=5)(never)
    new = handler("h", on=["old.type", "new.type"], timeout_s=5)(never)

    async def check(log: EventLog) -> None:
        await log.declare([declaration(old, version="v1")])
        await asyncio.sleep(0.002)
        await log.declare([declaration(new, version="v2")])
        await log.append([event("new.type", "session:a", name="a")])
        dead = Lease(log, "h", 0, "default")
        start = await dead.take()
        assert start is not None
        await dead.step(Settlement(), after=start.cur, count=1)
        await lost(log, "h")
        await drained(log, old, version="v1")
        taken = await Lease(log, "h", 0, "default").take()
        assert taken is not None
        assert (taken.cur, taken.runto > taken.cur) == (start.cur, True)

    with_lane(check)


def test_a_takeover_that_dies_while_it_reads_forgets_nothing_of_what_was_handed_out(with_lane):
    """Two deaths in a row: the second one in the middle of reading again what the first was given."""
    ran: list[int] = []

    @handler("h", on=["*"], timeout_s=5)
    async def record(event: Event[Raw], ctx: Context) -> None:
        ran.append(event.payload.data["n"])

    async def check(log: EventLog) -> None:
        await log.declare([declaration(record)])
        for begin in (0, 150):  # more than one page of a takeover
            await log.append([event("x", f"session:{n}", n=n) for n in range(begin, begin + 150)])
        first = Lease(log, "h", 0, "default")
        start = await first.take()
        assert start is not None
        read = await first.step(Settlement(), after=start.cur, count=300)
        await first.step(Settlement(ahead=[settled.stream_id for settled in read.events[290:]]))
        await lost(log, "h")
        second = Lease(log, "h", 0, "default")
        again = await second.take()
        assert again is not None
        await second.step(Settlement(), after=again.cur, count=2)
        await lost(log, "h")
        await drained(log, record)
        assert sorted(ran) == list(range(290))

    with_lane(check)


def test_few_events_of_a_slow_handler_are_suspect_after_a_death(with_lane):
    """Suspects run one at a time, so reading far ahead of a slow handler would cost minutes."""
    done = 0

    @handler("h", on=["*"], timeout_s=5, concurrency=4)
    async def slow(event: Event[Raw], ctx: Context) -> None:
        nonlocal done
        await asyncio.sleep(0.25)
        done += 1

    async def check(log: EventLog) -> None:
        await log.declare([declaration(slow)])
        await log.append([event("x", f"session:{n}", n=n) for n in range(100)])

        async def some_are_done() -> bool:
            return done >= 16

        async with at_work(log, slow) as dispatcher:
            await eventually(some_are_done)
            await died(dispatcher)
        await lost(log, "h")
        with structlog.testing.capture_logs() as lines:
            await drained(log, slow)
        suspected = [line for line in lines if line["event"] == "delivery.suspected"]
        assert 1 <= len(suspected) <= 16  # of 84
        assert (await position(log, "h")).stats["done"] == 100

    with_lane(check)


@pytest.mark.parametrize("waiting", [1, 2], ids=["a retry", "a retry and one that is parked behind it"])
def test_an_open_event_that_only_newer_code_wants_waits_for_it(with_lane, waiting):
    """Of a rolling deploy that widens what a handler wants: older code may take the lane, and skips nothing."""
    retried: list[str] = []

    @handler("h", on=["t"])
    async def older(event: Event[Raw], ctx: Context) -> None:
        raise AssertionError("no event is for older code")

    @handler("h", on=["t", "wider"])
    async def newer(event: Event[Raw], ctx: Context) -> None:
        retried.append(event.type)
        if len(retried) == 1:
            raise Retry("not yet", after_s=0.3)

    async def check(log: EventLog) -> None:
        await log.declare([declaration(older, version="v0")])
        await log.declare([declaration(newer)])
        await log.append([event("wider", "session:1", n=n) for n in range(waiting)])

        async def is_open() -> bool:
            return (await position(log, "h")).open == waiting

        async with at_work(log, newer):
            await eventually(is_open)
        old = Dispatcher(log, "default", {"h": Runtime(older, "v0")})

        async def all_done() -> bool:
            return (await position(log, "h")).stats.get("done", 0) == waiting

        async def is_left() -> bool:
            await old.work()
            assert (await position(log, "h")).open == waiting
            return bool(old._avoid)

        await eventually(is_left)
        await old.stop()
        async with at_work(log, newer):
            await eventually(all_done)
        assert retried == ["wider"] * (waiting + 1)

    with_lane(check)
