"""What can run does not stand still (I5): which pairs are due, and how a lost hint of them is found again."""

from __future__ import annotations

import asyncio

from eventlog.clock import now_ms
from eventlog.housekeeping import tick_forever
from eventlog.inspection.events import list_events
from eventlog.lease import TTL_S, Lease, Settlement
from eventlog.log import EventLog
from eventlog.operation.reopen import Again, reopen
from eventlog.record import OpenRecord
from eventlog.retention import Keep
from eventlog.rollback import RollbackWatch
from eventlog.schedule import recompute
from handlers import Context, Event, Raw, handler
from tests.harness import declaration, drained, event, eventually, taken


@handler("h", on=["*"], start="oldest")
async def h(event: Event[Raw], ctx: Context) -> None: ...


async def with_event(log: EventLog) -> None:
    await log.declare([declaration(h)])
    await log.append([event(n=1)])


def test_a_pair_at_work_is_offered_to_no_drain_until_its_lease_could_be_over(with_lane):
    async def check(log: EventLog) -> None:
        await with_event(log)
        assert await log.due("default", ["h"], limit=10) == [("h", 0)]
        await taken(log)

        async def is_for_its_drain_alone() -> None:
            assert await log.due("default", ["h"], limit=10) == []
            due_ms = await log.redis.zscore(log.key("due", "default"), "h|0")
            assert abs(due_ms - now_ms() - TTL_S * 1000) < 1000

        await is_for_its_drain_alone()
        await log.redis.zadd(log.key("due", "default"), {"h|0": 1})  # by code that does not know of the lease
        assert await Lease(log, "h", 0, "default").take() is None
        await is_for_its_drain_alone()

    with_lane(check)


def test_a_drain_does_not_fall_asleep_over_what_was_put_into_open_meanwhile(with_lane):
    """What is put there from outside has no time of its own, so nothing else would wake the pair."""

    async def check(log: EventLog) -> None:
        await with_event(log)
        await drained(log, h)
        lease, start = await taken(log)
        (first,) = await list_events(log)
        assert await reopen(log, "h", 0, [Again(OpenRecord(first, "replay", replayed=True))]) == ["put"]
        read = await lease.step(Settlement(), mode="sleep", after=start.cur, count=10)
        assert (read.asleep, read.changed) == (False, True)
        await lease.step(Settlement(), mode="release", after=start.cur)
        assert await log.due("default", ["h"], limit=10) == [("h", 0)]

    with_lane(check)


def test_a_drain_does_not_fall_asleep_over_a_retry_that_is_due(with_lane):
    async def check(log: EventLog) -> None:
        await with_event(log)
        lease, start = await taken(log)
        read = await lease.step(Settlement(), after=start.cur, count=10)
        put = OpenRecord(read.events[0], "retry", due_ms=1, attempts=1)
        settled = Settlement(cur=read.scanned, puts=[put])
        assert not (await lease.step(settled, mode="sleep", after=read.scanned, count=10)).asleep

    with_lane(check)


def test_a_pair_of_which_only_the_retries_are_left_is_found_again(with_lane):
    """Its cursor is at the end, so `open` alone shows that there is something to do."""

    async def check(log: EventLog) -> None:
        await with_event(log)
        lease, start = await taken(log)
        read = await lease.step(Settlement(), after=start.cur, count=10)
        put = OpenRecord(read.events[0], "retry", due_ms=1, attempts=1)
        await lease.step(Settlement(cur=read.scanned, puts=[put]), mode="release", after=read.scanned)
        await log.redis.delete(log.key("due", "default"))
        assert await recompute(log) == 1
        assert await log.due("default", ["h"], limit=10) == [("h", 0)]

    with_lane(check)


def test_hints_that_a_restart_of_redis_lost_are_found_again_at_once(with_lane, monkeypatch):
    """Not only with the next round of a minute."""
    process = "before"

    async def look(watch: RollbackWatch) -> str:
        return process

    monkeypatch.setattr(RollbackWatch, "look", look)

    class Waker:
        def wake(self, queues: list[str]) -> None: ...

    async def check(log: EventLog) -> None:
        nonlocal process
        await with_event(log)

        async def is_due() -> bool:
            return await log.redis.zscore(log.key("due", "default"), "h|0") is not None

        stop = asyncio.Event()
        ticking = asyncio.create_task(tick_forever(log, Waker(), stop, Keep()))
        try:
            await eventually(is_due)
            process = "after"
            await log.redis.delete(log.key("due", "default"))
            await eventually(is_due, within_s=20)
        finally:
            stop.set()
            await ticking

    with_lane(check)
