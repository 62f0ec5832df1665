"""`throttle=`: at most so many events done for each key within a time, also across deaths and lost replies."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisGone

from eventlog.clock import now_ms
from eventlog.errors import LeaseLost
from eventlog.inspection.explain import explain
from eventlog.lease import Lease
from eventlog.log import EventLog
from eventlog.operation.handlers import rename, retire
from eventlog.throttle import Limit, Slot, ThrottleSlots
from handlers import Context, Event, Raw, Skip, Throttle, handler
from handlers.testing.clock import Clock
from handlers.testing.throttle import MemorySlots
from tests.harness import at_work, declaration, drained, event, eventually, opened, position
from tests.integration.test_drain_takeover import died, lost

HOUR = Limit(1, 3_600_000)


@handler("h", on=["*"], throttle="1/h")
async def plain(event: Event[Raw], ctx: Context) -> None: ...


async def ends(log: EventLog) -> tuple[int, ...]:
    stats = (await position(log, "h")).stats
    return tuple(stats.get(kind, 0) for kind in ("done", "skipped", "retried", "dead"))


@contextlib.asynccontextmanager
async def leased(log: EventLog) -> Any:
    """The slots of `h` under a lease of its own."""
    await log.declare([declaration(plain)])
    lease = Lease(log, "h", 0, "default")
    assert await lease.take() is not None
    yield ThrottleSlots(log, lease)


def test_what_is_over_the_limit_is_skipped_for_each_key_by_itself(with_lane):
    ran: list[str | None] = []

    @handler("h", on=["*"], throttle="2/h")
    async def h(event: Event[Raw], ctx: Context) -> None:
        ran.append(event.key)

    async def check(log: EventLog) -> None:
        await log.declare([declaration(h)])
        await log.append([event(key=f"session:{n % 2}", n=n) for n in range(8)])
        await drained(log, h)
        assert sorted(map(str, ran)) == ["session:0", "session:0", "session:1", "session:1"]
        assert await ends(log) == (4, 4, 0, 0)
        found = await explain(log, "session:1", handler="h", now_ms=now_ms())
        fates = [(fate.state, fate.why) for story in found.stories for fate in story.fates]
        assert sorted(fates) == [("done", "")] * 2 + [("skipped", "throttled")] * 2

    with_lane(check)


def test_only_attempts_that_end_as_done_count(with_lane):
    ran: list[int] = []

    @handler("h", on=["*"], throttle="1/h")
    async def h(event: Event[Raw], ctx: Context) -> None:
        n = event.payload.data["n"]
        ran.append(n)
        if n == 0:
            raise Skip("not this one")
        if n == 1 and ctx.attempt == 1:
            raise ValueError

    async def check(log: EventLog) -> None:
        await log.declare([declaration(h)])
        await log.append([event(n=n) for n in range(4)])
        await drained(log, h, until=lambda: ran.count(1) == 2)
        assert ran == [0, 1, 1]
        assert await ends(log) == (1, 3, 1, 0)

    with_lane(check)


def test_a_wait_goes_on_when_a_slot_is_free_and_in_order(with_lane):
    ran: list[tuple[int, int]] = []

    @handler("h", on=["*"], throttle=Throttle("2/s", over="wait"), max_attempts=1)
    async def h(event: Event[Raw], ctx: Context) -> None:
        ran.append((event.payload.data["n"], ctx.attempt))

    async def check(log: EventLog) -> None:
        await log.declare([declaration(h)])
        started = asyncio.get_running_loop().time()
        await log.append([event(n=n) for n in range(5)])
        await drained(log, h, until=lambda: len(ran) == 5)
        assert ran == [(n, 1) for n in range(5)]  # no attempt was spent
        assert asyncio.get_running_loop().time() - started > 1.9
        done, skipped, retried, dead = await ends(log)
        assert (done, skipped, dead) == (5, 0, 0)
        assert retried >= 2

    with_lane(check)


def test_what_waits_says_why(with_lane):
    @handler("h", on=["*"], throttle=Throttle("1/h", over="wait"))
    async def h(event: Event[Raw], ctx: Context) -> None: ...

    async def check(log: EventLog) -> None:
        await log.declare([declaration(h)])
        await log.append([event(n=1), event(n=2)])

        async def waits() -> bool:
            return (await position(log, "h")).open == 1

        async with at_work(log, h):
            await eventually(waits)
        (record,) = await log.redis.hvals(log.key("open", "h", 0))
        assert b'"throttled","over 1/h"' in record
        ((_, due_ms),) = await log.redis.zrange(log.key("opendue", "h", 0), 0, 0, withscores=True)
        assert 3_500 < due_ms / 1000 - (await log.redis.time())[0] < 3_700

    with_lane(check)


def test_an_event_without_an_entity_is_dead_unless_filtered(with_lane):
    @handler("h", on=["*"], throttle="1/h", where=lambda event: event.payload.data["n"] > 0)
    async def h(event: Event[Raw], ctx: Context) -> None: ...

    async def check(log: EventLog) -> None:
        await log.declare([declaration(h)])
        await log.append([event(key=None, n=0), event(key=None, n=1)])
        await drained(log, h)
        assert await ends(log) == (0, 1, 0, 1)
        ((_, letter),) = await log.redis.xrange(log.key("dead", "h"))
        assert letter[b"reason"] == b"throttle-without-key"

    with_lane(check)


def test_a_death_keeps_the_slot_and_its_event_needs_no_second_one(with_lane):
    """The worker dies during the attempt, which may have acted; then the event is skipped."""
    ran: list[tuple[int, int]] = []

    @handler("h", on=["*"], throttle="1/h", timeout_s=30)
    async def h(event: Event[Raw], ctx: Context) -> None:
        n = event.payload.data["n"]
        ran.append((n, len(ran)))
        if len(ran) == 1:
            await asyncio.Event().wait()
        raise Skip("not any more")

    async def check(log: EventLog) -> None:
        await log.declare([declaration(h)])
        await log.append([event(n=1), event(n=2)])

        async def begun() -> bool:
            return bool(ran)

        async with at_work(log, h) as dispatcher:
            await eventually(begun)
            await died(dispatcher)
        await lost(log, "h")
        await drained(log, h, until=lambda: len(ran) > 1)
        assert ran == [(1, 0), (1, 1)]  # the event itself runs again, the next one is over the limit
        assert await ends(log) == (0, 2, 0, 0)

    with_lane(check)


def test_slots_and_their_stand_in_of_the_kit_have_the_same_answers(log_url, prefix):
    async def story(seed: int) -> None:
        chance = random.Random(seed)
        async with opened(log_url, f"{prefix}{seed}:", lanes=1) as log, leased(log) as real:
            kit = MemorySlots({}, Clock().now_ms)
            limit = Limit(chance.choice((1, 2, 3)), 3_600_000)
            for _ in range(40):
                key, event_id, nonce = chance.choice(("a", "b")), chance.choice("1234"), chance.choice("xyz")
                if chance.random() < 0.3:
                    await real.give_back(key, event_id, nonce)
                    await kit.give_back(key, event_id, nonce)
                    continue
                answers = [await store.reserve(key, limit, event_id, nonce) for store in (real, kit)]
                assert answers[0].state == answers[1].state
                assert answers[0].wait_s == pytest.approx(answers[1].wait_s, abs=5)

    for seed in range(6):
        asyncio.run(story(seed))


def test_a_slot_is_free_when_its_time_is_over_and_no_sooner(with_lane):
    async def check(log: EventLog) -> None:
        async with leased(log) as slots:
            short = Limit(1, 1_000)
            assert (await slots.reserve("k", short, "1", "x")).state == "reserved"
            over = await slots.reserve("k", short, "2", "y")
            assert over.state == "over"
            assert 0 < over.wait_s <= 1
            await asyncio.sleep(over.wait_s + 0.01)
            assert (await slots.reserve("k", short, "2", "y")).state == "reserved"
            key = log.key("ledger", "h", "throttle|k")
            assert 0 < await log.redis.pttl(key) <= 1_000  # it leaves nothing behind

    with_lane(check)


def test_a_clock_that_goes_back_keeps_a_slot_for_one_time_at_most(with_lane):
    async def check(log: EventLog) -> None:
        async with leased(log) as slots:
            far = (await log.redis.time())[0] * 1000 + 86_400_000
            await log.redis.hset(log.key("ledger", "h", "throttle|k"), "1", f"{far} x reserved")
            over = await slots.reserve("k", HOUR, "2", "y")
            assert over == Slot("over", pytest.approx(3_600, abs=1))

    with_lane(check)


def test_a_lost_reply_takes_no_second_slot(with_lane, monkeypatch):
    async def check(log: EventLog) -> None:
        async with leased(log) as slots:
            call, calls = log.channel.call, itertools.count()

            async def loses_the_first(*words: Any, **how: Any) -> Any:
                answer = await call(*words, **how)
                if next(calls) == 0:
                    raise RedisGone
                return answer

            log.channel.call = loses_the_first  # type: ignore[method-assign]
            assert (await slots.reserve("k", HOUR, "1", "x")).state == "reserved"
            await slots.give_back("k", "1", "x")
            assert (await slots.reserve("k", HOUR, "2", "y")).state == "reserved"

    with_lane(check)


def test_without_the_lease_nothing_is_reserved(with_lane):
    async def check(log: EventLog) -> None:
        async with leased(log) as slots:
            await lost(log, "h")
            with pytest.raises(LeaseLost):
                await slots.reserve("k", HOUR, "1", "x")
            assert await log.redis.exists(log.key("ledger", "h", "throttle|k")) == 0

    with_lane(check)


def test_slots_move_with_the_name_and_go_with_the_handler(with_lane):
    async def check(log: EventLog) -> None:
        async with leased(log) as slots:
            await slots.reserve("session:1", HOUR, "1", "x")
        await lost(log, "h")
        await rename(log, "h", "other", now_ms=1)
        assert await log.redis.exists(log.key("ledger", "other", "throttle|session:1")) == 1
        await retire(log, "other", now_ms=1)
        assert [key async for key in log.redis.scan_iter(log.key("ledger", "*"))] == []

    with_lane(check)
