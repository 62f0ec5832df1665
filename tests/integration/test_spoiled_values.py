"""Single values that no release wrote: a gap is closed, retention trims, a lane is whole, and no event runs twice."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from ampeco.notifications import SessionUpdate
from eventlog.clock import now_ms
from eventlog.errors import UnknownRecord
from eventlog.gap_records import Gaps
from eventlog.heartbeat import Hole, receivers
from eventlog.inspection.arrivals import reaches_back_to
from eventlog.inspection.explain import explain
from eventlog.inspection.gaps import recorded_gaps
from eventlog.inspection.steps import steps_of
from eventlog.lease import Lease, Settlement
from eventlog.log import EventLog
from eventlog.operation.replay import unfinished
from eventlog.rates import note_totals
from eventlog.retention import Keep, keep
from eventlog.schedule import recompute, sweep
from handlers import Context, Event, GiveUp, Raw, Timer, handler
from tests.harness import declaration, drained, event, position

HOUR_MS = 3_600_000
FAR_MS = 1_000 * 1_764_000_000_000  # milliseconds that were multiplied once too often: the year 57869
handled: list[Any] = []


@handler("acme.notes", on=["*"], start="oldest")
async def notes(event: Event[Raw], ctx: Context) -> None:
    handled.append(event.payload.data["n"])


@handler("acme.later", start="oldest")
async def later(event: Event[SessionUpdate | Timer], ctx: Context) -> None:
    ctx.later("check", 3_600)


@handler("acme.dead", on=["*"], start="oldest")
async def dead(event: Event[Raw], ctx: Context) -> None:
    raise GiveUp("no")


async def instead(log: EventLog, *key: object) -> None:
    """Put a list in the place of a key."""
    await log.redis.delete(log.key(*key))
    await log.redis.rpush(log.key(*key), "x")


@pytest.mark.parametrize("beat", ["x", "", str(FAR_MS), "nan", "1e999"])
def test_a_beat_that_is_no_time_leaves_no_gap_open(with_log, beat: str) -> None:
    async def check(log: EventLog) -> None:
        await log.declare([declaration(notes, types=("receiver.gap.closed",))])
        before = now_ms() - 60_000
        await log.redis.hset(log.key("door"), mapping={"r1": before, "alien": beat})
        hole = await log.beat("r2", hole_after_ms=3_000)
        assert hole == Hole(before, hole.to_ms)
        assert await log.close_gap("r2", hole, ["x"], None)
        assert [gap.from_ms for gap in await recorded_gaps(log)] == [before]
        assert await log.beat("r2", hole_after_ms=3_000) is None
        assert await receivers(log, now_ms()) == ["r2"]

    with_log(check)


@pytest.mark.parametrize("junk", ["x", "9" * 30, str(FAR_MS)])
def test_retention_works_beside_a_beat_a_gap_and_a_lane_that_are_none(with_log, junk: str) -> None:
    async def check(log: EventLog) -> None:
        await log.declare([declaration(notes)])
        for n in range(8):
            await log.append([event(key=f"session:{n}", n=n)])
        await drained(log, notes)
        spoiled = log.lane_of("session:0", b"")
        await instead(log, "events", spoiled)
        await instead(log, "history", "acme.notes", 1)
        await instead(log, "quarantine")
        await Gaps(log).note_comparer(now_ms())
        await log.redis.set(log.key("comparer"), junk)
        await log.redis.hset(log.key("door"), mapping={"r1": now_ms() - 30_000, "alien": junk})
        await log.redis.hset(log.key("gaps"), mapping=dict.fromkeys([junk, *range(1, 1_002)], "{"))
        await log.redis.hset(log.key("tenant"), "trimmed", junk)
        before_ms = now_ms()
        since_ms = await Gaps(log).compared_since_ms(before_ms)
        assert since_ms is not None
        assert before_ms - 600_000 < since_ms < before_ms
        await log.redis.delete(log.key("comparer"))
        await asyncio.sleep(0.05)
        with capture_logs() as lines:
            assert (await keep(log, Keep(hours=0))).events > 0
        assert {line["step"] for line in lines} >= {f"trim lane {spoiled}", "trim quarantine"}
        left = [await log.redis.xlen(log.key("events", lane)) for lane in range(4) if lane != spoiled]
        assert left == [0, 0, 0]
        assert await log.redis.hlen(log.key("gaps")) == 1_000

    with_log(check)


def test_a_timer_that_cannot_be_written_keeps_its_event(with_log) -> None:
    async def check(log: EventLog) -> None:
        await log.declare([declaration(later)])
        lane = log.lane_of("session:1", b"")
        await instead(log, "timers")
        await log.append([event(n=0)])
        with capture_logs() as lines:
            await drained(log, later)
        assert [line["event"] for line in lines if line["log_level"] == "error"] == ["lane.unreadable"]
        await log.redis.delete(log.key("timers"), log.key("held"))
        await recompute(log)
        await drained(log, later)
        assert await log.redis.zscore(log.key("timers"), f"acme.later|{lane}") > now_ms()

    with_log(check)


def test_a_key_that_only_counts_or_remembers_ends_no_settlement(with_log) -> None:
    async def check(log: EventLog) -> None:
        handled.clear()
        await log.declare([declaration(notes), declaration(dead)])
        lane = log.lane_of("session:1", b"")
        for name in ("acme.notes", "acme.dead"):
            await instead(log, "passed", name, lane)
            await instead(log, "history", name, lane)
            await instead(log, "stats", name)
        await log.append([event(n=0), event(n=1)])
        with capture_logs() as lines:
            await drained(log, notes, dead)
        assert {line["event"] for line in lines if line["log_level"] == "error"} <= {"delivery.dead"}
        assert handled == [0, 1]
        assert await log.redis.xlen(log.key("dead", "acme.dead")) == 2

    with_log(check)


def test_a_spoiled_key_of_one_handler_hides_nothing_of_another(with_log) -> None:
    async def check(log: EventLog) -> None:
        await log.declare([declaration(notes), declaration(dead)])
        lane = log.lane_of("session:1", b"")
        await log.append([event(n=0)])
        await instead(log, "open", "acme.dead", lane)
        await instead(log, "stats", "acme.dead")
        await instead(log, "due", "default")
        assert (await position(log, "acme.notes")).waiting == 1
        other = await position(log, "acme.dead")
        assert (other.waiting, other.waiting_is_exact) == (1, False)
        await sweep(log)
        assert await recompute(log) == 2
        await log.redis.hset(log.key("minutes"), "alien", "x")
        await note_totals(log)
        assert not await log.redis.hexists(log.key("minutes"), "alien")
        assert await log.redis.hexists(log.key("attempted"), "acme.notes") is not None
        await drained(log, notes)

    with_log(check)


@pytest.mark.parametrize(
    "record",
    ["{", "[]", "7", '{"v":1,"state":[],"at_ms":"x"}', '{"v":1,"state":"done","at_ms":1764000000000000}'],
)
def test_a_step_that_no_release_wrote_hides_no_other(with_log, record: str) -> None:
    async def check(log: EventLog) -> None:
        await log.declare([declaration(notes)])
        (answer,) = (await log.append([event(n=0)])).answers
        ledger = log.key("ledger", "acme.notes", answer.event_id)
        good = '{"v":1,"state":"done","at_ms":5,"result":"1"}'
        await log.redis.hset(ledger, mapping={"a": record, "b": good})
        (found,) = await steps_of(log, answer.event_id or "", ["acme.notes"])
        assert found.notes[1] == ("b", "done", 5)
        assert found.notes[0].at_ms in (0, 1_764_000_000_000_000)

    with_log(check)


def test_what_another_client_wrote_beside_an_entity_hides_nothing_of_it(with_log) -> None:
    async def check(log: EventLog) -> None:
        await log.declare([declaration(dead)])
        (answer,) = (await log.append([event(n=0)])).answers
        await drained(log, dead)
        for id_ in ("x", f"0-{FAR_MS}-0", b"\xff"):
            await log.redis.xadd(log.key("dead", "acme.dead"), {"event": id_, "k": "session:1", "t": b"\xff"})
        for received in ("x", "\u00b2", "9" * 30, str(FAR_MS)):
            await log.redis.xadd(log.key("quarantine"), {"b": b"1", "reason": "no-json", "r": received})
        await log.redis.hset(log.key("left"), "x", "y")
        await log.redis.hset(log.key("replays"), "acme.dead", "{")
        await log.redis.hset(log.key("gaps"), "1", '{"from":"x","to":7,"types":[]}')
        await log.redis.hset(log.key("tenant"), "trimmed", "x")
        found = await explain(log, "session:1", handler=None, now_ms=now_ms())
        assert [(story.event.event_id, story.fates[0].state) for story in found.stories] == [
            (answer.event_id, "dead")
        ]
        assert len(found.mentions) == 4
        assert all(abs(now_ms() - mention.received_at_ms) < HOUR_MS for mention in found.mentions)
        assert await unfinished(log, "acme.dead") is None
        assert await reaches_back_to(log) == 0

    with_log(check)


def test_a_refused_step_of_a_lane_says_what_redis_said(with_log) -> None:
    async def check(log: EventLog) -> None:
        await log.declare([declaration(notes)])
        lease = Lease(log, "acme.notes", 0, "default")
        assert await lease.take() is not None
        await instead(log, "events", 0)
        with pytest.raises(UnknownRecord, match="refused a script of this lane: WRONGTYPE"):
            await lease.step(Settlement(), after="0-0", count=10)
        await lease.stop_at("why", 60)
        (stopped,) = (await log.redis.hgetall(log.key("held"))).values()
        assert b"why" in stopped

    with_log(check)
