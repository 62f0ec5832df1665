"""Which pairs a process works on, and when it stops: on a log in memory that is always due."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import weakref
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

import structlog
from redis.exceptions import ConnectionError as RedisAway
from structlog.testing import capture_logs

from eventlog.log import EventLog
from handlers import Context, Event, Raw, SyncContext, handler
from handlers.declaration import Handler
from workers.delivery.attempt import Runtime
from workers.delivery.attempt_lines import AttemptLines
from workers.drain.dispatcher import Dispatcher
from workers.drain.place_rotation import MAX_DRAINS, SLICE_S

VERSION = "v1"
Pair = tuple[str, int]


class FakeLog:
    """One event in each lane of each handler; every pair is always due, and no other process takes a lease.

    Attributes:
        asked: how often it was asked for due pairs.
        taken: how often each pair was taken.
        settled: ids of settled events by pair.
        ended: how each drain gave its lease back.
        newest: version of the handlers' newest declaration.
        away: calls fail.
        lost: another process has each lease.

    Args:
        ends: a read that finds the event says that nothing comes after it.
    """

    prefix = "fake:"

    def __init__(self, *pairs: Pair, type: str = "t", newest: str = VERSION, ends: bool = False) -> None:
        self.pairs = list(pairs)
        self.asked = 0
        self.taken: Counter[Pair] = Counter()
        self.settled: dict[Pair, str] = {}
        self.ended: list[tuple[Pair, str]] = []
        self.newest = newest
        self.away = self.lost = False
        self.scripts = self.channel = self
        self._type = type
        self._ends = ends

    def lane_of(self, key: str | None, digest: bytes) -> int:
        return 0

    async def awake(self, queue: str) -> None:
        pass

    async def due(self, queue: str, handlers: Sequence[str], *, limit: int, room: object) -> list[Pair]:
        self.asked += 1
        if self.away:
            raise RedisAway
        return self.pairs[:limit]

    async def _take(self, args: Sequence[Any]) -> list[Any]:
        _, name, lane, *_ = args
        self.taken[name, lane] += 1
        return [b"taken", b"0-0", b"0-0", self.newest.encode(), [], [], b"*", 0, -1, 0]

    take, step = "take", "step"

    async def call(self, script: str, arguments: Sequence[Any]) -> list[Any]:
        if script == self.take:
            return await self._take(arguments)
        if self.lost:
            return [b"lost"]
        _, name, lane, _, _, _, _, mode, cur, after, count, *_ = arguments
        self.settled[name, lane] = cur
        found = bool(count) and after == "0-0"
        if mode != "work" and not (mode == "sleep" and found):
            self.ended.append(((name, lane), mode))
            return [b"asleep"]
        event = (
            b"v",
            b"1",
            b"t",
            self._type.encode(),
            b"k",
            b"",
            b"b",
            b"{}",
            b"r",
            b"1",
            b"s",
            b"",
            b"m",
            b"",
        )
        scanned = b"1-0" if count else after.encode()
        exhausted = int(self._ends or not found)
        return [b"ok", scanned, exhausted, [(b"1-0", event)] * found, self.newest.encode(), 0, 0, b"", b""]


class Blocked:
    """A handler whose attempts wait until they may end."""

    def __init__(self, name: str = "h", **options: Any) -> None:
        self.running = 0
        self.may_end = asyncio.Event()

        @handler(name, on=["*"], concurrency=1_000, **options)
        async def blocked(event: Event[Raw], ctx: Context) -> None:
            self.running += 1
            await self.may_end.wait()

        self.handler: Handler = blocked


def dispatcher(log: FakeLog, *handlers: Handler, **options: Any) -> Dispatcher:
    runtimes = {each.name: Runtime(each, VERSION) for each in handlers}
    return Dispatcher(cast("EventLog", log), "default", runtimes, **options)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():
            await asyncio.sleep(0)


def check(work: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(work(), 60))  # type: ignore[arg-type]


def working(each: Dispatcher) -> asyncio.Task[bool]:
    return asyncio.create_task(each.work())


async def asked_again(log: FakeLog, times: int = 3) -> None:
    """The dispatcher has had its chance to take what is due."""
    before = log.asked
    await until(lambda: log.asked >= before + times)


async def stopped(each: Dispatcher, blocked: Blocked, job: asyncio.Task[bool]) -> None:
    blocked.may_end.set()
    await each.stop()
    await job


def test_takes_due_pairs_up_to_its_room():
    async def work() -> None:
        h = Blocked()
        log = FakeLog(*(("h", lane) for lane in range(MAX_DRAINS + 3)))
        d = dispatcher(log, h.handler)
        job = working(d)
        await until(lambda: h.running == MAX_DRAINS)
        await asked_again(log)
        assert len(log.taken) == MAX_DRAINS
        await stopped(d, h, job)

    check(work)


def test_alone_it_works_on_one_pair():
    async def work() -> None:
        h = Blocked()
        log = FakeLog(("h", 0), ("h", 1))
        d = dispatcher(log, h.handler, alone=True)
        job = working(d)
        await until(lambda: h.running == 1)
        await asked_again(log)
        assert sum(log.taken.values()) == 1
        await stopped(d, h, job)

    check(work)


def test_takes_no_pair_that_it_works_on_already():
    async def work() -> None:
        h = Blocked()
        log = FakeLog(("h", 0), ("h", 1))
        d = dispatcher(log, h.handler)
        job = working(d)
        await until(lambda: h.running == 2)
        await asked_again(log)
        assert log.taken == {("h", 0): 1, ("h", 1): 1}
        await stopped(d, h, job)

    check(work)


def test_takes_a_pair_again_when_its_drain_has_ended():
    async def work() -> None:
        h = Blocked()
        h.may_end.set()
        log = FakeLog(("h", 0))
        d = dispatcher(log, h.handler)
        job = working(d)
        await until(lambda: log.taken["h", 0] == 3)
        await stopped(d, h, job)
        assert log.ended[0] == (("h", 0), "sleep")

    check(work)


@handler("old", on=["u"])
async def old(event: Event[Raw], ctx: Context) -> None:
    raise AssertionError("the event is for newer code")


def test_leaves_a_pair_alone_that_only_newer_code_may_settle():
    """The other pair shows that it goes on with those it may settle."""

    async def work() -> None:
        h = Blocked()
        h.may_end.set()
        log = FakeLog(("old", 0), ("h", 0), newest="v2")
        d = dispatcher(log, old, h.handler)
        job = working(d)
        await until(lambda: log.taken["h", 0] == 5)
        assert log.taken["old", 0] == 1
        assert log.settled["old", 0] == "0-0"
        await stopped(d, h, job)

    check(work)


def test_hands_a_pair_over_at_once_whose_last_event_only_newer_code_may_settle():
    """The other pair is taken and given back 20 times in a second, and shows how little happens until then."""

    async def work() -> None:
        h = Blocked()
        h.may_end.set()
        log = FakeLog(("old", 0), ("h", 0), newest="v2", ends=True)
        d = dispatcher(log, old, h.handler)
        job = working(d)
        await until(lambda: log.taken["h", 0] == 20)
        assert (("old", 0), "release") in log.ended
        await stopped(d, h, job)

    check(work)


def test_leaves_a_lane_alone_where_a_thread_still_works_on_an_event():
    async def work() -> None:
        h = Blocked()
        log = FakeLog(("h", 0), ("h", 1))
        runtime = Runtime(h.handler, VERSION)
        runtime.lanes_in_threads[0] = 1
        d = Dispatcher(cast("EventLog", log), "default", {"h": runtime})
        job = working(d)
        await until(lambda: h.running == 1)
        await asked_again(log)
        assert set(log.taken) == {("h", 1)}
        runtime.lanes_in_threads.subtract((0,))
        await until(lambda: h.running == 2)
        await stopped(d, h, job)

    check(work)


def test_a_drain_gives_its_place_to_one_that_waits_for_it():
    async def work() -> None:
        h = Blocked()
        log = FakeLog(("h", 0), ("h", 1))
        d = dispatcher(log, h.handler, alone=True)
        job = working(d)
        await until(lambda: h.running == 1)
        [(drain, _)] = d._drains.values()
        drain.started_s -= SLICE_S
        h.may_end.set()
        await until(lambda: len(log.ended) > 0)
        assert log.ended[0][1] == "release", "it did not wait until it had nothing left to do"
        await stopped(d, h, job)

    check(work)


def test_a_drain_keeps_its_place_when_no_other_pair_waits():
    async def work() -> None:
        h = Blocked()
        log = FakeLog(("h", 0))
        d = dispatcher(log, h.handler, alone=True)
        job = working(d)
        await until(lambda: h.running == 1)
        [(drain, _)] = d._drains.values()
        drain.started_s -= SLICE_S
        await asked_again(log)
        h.may_end.set()
        await until(lambda: len(log.ended) > 0)
        assert log.ended[0][1] == "sleep"
        await stopped(d, h, job)

    check(work)


def test_a_polite_stop_lets_attempts_finish_and_hands_back_their_leases():
    async def work() -> None:
        h = Blocked()
        log = FakeLog(("h", 0), ("h", 1))
        d = dispatcher(log, h.handler)
        job = working(d)
        await until(lambda: h.running == 2)
        stop = asyncio.create_task(d.stop())
        assert await job is False
        assert not stop.done()
        assert log.ended == []
        h.may_end.set()
        await stop
        assert sorted(log.ended) == [(("h", 0), "release"), (("h", 1), "release")]
        assert log.settled == {("h", 0): "1-0", ("h", 1): "1-0"}
        assert await d.work() is False
        assert sum(log.taken.values()) == 2

    check(work)


def test_starts_nothing_more_once_a_thread_outlives_its_time():
    may_return = threading.Event()

    @handler("stuck", on=["*"], timeout_s=0.01)
    def stuck(event: Event[Raw], ctx: SyncContext) -> None:
        may_return.wait(10)

    async def work() -> None:
        h = Blocked()
        log = FakeLog(("stuck", 0))
        d = dispatcher(log, stuck, h.handler)
        job = working(d)
        with capture_logs() as logs:
            await asyncio.wait_for(d.recycling.wait(), 60)
        (line,) = (line for line in logs if line["log_level"] == "error")
        assert (line["event"], line["handler"], line["event_id"]) == ("worker.recycling", "stuck", "0-1-0")
        assert line["where"].startswith(f"{__file__}:")
        assert line["where"].endswith(" in stuck")
        assert await job is True, "there is work left for another process"
        log.pairs.append(("h", 0))
        await d.work()
        await d._start_due()  # as without a wake-up
        assert set(d._drains) == {("stuck", 0)}
        may_return.set()
        await stopped(d, h, working(d))

    check(work)


def test_goes_on_when_redis_comes_back_and_says_once_that_it_was_away():
    async def work() -> None:
        h = Blocked()
        log = FakeLog(("h", 0))
        log.away = True
        d = dispatcher(log, h.handler)
        with capture_logs() as logs:
            job = working(d)
            await asked_again(log, 2)
            log.away = False
            await until(lambda: h.running == 1)
            await stopped(d, h, job)
        assert [line["event"] for line in logs].count("redis.unreachable") == 1

    check(work)


def test_ends_when_nothing_is_due():
    async def work() -> None:
        log = FakeLog()
        assert await dispatcher(log, Blocked().handler).work() is False
        assert not log.taken

    check(work)


def test_takes_what_becomes_due_just_after_it_found_nothing(monkeypatch):
    monkeypatch.setattr("workers.drain.dispatcher.IDLE_S", 10.0)  # a loaded machine may be slow to go on

    async def work() -> None:
        h = Blocked()
        log = FakeLog()
        d = dispatcher(log, h.handler)
        job = working(d)
        await asked_again(log)
        log.pairs.append(("h", 0))
        await until(lambda: h.running == 1)
        await stopped(d, h, job)

    check(work)


def test_the_line_about_a_lost_lease_keeps_nothing_of_its_drain(monkeypatch):
    bound = structlog.wrap_logger(None, wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))
    monkeypatch.setattr("workers.drain.dispatcher.AttemptLines", lambda: AttemptLines(bound.bind()))

    async def work() -> None:
        log = FakeLog(("h", 0))
        log.lost = True
        d = dispatcher(log, Blocked().handler)
        with capture_logs() as logs:
            job = working(d)
            await until(lambda: bool(d._drains))
            drain = weakref.ref(d._drains["h", 0][0])
            log.pairs.clear()
            await until(lambda: not d._drains)
            assert await job is False
        assert "lease.lost" in {line["event"] for line in logs}
        gc.collect()
        assert drain() is None

    check(work)
