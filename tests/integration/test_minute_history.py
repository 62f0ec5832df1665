"""The history of a day, minute by minute: what it says, and how much room it takes."""

from __future__ import annotations

import asyncio

from eventlog.log import EventLog
from eventlog.minute_history import (
    ACCEPTED,
    DAY_MINUTES,
    HANDLED,
    MINUTE_MS,
    failure_history,
    minute_history,
)
from eventlog.rates import Attempts, note_totals, recent_attempts
from eventlog.scripts import source
from tests.harness import opened

BEGIN = 20_000 * DAY_MINUTES + 100  # a minute within a string of six hours
KIB = 1 << 10


class Minutes:
    """A log whose notes read the time that a test sets."""

    def __init__(self, log: EventLog) -> None:
        text = source("sample").replace("call('TIME')", "call('LRANGE', prefix .. 'clock', 0, 1)")
        log.scripts.sample = log.redis.register_script(text)
        self.log = log

    async def note(self, minute: float, **counts: int) -> None:
        """Note totals in a minute, counted from the beginning, after these were counted."""
        redis, key = self.log.redis, self.log.key
        for name, by in counts.items():
            if name == "accepted":
                await redis.hincrby(key("counts"), "accepted", by)
            else:
                await redis.hset(key("newest"), name, "v1")
                await redis.hincrby(key("stats", name), "done", by)
        await redis.delete(key("clock"))
        await redis.rpush(key("clock"), int((BEGIN + minute) * 60), 0)
        await note_totals(self.log)

    async def fail(self, minute: float, *, retried: int = 0, dead: int = 0) -> None:
        """Note totals in a minute, after so many events of the handler `a` were retried, and dead."""
        stats = self.log.key("stats", "a")
        await self.log.redis.hincrby(stats, "retried", retried)
        await self.log.redis.hincrby(stats, "dead", dead)
        await self.note(minute, a=0)

    async def read(self, *names: str, until: int, minutes: int) -> list[list[int | None]]:
        found = await minute_history(self.log, names, at_ms=(BEGIN + until) * MINUTE_MS, minutes=minutes)
        return [found[name] for name in names]


def on_minutes(url: str, prefix: str, check) -> None:
    async def run() -> None:
        async with opened(url, prefix) as log:
            await check(Minutes(log))

    asyncio.run(run())


def test_each_minute_has_what_was_counted_in_it_and_unknown_ones_are_empty(log_url, prefix) -> None:
    async def check(noting: Minutes) -> None:
        await noting.note(0, accepted=500, a=10, b=7)
        await noting.note(1, accepted=2_000, a=5, b=1)
        await noting.note(1.5, accepted=60, a=1)  # within the minute: the next one has it
        await noting.note(2, accepted=0, a=0)
        await noting.note(4, accepted=1, b=40)  # one minute without housekeeping: as a rate
        await noting.note(5)
        read = await noting.read(ACCEPTED, HANDLED, "a", "b", "none", until=6, minutes=8)
        assert read == [
            [None, None, 2_000, 60, None, 1, 0, None],
            [None, None, 6, 1, None, 20, 0, None],
            [None, None, 5, 1, None, 0, 0, None],
            [None, None, 1, 0, None, 20, 0, None],
            [None] * 8,
        ]

    on_minutes(log_url, prefix, check)


def test_what_is_retried_or_dead_is_kept_for_each_five_minutes(log_url, prefix) -> None:
    async def check(noting: Minutes) -> None:
        await noting.fail(0)
        await noting.fail(1, retried=3)
        await noting.fail(4, retried=4, dead=2)  # two minutes without housekeeping: as a rate
        await noting.fail(5, dead=1)
        await noting.fail(6)
        await noting.fail(16)
        found = await failure_history(noting.log, "a", at_ms=(BEGIN + 19) * MINUTE_MS)
        assert len(found) == 288
        assert found[-5:] == [None, 5, 1, None, 0]
        assert (await noting.read("a", until=6, minutes=2)) == [[1, 0]]  # a dead one is settled, too

    on_minutes(log_url, prefix, check)


def test_the_attempts_of_the_last_five_minutes_are_known_with_how_many_failed(log_url, prefix) -> None:
    async def check(noting: Minutes) -> None:
        for minute in range(8):
            await noting.log.redis.hincrby(noting.log.key("stats", "a"), "retried", minute)
            await noting.note(minute, a=10, b=1)
        assert await recent_attempts(noting.log) == {"a": Attempts(5, 75, 25), "b": Attempts(5, 5, 0)}

    on_minutes(log_url, prefix, check)


def test_a_total_or_a_clock_that_went_back_leaves_a_minute_unknown(log_url, prefix) -> None:
    async def check(noting: Minutes) -> None:
        await noting.note(0, accepted=100, a=50)
        await noting.note(1, accepted=-90, a=-50)  # the log went back
        await noting.note(2, accepted=30, a=20)
        assert await noting.read(ACCEPTED, HANDLED, until=2, minutes=3) == [
            [None, None, 30],
            [None, None, 20],
        ]
        await noting.note(-3, accepted=5)  # the clock went back
        await noting.note(-2, accepted=8)
        assert await noting.read(ACCEPTED, until=-2, minutes=3) == [[None, None, 8]]

    on_minutes(log_url, prefix, check)


def test_a_day_of_20_handlers_takes_less_than_200_kib_and_ends_by_itself(valkey, prefix) -> None:
    handlers = {f"acme.handler-{number:02}": 2_000 for number in range(20)}

    async def check(noting: Minutes) -> None:
        redis, log = noting.log.redis, noting.log
        for minute in range(DAY_MINUTES + 300):
            await noting.note(minute, accepted=100_000, **(handlers if minute < 2 else {}))
        bytes_, keys = await redis.memory_usage(log.key("minuted"), samples=0), 0
        async for key in redis.scan_iter(log.key("minutes", "*")):
            assert 0 < await redis.ttl(key) <= 30 * 3600
            if int(key.rpartition(b":")[2]) >= (BEGIN + 300) // 360:  # the first ended by now
                bytes_, keys = bytes_ + await redis.memory_usage(key, samples=0), keys + 1
        assert keys in (4, 5)
        assert 80 * KIB < bytes_ < 200 * KIB
        (accepted,) = await noting.read(ACCEPTED, until=DAY_MINUTES + 299, minutes=DAY_MINUTES)
        assert accepted == [100_000] * DAY_MINUTES

    on_minutes(valkey.url, prefix, check)


def test_many_handlers_take_no_more_room_than_the_first_fifty(valkey, prefix) -> None:
    async def check(noting: Minutes) -> None:
        await noting.note(0, accepted=1, **{f"h{number:03}": 1 for number in range(80)})
        await noting.note(1, accepted=1, **{f"h{number:03}": 1 for number in range(80)})
        chunk = noting.log.key("minutes", (BEGIN + 1) // 360)
        assert await noting.log.redis.hlen(chunk) == 102
        assert await noting.read(HANDLED, "h049", "h050", until=1, minutes=1) == [[80], [1], [None]]

    on_minutes(valkey.url, prefix, check)
