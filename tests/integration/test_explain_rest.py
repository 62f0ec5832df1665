"""`explain` tells what is in no lane: dropped copies, refusals, unreadable bodies, types that are not subscribed."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from redis.exceptions import RedisError

from eventlog.heartbeat import Hole
from eventlog.log import EventLog, NewEvent, Unreadable
from eventlog.registry import Declaration
from eventlog.retention import Keep, keep
from eventlog.subscription import SubscriptionStore, left_types
from eventlog.turned_away import HOUR_MS, SLOT_MS, Copy, note, refused_between
from handlers import Context, Event, GiveUp, Raw, handler
from receiver.endpoint_notes import MOST_COPIES, EndpointNotes
from tests.door import door
from tests.harness import declaration, drained, event, on_log, opened, soon

A, B = "SessionUpdateNotification", "cdr.received"
DATED = {"session": {"id": 4711, "status": "active", "lastUpdatedAt": "2026-11-24T06:00:00Z"}}


def test_a_dropped_duplicate_is_found_at_the_event_that_it_equals(valkey, prefix, cli) -> None:
    body = json.dumps({"notification": A, **DATED}).encode()
    with door(valkey.url, prefix) as front:
        assert [front.post(body).status for _ in range(3)] == [202, 202, 202]
        soon(lambda: "copies" in cli("explain", "session:4711")[1])
        (story,) = cli.json("explain", "session:4711")["events"]
        assert [copy["reason"] for copy in story["copies"]] == ["equal-body", "equal-body"]
        for asked in ("session:4711", story["id"]):
            code, out, _ = cli("explain", asked)
            assert code == 0
            assert "2 copies of it were dropped, the last at " in out
            assert "the body of an event that was accepted before" in out
    on_log(valkey.url, prefix, lambda log: keep(log, Keep(hours=0)))
    # the event is gone, and no handler wanted it
    code, out, _ = cli("explain", "session:4711")
    assert code == 0
    assert f"dropped  {A}: the body of an event that was accepted before" in out


def test_refusals_are_counted_by_reason(valkey, prefix, cli) -> None:
    with door(valkey.url, prefix) as front:
        for _ in range(3):
            assert front.post(b"{}", key="another key").status == 401
        assert front.get("/webhooks/ampeco").status == 405
        said = (
            "the endpoint refused requests in the last 24 hours: signature-mismatch 3, method-not-allowed 1"
        )
        soon(lambda: said in cli("explain", "session:99")[1])
        assert json.loads(cli("explain", "session:99", "--json")[1])["refused"] == {
            "signature-mismatch": 3, "method-not-allowed": 1,
        }  # fmt: skip


def test_refusals_near_a_time_are_those_of_its_ten_minutes(valkey, prefix) -> None:
    hour = 500_000 * HOUR_MS

    async def check(log: EventLog) -> None:
        counts = {(hour + slot * SLOT_MS, "log-full"): 10**slot for slot in range(6)}
        await note(log, counts, [])
        await note(log, counts, [])
        assert await refused_between(log, hour + SLOT_MS, hour + 3 * SLOT_MS - 1) == {"log-full": 220}
        assert await refused_between(log, hour - HOUR_MS, hour - 1) == {}
        assert await refused_between(log, hour - HOUR_MS, hour + HOUR_MS) == {"log-full": 222_222}
        assert 0 < await log.redis.pttl(log.key("refused", 500_000)) <= 25 * HOUR_MS

    on_log(valkey.url, prefix, check)


def test_both_records_are_bounded(valkey, prefix) -> None:
    async def check(log: EventLog) -> None:
        for start in range(0, 12_000, 200):
            copies = [Copy(A, "session:1", "other-key", n, "", f"{n:040}") for n in range(start, start + 200)]
            await note(log, {(0, f"reason-{start + n}"): 1 for n in range(50)}, copies)
        assert 5_000 <= await log.redis.xlen(log.key("dropped")) <= 5_200
        assert await log.redis.hlen(log.key("refused", 0)) == 1_000
        assert await log.redis.pttl(log.key("dropped")) > 0

    on_log(valkey.url, prefix, check)


def test_while_redis_is_away_counts_wait_with_their_time(valkey, prefix, tmp_path: Path) -> None:
    now_ms = [500_000 * HOUR_MS]
    notes = EndpointNotes(lambda: now_ms[0])
    copy = NewEvent(A, "session:1", b"{}", 1, "", "drop")

    async def check(log: EventLog) -> None:
        from eventlog.log import Answer

        async with opened(f"unix://{tmp_path}/missing.sock", prefix) as away:
            for _ in range(30):
                notes.refused("log-unavailable")
                notes.dropped([copy], [Answer("duplicate", reason="equal-body")])
                with pytest.raises(RedisError):
                    await notes.write(away)
                now_ms[0] += HOUR_MS
            for _ in range(2 * MOST_COPIES):
                notes.dropped([copy], [Answer("duplicate", reason="equal-body")])
        await notes.write(log)
        counts = await refused_between(log, now_ms[0] - 48 * HOUR_MS, now_ms[0])
        assert counts["log-unavailable"] == 24  # what is older than a day was forgotten
        assert await log.redis.xlen(log.key("dropped")) == MOST_COPIES
        await notes.write(log)  # nothing is left
        assert await log.redis.xlen(log.key("dropped")) == MOST_COPIES

    on_log(valkey.url, prefix, check)


def test_a_body_in_quarantine_is_found_by_the_entity_it_names(valkey, prefix, cli) -> None:
    async def fill(log: EventLog) -> None:
        bodies = (b'{"session": {"id": 4711}', b'{"session": {"id": 47110}', b'{"id": "x4711"}', b"")
        await log.append([Unreadable(body, "not-json", 1_764_000_000_000, "12345678") for body in bodies])

    on_log(valkey.url, prefix, fill)
    code, out, _ = cli("explain", "session:4711")
    assert code == 0
    (line,) = [line for line in out.splitlines() if "quarantine" in line]
    assert "(not-json) holds the id 4711" in line
    (found,) = cli.json("explain", "session:4711")["quarantine"]
    assert found["reason"] == "not-json"
    assert cli("explain", found["id"])[0] == 0
    assert cli("explain", "session:5")[0] == 1


def test_a_fact_that_comes_in_another_spelling_is_not_reported_as_missing(valkey, prefix, cli) -> None:
    newer, older = "session.start.stop.notification", "SessionStartStopNotification"

    async def fill(log: EventLog) -> None:
        await SubscriptionStore(log).remember({"id": "1", "types": newer})
        await log.declare([Declaration("both", "v1", (newer, older), "default", "none", "now")])
        await log.append([event()])

    async def old_only(log: EventLog) -> None:
        await log.declare([Declaration("old", "v1", (older,), "default", "none", "now")])

    on_log(valkey.url, prefix, fill)
    out = cli("explain", "session:1")[1]
    assert out.startswith("session:1: 1 kept event in lane ")
    assert "no longer kept" not in out
    assert "not subscribed" not in out + cli("explain", "session:99")[1]
    on_log(valkey.url, prefix, old_only)
    assert f"not subscribed to {older}" in cli("explain", "session:99")[1]


def test_a_type_that_is_not_subscribed_any_more_says_since_when(valkey, prefix, cli) -> None:
    async def fill(log: EventLog) -> None:
        store = SubscriptionStore(log)
        await store.remember({"id": "1", "types": f"{A},{B}"})
        assert await left_types(log) == {}
        await store.remember({"id": "1", "types": B})
        assert set(await left_types(log)) == {A}
        await log.declare([Declaration("h", "v1", (A, B), "default", "none", "now")])
        await log.append([event()])

    on_log(valkey.url, prefix, fill)
    out = cli("explain", "session:1")[1]
    assert f"not subscribed to {A} since 20" in out
    (story,) = cli.json("explain", "session:1")["events"]
    assert story["not_subscribed_since"]
    assert f"{A} (not subscribed since 20" in cli("explain", story["id"])[1]
    assert f"not subscribed to {A} since 20" in cli("explain", "session:99")[1]

    async def again(log: EventLog) -> None:
        store = SubscriptionStore(log)
        await store.remember({"id": "1", "types": f"{A},{B}"})
        assert await left_types(log) == {}
        await store.forget()
        assert set(await left_types(log)) == {A, B}

    on_log(valkey.url, prefix, again)


def test_an_entity_shows_the_authors_words_and_only_handlers_that_want_the_type(valkey, prefix, cli) -> None:
    @handler("h", on=["*"], start="oldest")
    async def gives_up(event: Event[Raw], ctx: Context) -> None:
        raise GiveUp("the tariff is gone")

    async def fill(log: EventLog) -> None:
        await log.declare([declaration(gives_up), declaration(gives_up, name="picky", types=(B,))])
        await log.append([event()])
        await drained(log, gives_up)

    on_log(valkey.url, prefix, fill)
    out = cli("explain", "session:1")[1]
    assert "gave-up: the tariff is gone" in out
    assert "picky" not in out
    names = [one["handler"] for one in cli.json("explain", "session:1")["events"][0]["handlers"]]
    assert names == ["h", "picky"]  # the document has all

    # the dead letter outlives event and history
    on_log(valkey.url, prefix, lambda log: keep(log, Keep(hours=0, history_days=0)))
    assert "h: dead: gave-up" in cli("explain", "session:1")[1]


def test_an_outage_near_the_events_of_an_entity_is_named(valkey, prefix, cli) -> None:
    async def fill(log: EventLog) -> None:
        await log.append([event()])
        await log.beat("r", hole_after_ms=1)
        await asyncio.sleep(0.01)
        hole = await log.beat("r", hole_after_ms=1)
        assert isinstance(hole, Hole)
        await log.close_gap("r", hole, [A], None)

    on_log(valkey.url, prefix, fill)
    out = cli("explain", "session:1")[1]
    assert "the receiver was down from" in out
    assert "events of this entity may be among them" in out
