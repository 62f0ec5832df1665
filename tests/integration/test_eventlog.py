"""The log's scripts against real servers: what each of them promises, one at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from eventlog.clock import now_ms
from eventlog.errors import LeaseLost, LogMismatch
from eventlog.inspection.events import list_events, read_counts
from eventlog.lease import Lease, Settlement, clock_s
from eventlog.log import EventLog, Unreadable
from eventlog.record import DeadLetter, OpenRecord
from eventlog.registry import Declaration
from eventlog.schedule import recompute, sweep
from tests.harness import event, on_log, opened

Check = Callable[[EventLog], Awaitable[None]]


@pytest.fixture
def with_log(log_url: str, prefix: str) -> Callable[[Check], None]:
    """Run a check against a fresh log on each kind of server."""

    def run(check: Check, **options: Any) -> None:
        on_log(log_url, prefix, check, **options)

    return run


def wants(*types: str, name: str = "h", **changes: Any) -> Declaration:
    return Declaration(**{"name": name, "version": "v1", "types": types, "queue": "default", "order": "entity",
                          "start": "oldest", **changes})  # fmt: skip


async def taken(log: EventLog, lane: int, name: str = "h") -> tuple[Lease, str]:
    lease = Lease(log, name, lane, "default")
    start = await lease.take()
    assert start is not None
    return lease, start.cur


def test_accepts_in_order_and_gives_each_element_its_own_answer(with_log):
    async def check(log: EventLog) -> None:
        first, second = event(n=1), event(n=2)
        reply = await log.append([first, Unreadable(b"\xff", "not-json", now_ms(), "k"), second])
        assert [answer.outcome for answer in reply.answers] == ["accepted", "quarantined", "accepted"]
        assert [e.body for e in await list_events(log)] == [second.body, first.body]
        counts = await read_counts(log)
        assert (counts.accepted, counts.quarantined, counts.by_type) == (
            2,
            1,
            {"SessionUpdateNotification": 2},
        )

    with_log(check)


def test_drops_an_equal_body_that_carries_a_time_of_its_own(with_log):
    async def check(log: EventLog) -> None:
        same = event()._replace(duplicates="drop")
        one, twin = (await log.append([same, same])).answers
        (later,) = (await log.append([same])).answers
        assert (one.outcome, twin.outcome, later.outcome) == ("accepted", "duplicate", "duplicate")
        assert len(await list_events(log)) == 1

    with_log(check)


def test_keeps_and_marks_an_equal_body_without_a_time(with_log):
    async def check(log: EventLog) -> None:
        await log.append([event()])
        await log.append([event()])
        assert [e.marks for e in await list_events(log)] == [("maybe_repeat", "no-own-time"), ()]

    with_log(check)


def test_wakes_only_queues_whose_handlers_want_the_type_and_only_once(with_log):
    async def check(log: EventLog) -> None:
        await log.declare([wants("A"), wants("B", name="other", queue="slow")])
        assert (await log.append([event("A", n=1)])).wake == ["default"]
        assert (await log.append([event("A", n=2)])).wake == []
        assert (await log.append([event("C", n=3)])).wake == []
        assert (await log.append([event("B", n=4)])).wake == ["slow"]

    with_log(check)


def test_handlers_of_everything_are_woken_by_any_type(with_log):
    async def check(log: EventLog) -> None:
        await log.declare([wants("*")])
        assert (await log.append([event("never.seen")])).wake == ["default"]
        assert await log.wanted_types() == {"*"}

    with_log(check)


def test_a_new_handler_starts_now_or_at_the_oldest_event(with_log):
    async def check(log: EventLog) -> None:
        await log.append([event("A", n=1)])
        await log.declare([wants("A", name="late", start="now"), wants("A", name="early")])
        await log.append([event("A", n=2)])
        lane = log.lane_of("session:1", b"")
        for name, expected in (("late", 1), ("early", 2)):
            lease, cur = await taken(log, lane, name)
            assert len((await lease.step(Settlement(), after=cur, count=10)).events) == expected

    with_log(check)


def test_declaring_again_keeps_the_position(with_log):
    async def check(log: EventLog) -> None:
        await log.declare([wants("A")])
        await log.append([event("A")])
        lane = log.lane_of("session:1", b"")
        lease, cur = await taken(log, lane)
        read = await lease.step(Settlement(), after=cur, count=10)
        assert (
            await lease.step(Settlement(cur=read.scanned), mode="sleep", after=read.scanned, count=10)
        ).asleep
        await log.declare([wants("A", version="v2", start="now")])
        assert (await taken(log, lane))[1] == read.scanned

    with_log(check)


def test_a_version_that_was_rolled_back_is_forgotten_after_a_while(with_log):
    async def check(log: EventLog) -> None:
        await log.declare([wants("A", version="v1")])
        await asyncio.sleep(0.01)
        await log.declare([wants("A", "B", version="v2")])
        await log.declare([wants("A", version="v1")])
        assert [found.version for found in await log.handlers()] == ["v2"], "it may only be restarting"
        assert await log.wanted_types() == {"A", "B"}
        await asyncio.sleep(0.1)
        await log.declare([wants("A", version="v1")], keep_version_ms=50)
        assert [found.version for found in await log.handlers()] == ["v1"]
        assert await log.wanted_types() == {"A"}

    with_log(check)


def test_one_lease_at_a_time_and_the_same_answer_to_the_same_token(with_log):
    async def check(log: EventLog) -> None:
        await log.declare([wants("A")])
        lease = Lease(log, "h", 0, "default")
        first, again = await lease.take(), await lease.take()
        assert first == again
        assert first is not None
        assert await Lease(log, "h", 0, "default").take() is None

    with_log(check)


def test_an_unregistered_handler_gets_no_lease(with_log):
    async def check(log: EventLog) -> None:
        assert await Lease(log, "nobody", 0, "default").take() is None

    with_log(check)


def test_a_step_is_applied_once_however_often_it_is_asked_for(with_log):
    async def check(log: EventLog) -> None:
        await log.declare([wants("A")])
        await log.append([event("A")])
        lane = log.lane_of("session:1", b"")
        lease, cur = await taken(log, lane)
        read = await lease.step(Settlement(), after=cur, count=10)
        letter = DeadLetter(OpenRecord(read.events[0], "running"), "gave-up")
        settlement = Settlement(cur=read.scanned, dead=[letter], stats={"dead": 1})
        await lease.step(settlement)
        lease._seq -= 1  # as if the reply had been lost
        await lease.step(settlement)
        (found,) = await log.handlers()
        assert (found.dead, found.stats["dead"]) == (1, 1)

    with_log(check)


def test_a_lease_is_renewed_about_twice_a_second_however_many_steps_there_are(with_log):
    async def check(log: EventLog) -> None:
        await log.declare([wants("A")])
        lane = log.lane_of("session:1", b"")
        key, pair = log.key("lease", "h", lane), f"h|{lane}"
        lease, cur = await taken(log, lane)

        async def shortened() -> float:
            await log.redis.pexpire(key, 3_000)
            await log.redis.zadd(log.key("due", "default"), {pair: 1})
            return lease.deadline_s

        deadline_s = await shortened()
        lease.renewed_s = clock_s()
        await lease.step(Settlement(), after=cur, count=1)
        assert await log.redis.pttl(key) <= 3_000
        assert lease.deadline_s == deadline_s, "nothing may run for longer than Redis keeps the lease"
        for renews in ("in time", "before it sleeps"):
            deadline_s = await shortened()
            lease.renewed_s = clock_s() - 1 if renews == "in time" else clock_s()
            await lease.step(Settlement(), after=cur, mode="work" if renews == "in time" else "sleep")
            assert await log.redis.pttl(key) > 3_000
            assert await log.redis.zscore(log.key("due", "default"), pair) > 1
            assert lease.deadline_s > deadline_s

    with_log(check)


def test_a_read_brings_each_event_as_it_was_accepted_whatever_it_holds(with_log):
    async def check(log: EventLog) -> None:
        await log.declare([wants("*")])
        written = [
            event("A", n=1),
            event("A", n=2)._replace(traceparent="00-ab-cd-01"),
            event("odd\n\0type", n=3)._replace(mark="stale", key_id="0123abcd"),
            event("A", n=4)._replace(body=bytes(range(256))),
        ]
        await log.append(written)
        lease, cur = await taken(log, log.lane_of("session:1", b""))
        read = await lease.step(Settlement(), after=cur, count=10)
        assert read.events[::-1] == await list_events(log, limit=10)
        assert [(e.type, e.key, e.body, e.key_id, e.traceparent) for e in read.events] == [
            (e.type, e.key, e.body, e.key_id, e.traceparent) for e in written
        ]
        assert "stale" in read.events[2].marks

    with_log(check)


def test_whoever_lost_the_lease_settles_nothing(with_log):
    async def check(log: EventLog) -> None:
        await log.declare([wants("A")])
        lane = log.lane_of("session:1", b"")
        await log.append([event("A")])
        lost, cur = await taken(log, lane)
        read = await lost.step(Settlement(), after=cur, count=10)
        await log.redis.delete(log.key("lease", "h", lane))
        winner, winner_cur = await taken(log, lane)
        assert winner_cur == cur
        with pytest.raises(LeaseLost):
            await lost.step(Settlement(cur=read.scanned, stats={"done": 1}))
        await winner.step(Settlement())
        (found,) = await log.handlers()
        assert (found.waiting, found.stats) == (1, {})

    with_log(check)


def test_what_was_handed_out_is_suspect_after_a_takeover_and_clean_after_a_release(with_log):
    async def check(log: EventLog) -> None:
        await log.declare([wants("A")])
        await log.append([event("A")])
        lane = log.lane_of("session:1", b"")
        lease, cur = await taken(log, lane)
        read = await lease.step(Settlement(), after=cur, count=10)
        await log.redis.delete(log.key("lease", "h", lane))
        second = Lease(log, "h", lane, "default")
        start = await second.take()
        assert start is not None
        assert (start.cur, start.runto) == (cur, read.scanned)
        await second.step(Settlement(), mode="release")
        third = await Lease(log, "h", lane, "default").take()
        assert third is not None
        assert (third.cur, third.runto) == (cur, cur)

    with_log(check)


def test_falling_asleep_cannot_miss_an_event(with_log):
    """The script that gives the lease back looks once more; an event after that makes the pair due."""

    async def check(log: EventLog) -> None:
        await log.declare([wants("A")])
        lane = log.lane_of("session:1", b"")
        lease, cur = await taken(log, lane)
        await log.append([event("A", n=1)])
        read = await lease.step(Settlement(), mode="sleep", after=cur, count=10)
        assert (len(read.events), read.asleep) == (1, False)
        assert await log.due("default", ["h"], limit=10) == [], "its drain reads on"
        read = await lease.step(Settlement(cur=read.scanned), mode="sleep", after=read.scanned, count=10)
        assert read.asleep
        assert await log.due("default", ["h"], limit=10) == []
        await log.append([event("A", n=2)])
        assert await log.due("default", ["h"], limit=10) == [("h", lane)]

    with_log(check)


def test_a_sleeping_pair_is_due_again_when_its_first_retry_is(with_log):
    async def check(log: EventLog) -> None:
        await log.declare([wants("A")])
        await log.append([event("A")])
        lane = log.lane_of("session:1", b"")
        lease, cur = await taken(log, lane)
        read = await lease.step(Settlement(), after=cur, count=10)
        due_ms = now_ms() + 60_000
        put = OpenRecord(read.events[0], "retry", due_ms=due_ms, attempts=1)
        done = await lease.step(
            Settlement(cur=read.scanned, puts=[put]), mode="sleep", after=read.scanned, count=10
        )
        assert done.asleep
        assert await log.redis.zscore(log.key("due", "default"), f"h|{lane}") == due_ms
        again = await Lease(log, "h", lane, "default").take()
        assert again is not None
        assert again.open == [put]

    with_log(check)


def test_reads_only_wanted_types_and_passes_over_the_rest(with_log):
    async def check(log: EventLog) -> None:
        await log.declare([wants("A")])
        await log.append([event("B", n=n) for n in range(200)])
        await log.append([event("A", n=1)])
        lane = log.lane_of("session:1", b"")
        lease, pos = await taken(log, lane)
        seen = []
        for _ in range(10):
            read = await lease.step(Settlement(), after=pos, count=16)
            seen += read.events
            pos = read.scanned
            if read.exhausted:
                break
        assert [e.type for e in seen] == ["A"]

    with_log(check)


def test_a_read_stops_at_the_byte_limit_but_never_before_the_first_event(with_log):
    async def check(log: EventLog) -> None:
        await log.declare([wants("A")])
        await log.append([event("A", n=n, pad="x" * 1000) for n in range(5)])
        lane = log.lane_of("session:1", b"")
        lease, cur = await taken(log, lane)
        read = await lease.step(Settlement(), after=cur, count=10, max_bytes=10)
        assert (len(read.events), read.exhausted) == (1, False)
        read = await lease.step(Settlement(), after=read.scanned, count=10, max_bytes=2_500)
        assert len(read.events) == 3

    with_log(check)


def test_a_lost_hint_of_who_is_due_is_found_again(with_log):
    async def check(log: EventLog) -> None:
        await log.declare([wants("A")])
        await log.append([event("A")])
        await log.redis.delete(log.key("fresh"), log.key("due", "default"), log.key("wake", "default"))
        assert await sweep(log) == []
        assert await recompute(log) == 1
        assert await sweep(log) == ["default"]
        assert await sweep(log) == []  # woken just now

    with_log(check)


def test_an_event_whose_wake_up_was_lost_is_swept(with_log):
    async def check(log: EventLog) -> None:
        await log.declare([wants("A")])
        assert (await log.append([event("A")])).wake == ["default"]
        assert await sweep(log) == [], "it was woken just now"
        await log.redis.delete(log.key("wake", "default"))  # five seconds later
        assert await sweep(log) == ["default"]

    with_log(check)


def test_a_pair_at_work_is_not_swept(with_log):
    async def check(log: EventLog) -> None:
        await log.declare([wants("A")])
        lane = log.lane_of("session:1", b"")
        await taken(log, lane)
        await log.append([event("A")])
        assert await sweep(log) == []
        assert await recompute(log) == 0

    with_log(check)


def test_one_replica_closes_a_gap_and_the_event_reaches_its_handlers(with_log):
    async def check(log: EventLog) -> None:
        await log.declare([wants("receiver.gap.closed")])
        assert await log.beat("r1", hole_after_ms=50) is None
        await asyncio.sleep(0.1)
        hole = await log.beat("r2", hole_after_ms=50)
        assert hole is not None
        assert hole.to_ms - hole.from_ms >= 100
        closed = await log.close_gap("r2", hole, ["A"], "https://example.test/hook")
        assert closed is not None
        assert closed[1] == ["default"]
        assert await log.close_gap("r1", hole, ["A"], None) is None
        assert await log.beat("r1", hole_after_ms=5_000) is None
        (found,) = await list_events(log)
        assert (found.type, found.event_id) == ("receiver.gap.closed", closed[0])

    with_log(check)


def test_refuses_the_log_of_another_tenant_or_another_number_of_lanes(with_log):
    async def check(log: EventLog) -> None:
        await log.claim("https://a.test", "rules")
        await log.claim("https://a.test", "rules")
        with pytest.raises(LogMismatch, match=r"AWR_TENANT_URL.*https://a\.test"):
            await log.claim("https://b.test", "rules")
        other = EventLog(log.redis, prefix=log.prefix, lanes=log.lanes + 1)
        with pytest.raises(LogMismatch, match="AWR_LANES"):
            await other.claim("https://a.test", "rules")

    with_log(check)


def test_new_entity_key_rules_wait_until_everything_is_settled(with_log):
    async def check(log: EventLog) -> None:
        await log.claim("https://a.test", "old")
        await log.claim("https://a.test", "new")
        await log.declare([wants("A")])
        await log.append([event("A")])
        says = r"AWR_ENTITY_KEYS_FILE.*rules new.* newest.*unsettled: h \(1\); stop the receivers"
        with pytest.raises(LogMismatch, match=says):
            await log.claim("https://a.test", "newest")
        assert await log.redis.hget(log.key("tenant"), "key_rules") == b"new"
        lane = log.lane_of("session:1", b"")
        await log.redis.hset(log.key("cur"), f"h|{lane}", f"{now_ms() + 1000}-0")
        await log.claim("https://a.test", "newest")

    with_log(check)


def test_refuses_a_redis_cluster(tmp_path):
    from tests.servers import valkey_cluster_node

    async def check(url: str) -> None:
        async with opened(url, "awr:") as log:
            with pytest.raises(LogMismatch, match=r"AWR_REDIS_URL.*Cluster"):
                await log.claim("https://a.test", "rules")

    with valkey_cluster_node(tmp_path) as url:
        asyncio.run(check(url))
