"""Gaps are recorded once, with their reason and their event."""

from __future__ import annotations

import json

from eventlog.clock import now_ms
from eventlog.gap_records import NO_RECEIVER, NOT_SUBSCRIBED, Gaps
from eventlog.heartbeat import Hole
from eventlog.inspection.events import list_events, read_event
from eventlog.inspection.gaps import recorded_gaps
from eventlog.internal import GAP_CLOSED
from eventlog.log import EventLog
from eventlog.registry import Declaration

A, B = "SessionUpdateNotification", "NetworkStatusNotification"
WANTS = Declaration("h", "v1", (GAP_CLOSED,), "default", "entity", "oldest")


def test_a_time_without_subscription_is_a_gap_with_its_event(on_each_server) -> None:
    async def check(log: EventLog) -> None:
        await log.declare([WANTS])
        until_ms = now_ms()
        since_ms = until_ms - 60_000
        noted = await Gaps(log).note(NOT_SUBSCRIBED, since_ms, until_ms, [A, B], callback_url="https://x/h")
        assert noted is not None
        event_id, queues = noted
        assert queues == ["default"]
        (gap,) = await recorded_gaps(log)
        assert (gap.from_ms, gap.to_ms, gap.types, gap.reason) == (since_ms, until_ms, (A, B), NOT_SUBSCRIBED)
        assert gap.is_final
        stored = await read_event(log, event_id)
        assert stored is not None
        body = json.loads(stored.body)
        assert (body["notification"], body["reason"], body["types"]) == (GAP_CLOSED, NOT_SUBSCRIBED, [A, B])

    on_each_server(check)


def test_a_gap_is_noted_once_and_another_of_the_same_moment_lies_beside_it(on_each_server) -> None:
    async def check(log: EventLog) -> None:
        gaps, now = Gaps(log), now_ms()
        assert await gaps.note(NOT_SUBSCRIBED, now - 9_000, now, [])
        assert await gaps.note(NOT_SUBSCRIBED, now - 9_000, now + 5, [A]) is None
        assert await gaps.note("redis-rolled-back", now - 9_000, now, [A])
        assert [(gap.reason, gap.types) for gap in await recorded_gaps(log)] == [
            (NOT_SUBSCRIBED, ()),
            ("redis-rolled-back", (A,)),
        ]
        assert len(await list_events(log)) == 2

    on_each_server(check)


def test_an_outage_has_its_reason_and_records_of_older_code_mean_one(on_each_server) -> None:
    async def check(log: EventLog) -> None:
        await log.beat("r", hole_after_ms=1)
        beat_ms = int((await log.redis.hgetall(log.key("door")))[b"r"])
        assert await log.close_gap("r", Hole(beat_ms, beat_ms + 5_000), [A], None)
        (text,) = await log.redis.hvals(log.key("gaps"))
        assert json.loads(text)["reason"] == NO_RECEIVER
        older = {
            "notification": GAP_CLOSED,
            "from": "2026-11-24T06:00:00.000Z",
            "to": "2026-11-24T06:01:00.000Z",
        }
        await log.redis.hset(log.key("gaps"), "1", json.dumps({**older, "types": [B], "callbackUrl": None}))
        first, second = await recorded_gaps(log)
        assert (first.reason, first.types, first.is_final) == (NO_RECEIVER, (B,), False)
        assert (second.reason, second.types) == (NO_RECEIVER, (A,))

    on_each_server(check)
