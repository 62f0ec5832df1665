"""The clock of Redis, or that of a worker, jumps: nothing rests until a time that comes again in a year."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from eventlog import presence, schedule
from eventlog.clock import now_ms
from eventlog.heartbeat import beat
from eventlog.lease import Lease, Settlement
from eventlog.log import EventLog
from eventlog.record import AttemptNote, OpenRecord, decode_open
from eventlog.retention import Keep, keep
from eventlog.step_ledger import Scope, StepLedger
from eventlog.subscription import SubscriptionStore
from handlers import Backoff, Context, Event, Raw, Retry, handler
from tests.clocked import jump
from tests.harness import at_work, declaration, drained, event, eventually, position
from workers.drain import drain

YEAR_S = 365 * 86_400


@handler("h", on=["*"], start="oldest")
async def plain(event: Event[Raw], ctx: Context) -> None: ...


def test_a_role_is_given_again_after_the_clock_went_back(on_each_server):
    async def check(log: EventLog) -> None:
        for role in ("ticker", "keeper"):
            assert await schedule.elected(log, 60, role)
            assert not await schedule.elected(log, 60, role)
            await jump(log, -YEAR_S)
            assert await schedule.elected(log, 60, role)
            assert not await schedule.elected(log, 60, role)

    on_each_server(check)


def test_the_lease_of_a_dead_worker_ends_after_the_clock_went_back(on_each_server):
    async def check(log: EventLog) -> None:
        await log.declare([declaration(plain)])
        await log.append([event("t")])
        await schedule.sweep(log)
        lane = log.lane_of("session:1", b"")
        assert await Lease(log, "h", lane, "default").take() is not None
        await schedule.sweep(log)
        await jump(log, -YEAR_S)
        await schedule.sweep(log)
        key = log.key("lease", "h", lane)
        assert 0 < await log.redis.pttl(key) <= 6_000
        assert await log.due("default", ("h",), limit=9) == []
        await log.redis.delete(key)  # what its end does; waiting for it would take seconds
        await jump(log, 7)
        assert await schedule.sweep(log) == ["default"]
        assert await log.due("default", ("h",), limit=9) == [("h", lane)]

    on_each_server(check)


def test_a_taker_bounds_the_lease_that_it_finds(with_lane):
    async def check(log: EventLog) -> None:
        await log.declare([declaration(plain)])
        assert await Lease(log, "h", 0, "default").take() is not None
        await jump(log, -YEAR_S)
        assert await Lease(log, "h", 0, "default").take() is None
        assert await log.redis.pttl(log.key("lease", "h", 0)) <= 6_000

    with_lane(check)


def test_new_events_are_spread_although_a_pause_outlives_its_time(with_lane):
    async def check(log: EventLog) -> None:
        await log.declare([declaration(plain)])
        await log.append([event("t")])
        await log.awake("default")
        await log.redis.set(log.key("spread"), 1, px=YEAR_S * 1000)
        assert await schedule.sweep(log) == ["default"]

    with_lane(check)


@pytest.mark.parametrize("asleep", [True, False], ids=["asleep", "worker-died"])
def test_a_retry_waits_no_longer_than_it_was_to(with_lane, asleep):
    ran: list[int] = []

    @handler("h", on=["*"], start="oldest")
    async def h(event: Event[Raw], ctx: Context) -> None:
        ran.append(ctx.attempt)
        if ctx.attempt == 1:
            raise Retry("later", after_s=1.5)

    async def check(log: EventLog) -> None:
        await log.declare([declaration(h)])
        await log.append([event("t")])
        await schedule.sweep(log)
        await drained(log, h)
        (stream_id, data), *_ = (await log.redis.hgetall(log.key("open", "h", 0))).items()
        record = decode_open(0, stream_id, data)
        assert record.wait_ms == 1_500
        # The clock of the worker that wrote it was a year ahead, too.
        record.due_ms = (record.due_ms or 0) + YEAR_S * 1000
        if not asleep:
            lease = Lease(log, "h", 0, "default")
            assert await lease.take() is not None
            await lease.step(Settlement(puts=[record]))
            await log.redis.delete(log.key("lease", "h", 0))
            await schedule.sweep(log)
            assert await log.redis.zscore(log.key("opendue", "h", 0), stream_id) <= now_ms() + 60_000
        await jump(log, -YEAR_S)
        await schedule.sweep(log)
        assert await log.due("default", ("h",), limit=9) == [("h", 0)]

        async def done() -> bool:
            return ran == [1, 2]

        async with at_work(log, h):
            await eventually(done, within_s=60)
        assert (await position(log, "h")).open == 0

    with_lane(check)


def test_a_drain_at_work_bounds_its_waits_when_its_own_clock_goes_back(with_lane, monkeypatch):
    ran: list[str] = []
    behind_ms = [0]
    monkeypatch.setattr(drain, "now_ms", lambda: now_ms() - behind_ms[0])

    @handler("h", on=["*"], start="oldest", timeout_s=120)
    async def h(event: Event[Raw], ctx: Context) -> None:
        ran.append(f"{event.payload.data['name']} {ctx.attempt}")
        if event.payload.data["name"] == "late" and ctx.attempt == 1:
            raise Retry("later", after_s=1.0)
        while event.payload.data["name"] == "long" and "late 2" not in ran:  # so that the lease is kept
            await asyncio.sleep(0.02)

    async def check(log: EventLog) -> None:
        await log.declare([declaration(h)])
        await log.append([event("t", f"session:{name}", name=name) for name in ("long", "late")])

        async def both_began() -> bool:
            return bool(await log.redis.zcard(log.key("opendue", "h", 0))) and len(ran) == 2

        async def again() -> bool:
            return "late 2" in ran

        async with at_work(log, h):
            await eventually(both_began, within_s=60)
            behind_ms[0] = YEAR_S * 1000
            await eventually(again, within_s=60)

    with_lane(check)


def test_a_wait_of_a_record_of_older_code_is_bounded(with_lane):
    async def check(log: EventLog) -> None:
        await log.declare([declaration(plain)])
        (answer,) = (await log.append([event("t")])).answers
        (entry,) = await log.redis.xrange(log.key("events", 0))
        lease = Lease(log, "h", 0, "default")
        taken = await lease.take()
        assert taken is not None
        read = await lease.step(Settlement(), after=taken.cur, count=1)
        year_3000_ms = 32_503_680_000_000
        record = OpenRecord(read.events[0], "retry", year_3000_ms, log=(AttemptNote(1, "retry-asked"),))
        await lease.step(Settlement(cur=read.scanned, puts=[record]), mode="release")
        await drained(log, plain, until=lambda: True)
        ((_, data),) = (await log.redis.hgetall(log.key("open", "h", 0))).items()
        due_ms = decode_open(0, entry[0], data).due_ms or 0
        assert due_ms <= now_ms() + 31 * 86_400_000
        assert answer.event_id

    with_lane(check)


def test_a_step_that_is_being_called_is_held_no_longer_than_an_attempt_takes(with_lane):
    async def check(log: EventLog) -> None:
        await log.declare([declaration(plain)])
        first = Lease(log, "h", 0, "default")
        assert await first.take() is not None
        ledger = StepLedger(log, first, hold_s=30.0)
        assert (await ledger.begin(Scope("0-1-0"), "pay", "n1", again=False)).state == "begun"
        await jump(log, -YEAR_S)
        held = await ledger.begin(Scope("0-1-0"), "pay", "n2", again=False)
        assert held.state == "held"
        assert 0 < held.wait_s <= 30.0
        await jump(log, 31)
        assert (await ledger.begin(Scope("0-1-0"), "pay", "n3", again=False)).state == "uncertain"

    with_lane(check)


def test_a_dead_process_has_no_share_after_the_clock_went_back(with_lane):
    async def names(log: EventLog) -> list[str]:
        view = await presence.beat(log, "default", "here:1:a", 9, {}, {})
        return [process.name for process in view.processes]

    async def check(log: EventLog) -> None:
        await presence.beat(log, "default", "dead:2:b", 9, {}, {})
        assert await names(log) == ["dead:2:b", "here:1:a"]
        await jump(log, -YEAR_S)
        assert await names(log) == ["here:1:a"]

    with_lane(check)


def test_a_hole_is_seen_after_the_clock_went_back(with_lane):
    async def check(log: EventLog) -> None:
        assert await beat(log, "dead", hole_after_ms=5_000) is None
        await jump(log, -YEAR_S)
        assert await beat(log, "here", hole_after_ms=5_000) is None
        await jump(log, 60)
        hole = await beat(log, "here", hole_after_ms=5_000)
        assert hole is not None
        assert 60_000 <= hole.to_ms - hole.from_ms < YEAR_S * 1000

    with_lane(check)


def test_a_version_that_is_gone_is_not_the_newest_after_the_clock_went_back(with_lane):
    async def check(log: EventLog) -> None:
        await log.declare([declaration(plain, version="gone")])
        await jump(log, -YEAR_S)
        await log.declare([declaration(plain, version="now")])
        await jump(log, 5)
        await log.declare([declaration(plain, version="now")], again=True)
        assert await log.redis.hget(log.key("newest"), "h") == b"now"
        await jump(log, 700)
        await log.declare([declaration(plain, version="now")], again=True)
        assert await log.redis.hkeys(log.key("handlers")) == [b"h|now"]

    with_lane(check)


def test_the_lock_of_the_registration_is_bounded(with_lane):
    async def check(log: EventLog) -> None:
        store = SubscriptionStore(log)
        assert await store.lock("dead", 30_000)
        await jump(log, -YEAR_S)
        assert not await store.lock("here", 30_000)
        # Another process may have asked for a minute.
        assert await log.redis.pttl(log.key("lock", "registration")) <= 60_000

    with_lane(check)


def test_a_history_whose_age_is_not_known_is_bounded(with_lane):
    async def check(log: EventLog) -> None:
        await log.declare([declaration(plain)])
        ahead_ms = now_ms() + YEAR_S * 1000
        await log.redis.xadd(log.key("events", 0), {"v": "1"}, id=f"{ahead_ms}-0")
        async with log.redis.pipeline(transaction=False) as changes:
            for n in range(12_000):
                changes.xadd(log.key("history", "h", 0), {"d": b""}, id=f"{ahead_ms}-{n + 1}")
            await changes.execute()
        await keep(log, Keep())
        assert await log.redis.xlen(log.key("history", "h", 0)) < 11_000

    with_lane(check)


@pytest.mark.parametrize(
    ("ahead_s", "wins"), [(0, "first"), (60, "first"), (3_600, "second"), (40 * 3600, "second")]
)
def test_latest_does_not_believe_a_clock_that_is_ahead(with_lane, ahead_s, wins):
    ran: list[str] = []

    @handler("h", on=["*"], order="latest", start="oldest", backoff=Backoff(0.2, 0.2, jitter=False))
    async def h(event: Event[Raw], ctx: Context) -> None:
        if ctx.attempt == 1 and not ran:
            raise Retry("later")
        ran.append(event.payload.data["name"])

    def stated(name: str, at_ms: int) -> Any:
        plain = event("t", "session:1", name=name)
        return plain._replace(mark=f"at={at_ms * 1000}")

    async def check(log: EventLog) -> None:
        await log.declare([declaration(h)])
        await log.append([stated("first", now_ms() + ahead_s * 1000), stated("second", now_ms() - 1_000)])

        async def done() -> bool:
            return bool(ran)

        async with at_work(log, h):
            await eventually(done, within_s=60)
        assert ran == [wins]

    with_lane(check)
