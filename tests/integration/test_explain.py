"""What became of an event: `explain` names every state and every reason to wait, never a bare "not found"."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import Any

import pytest

from commands.delivery_text import said
from eventlog.clock import now_ms
from eventlog.errors import UnknownName
from eventlog.heartbeat import Hole
from eventlog.history import Settled, encode, hash_of
from eventlog.inspection.delivery_state import Fate
from eventlog.inspection.event_traces import ALL, OF_PAGE
from eventlog.inspection.events import read_event
from eventlog.inspection.explain import Explanation, explain
from eventlog.inspection.search import LOOKS
from eventlog.lease import Lease
from eventlog.log import EventLog, Unreadable
from eventlog.operation.dead_letters import DeadFilter, matching, retry
from eventlog.operation.handlers import pause, rename
from eventlog.retention import Keep, keep
from eventlog.subscription import SubscriptionStore
from handlers import Context, Event, GiveUp, Raw, Retry, Skip, handler
from tests.harness import at_work, declaration, drained, event, eventually

A, B = "SessionUpdateNotification", "never.seen"


async def explained(log: EventLog, asked: str, **options: Any) -> Explanation:
    return await explain(log, asked, **{"handler": None, "now_ms": now_ms(), **options})


async def fate(log: EventLog, asked: str, name: str = "h", **options: Any) -> Fate:
    found = await explained(log, asked, **options)
    assert found.is_known
    return next(fate for fate in found.stories[-1].fates if fate.handler == name)


async def accepted(log: EventLog, *events) -> list[str]:
    return [answer.event_id or "" for answer in (await log.append(list(events))).answers]


@handler("h", on=["*"], start="oldest")
async def acts(event: Event[Raw], ctx: Context) -> None:
    match event.payload.data["n"]:
        case 1:
            raise Skip("not mine")
        case 2:
            raise GiveUp("no such thing")
        case 3:
            raise Retry("not there yet", after_s=900)


def test_tells_what_was_settled_and_how(on_each_server):
    async def check(log: EventLog) -> None:
        await log.declare([declaration(acts)])
        keys = [f"session:{n}" for n in range(3)]
        done, skipped, dead = await accepted(log, *(event(key=key, n=n) for n, key in enumerate(keys)))
        await drained(log, acts)
        for event_id, state, why in (
            (done, "done", ""),
            (skipped, "skipped", "not mine"),
            (dead, "dead", "gave-up"),
        ):
            found = await fate(log, event_id)
            assert (found.state, found.why) == (state, why)
            assert found.at_ms is not None
            assert abs(found.at_ms - now_ms()) < 60_000
        assert [(note.outcome, note.detail) for note in found.attempts] == [("gave-up", "no such thing")]
        (letter,) = await matching(log, DeadFilter())
        assert found.letter == letter.id
        facts = (await explained(log, done)).stories[0].event
        assert (facts.type, facts.key, facts.kept, facts.key_id, facts.lane) == (
            A, "session:0", True, "00000000", log.lane_of("session:0", b""),
        )  # fmt: skip
        assert facts.size == len((await read_event(log, done)).body)

    on_each_server(check)


def test_tells_what_is_tried_again_and_what_is_parked_behind_it(on_each_server):
    async def check(log: EventLog) -> None:
        await log.declare([declaration(acts)])
        first, second, _ = await accepted(log, event(n=3), event(n=0), event(type=B, n=0))
        await drained(log, acts)
        found = await fate(log, first)
        assert (found.state, found.why, found.tries) == ("retry", "not there yet", 1)
        assert found.at_ms is not None
        assert 880_000 < found.at_ms - now_ms() < 910_000
        assert [note.outcome for note in found.attempts] == ["retry-asked"]
        parked = await fate(log, second)
        assert (parked.state, parked.behind, parked.at_ms) == ("parked", first, found.at_ms)
        of_entity = await explained(log, "session:1")
        assert [story.fates[0].state for story in of_entity.stories] == ["retry", "parked", "parked"]
        assert {story.fates[0].behind for story in of_entity.stories[1:]} == {first}

    on_each_server(check)


def test_tells_why_an_event_waits(on_each_server):
    async def check(log: EventLog) -> None:
        await log.declare([declaration(acts)])
        (waiting,) = await accepted(log, event(n=0))
        lane = int(waiting.partition("-")[0])
        assert (await fate(log, waiting)).why == "nobody-yet"
        later = now_ms() + 600_000
        found = await fate(log, waiting, now_ms=later)
        assert (found.state, found.why) == ("waiting", "no-worker")
        lease = Lease(log, "h", lane, "default")
        assert await lease.take() is not None
        found = await fate(log, waiting)
        assert found.why == "held"
        assert str(os.getpid()) in found.holder
        await log.redis.hset(log.key("runto"), f"h|{lane}", waiting.partition("-")[2])
        assert (await fate(log, waiting)).why == "handed-out"
        await log.redis.hset(log.key("open", "h", lane), mapping={f"1-{n}": b"{}\n" for n in range(10_000)})
        assert (await fate(log, waiting)).why == "open-full"
        await pause(log, "h", reason="deploying", now_ms=4_711)
        found = await fate(log, waiting)
        assert (found.why, found.words, found.at_ms) == ("paused", "deploying", 4_711)

    on_each_server(check)


def test_tells_what_runs_and_who_runs_it(on_each_server):
    async def check(log: EventLog) -> None:
        begun, may_end = asyncio.Event(), asyncio.Event()

        @handler("h", on=["*"], start="oldest")
        async def slow(event: Event[Raw], ctx: Context) -> None:
            begun.set()
            await may_end.wait()

        await log.declare([declaration(slow)])
        first, second = await accepted(log, event(n=0), event(key="session:9", n=0))
        async with at_work(log, slow):
            await begun.wait()

            async def is_seen_at_work() -> bool:
                found = await fate(log, first)
                return str(os.getpid()) in found.holder and found.why in ("handed-out", "") and found.state in (
                    "waiting", "running",
                )  # fmt: skip

            await eventually(is_seen_at_work)
            may_end.set()
        assert {(await fate(log, one)).state for one in (first, second)} == {"done"}

    on_each_server(check)


def test_tells_who_does_not_want_it_and_who_came_too_late(on_each_server):
    async def check(log: EventLog) -> None:
        await log.declare([declaration(acts), declaration(acts, name="picky", types=(B,))])
        (early,) = await accepted(log, event(n=0))
        assert (await fate(log, early, "picky")).state == "not-wanted"
        await drained(log, acts)
        await asyncio.sleep(0.002)
        await log.declare([declaration(acts, name="late", start="now")])
        found = await fate(log, early, "late")
        assert found.state == "before-start"
        await rename(log, "late", "later", now_ms=now_ms())
        assert (await fate(log, early, "later")).at_ms == found.at_ms
        # a new version of the code changes nothing about that
        await log.declare([declaration(acts, name="later", version="v2")])
        assert (await fate(log, early, "later")).at_ms == found.at_ms
        only = await explained(log, early, handler="picky")
        assert [fate.handler for fate in only.stories[0].fates] == ["picky"]
        with pytest.raises(UnknownName, match="there are: h, later, picky"):
            await explained(log, early, handler="nobody")

    on_each_server(check)


def test_a_replayed_event_tells_both_of_its_ends(on_each_server):
    gives_up = True

    @handler("h", on=["*"])
    async def h(event: Event[Raw], ctx: Context) -> None:
        if gives_up:
            raise GiveUp("no")

    async def check(log: EventLog) -> None:
        nonlocal gives_up
        gives_up = True
        await log.declare([declaration(h)])
        (event_id,) = await accepted(log, event(n=0))
        await drained(log, h)
        await retry(log, await matching(log, DeadFilter()))
        again = await fate(log, event_id)
        assert (again.state, [end.settled.outcome for end in again.earlier]) == ("replay", ["dead"])
        gives_up = False
        await drained(log, h)
        found = await fate(log, event_id)
        assert (found.state, [end.settled.outcome for end in found.earlier]) == ("done", ["dead"])
        assert found.letter == ""

    on_each_server(check)


def test_what_was_trimmed_is_told_from_what_is_left(on_each_server):
    async def check(log: EventLog) -> None:
        await log.declare([declaration(acts)])
        done, dead, retried = await accepted(
            log, event(key="session:1", n=0), event(key="session:1", n=2), event(key="session:1", n=3)
        )
        await drained(log, acts)
        await keep(log, Keep(hours=0))
        for event_id, state, type_name in ((done, "done", None), (dead, "dead", A), (retried, "retry", A)):
            found = await explained(log, event_id)
            assert found.is_known
            assert not found.stories[0].event.kept
            assert found.stories[0].event.type == type_name
            assert found.stories[0].fates[0].state == state
        of_entity = await explained(log, "session:1")
        assert [story.event.event_id for story in of_entity.stories] == [done, dead, retried]
        assert [story.fates[0].state for story in of_entity.stories] == ["done", "dead", "retry"]
        assert of_entity.oldest_ms is None
        await keep(log, Keep(hours=0, history_days=0))
        assert not (await explained(log, done)).is_known
        assert (await fate(log, dead)).state == "dead"

    on_each_server(check)


def test_what_left_no_trace_is_answered_with_what_may_be_the_reason(on_each_server):
    async def check(log: EventLog) -> None:
        await log.declare([declaration(acts)])
        (kept,) = await accepted(log, event(n=0))
        await SubscriptionStore(log).remember({"id": "1", "types": f"{A},{B}", "callback_url": "https://x"})
        assert await log.beat("r", hole_after_ms=1) is None
        await asyncio.sleep(0.01)
        hole = await log.beat("r", hole_after_ms=1)
        assert isinstance(hole, Hole)
        await log.close_gap("r", hole, [A], None)
        lane, _, stream_id = kept.partition("-")
        for asked in (f"{lane}-{stream_id}9", f"{lane}-17-0", "session:99", "3-9999999999999-0", "99-1-1"):
            found = await explained(log, asked)
            assert not found.is_known, asked
            assert found.subscribed == {A, B}
            assert [handler.name for handler in found.handlers] == ["h"]
        assert [gap.types for gap in (await explained(log, "session:99")).gaps] == [(A,)]
        assert [gap.types for gap in (await explained(log, f"{lane}-{now_ms() - 200_000_000}-0")).gaps] == []
        assert [gap.types for gap in (await explained(log, f"{lane}-{now_ms()}-77")).gaps] == [(A,)]
        found = await explained(log, f"{lane}-17-0")
        assert found.oldest_ms == int(stream_id.partition("-")[0])
        assert found.newest is not None
        with pytest.raises(UnknownName, match="neither"):
            await explained(log, "nonsense")

    on_each_server(check)


def test_a_body_in_quarantine_is_found_by_its_id(on_each_server):
    async def check(log: EventLog) -> None:
        (answer,) = (await log.append([Unreadable(b"??", "not-json", 4_711, "12345678")])).answers
        found = await explained(log, answer.event_id or "")
        assert found.quarantined is not None
        assert (found.quarantined.reason, found.quarantined.received_at_ms) == ("not-json", 4_711)
        assert found.is_known
        assert not (await explained(log, "17-0")).is_known

    on_each_server(check)


def test_within_limits_it_says_that_it_read_a_part_of_the_history(with_lane):
    async def check(log: EventLog) -> None:
        event_id, stream_id, ms = await passed(log)
        await settled_at(log, ms, {n: stream_id if n == 8_000 else f"{ms + n + 1}-0" for n in range(9_000)})
        few = OF_PAGE._replace(ends=3_000)
        found = await fate(log, event_id, limits=few)
        assert (found.state, found.is_partial) == ("settled", True)
        assert "not in the part of the history that was read" in said(found)
        for limits in (OF_PAGE, ALL):
            found = await fate(log, event_id, limits=limits)
            assert (found.state, found.at_ms, found.is_partial) == ("skipped", ms + 8_000, False)

    with_lane(check)


def test_an_end_after_a_long_wait_is_found_within_limits(with_lane):
    """After a pause a backlog ends in the order of its arrival; retries of older events lie between."""

    async def check(log: EventLog) -> None:
        event_id, stream_id, ms = await passed(log)
        older = {n: f"{ms - 9_000 + n}-0" for n in range(8_000)}
        newer = {n: f"{ms + n}-0" if n % 3 else f"{ms - n}-0" for n in range(8_001, 20_000)}
        await settled_at(log, ms, {**older, 8_000: stream_id, **newer})
        found = await fate(log, event_id, limits=OF_PAGE._replace(ends=1_000))
        assert (found.state, found.at_ms, found.is_partial) == ("skipped", ms + 8_000, True)

    with_lane(check)


async def passed(log: EventLog) -> tuple[str, str, int]:
    """Accept an event that the cursor has passed; return its id, that in its stream, and its time (ms)."""
    await log.declare([declaration(acts)])
    (event_id,) = await accepted(log, event(n=0))
    stream_id = event_id.partition("-")[2]
    ms = int(stream_id.partition("-")[0])
    await log.redis.hset(log.key("cur"), "h|0", f"{ms + 1}-0")
    return event_id, stream_id, ms


async def settled_at(log: EventLog, ms: int, stream_ids: Mapping[int, str]) -> None:
    """Write a history: what was skipped so many ms after a moment."""
    async with log.redis.pipeline(transaction=False) as many:
        for after_ms, stream_id in stream_ids.items():
            one = encode([Settled(stream_id, hash_of("session:1"), "skipped", "x")])
            many.xadd(log.key("history", "h", 0), {"d": one}, id=f"{ms + after_ms}-0")
        await many.execute()


def test_beyond_its_limit_of_bytes_a_delivery_has_a_state_without_words(on_each_server):
    async def check(log: EventLog) -> None:
        await log.declare([declaration(acts)])
        keys = [f"session:{n}" for n in range(3)]
        dead, retried, skipped = await accepted(
            log, *(event(key=key, n=n) for key, n in zip(keys, (2, 3, 1), strict=True))
        )
        await drained(log, acts)
        few = OF_PAGE._replace(bytes=15)
        for event_id, state, why in (
            (dead, "dead", "gave-up"),
            (retried, "retry", ""),
            (skipped, "skipped", ""),
        ):
            found = await fate(log, event_id, limits=few)
            assert (found.state, found.why, found.attempts) == (state, why, ())
            assert (await fate(log, event_id, limits=OF_PAGE)).why

    on_each_server(check)


def test_a_dead_letter_is_found_behind_any_number_of_newer_ones(with_lane):
    async def check(log: EventLog) -> None:
        await log.declare([declaration(acts)])
        (event_id,) = await accepted(log, event(n=2))
        await drained(log, acts)
        stream = log.key("dead", "h")
        ((letter, fields),) = await log.redis.xrange(stream)
        async with log.redis.pipeline(transaction=False) as many:
            for n in range(1_500):
                many.xadd(stream, {**fields, b"event": f"0-{n}-0"}, id=f"{now_ms() + 1_000 + n}-0")
            await many.execute()
        few = OF_PAGE._replace(letters=100)
        assert (await fate(log, event_id, limits=few)).letter == f"h/{letter.decode()}"
        await keep(log, Keep(hours=0, history_days=0))  # nothing says any more when it died
        assert (await fate(log, event_id)).letter == f"h/{letter.decode()}"
        assert not (await explained(log, event_id, limits=few)).stories[0].fates

    with_lane(check)


def test_an_id_of_the_last_possible_time_is_unknown_and_a_later_one_is_none(with_lane):
    async def check(log: EventLog) -> None:
        await log.declare([declaration(acts)])
        assert not (await explained(log, "0-9999999999999-9999999")).is_known
        with pytest.raises(UnknownName, match="neither"):
            await explained(log, "0-9999999999999999999-0")

    with_lane(check)


def test_an_entity_is_found_in_pages_of_a_thousand_without_bodies(with_lane):
    """One round trip per page of the lane, and one per page of the history of each handler."""

    async def check(log: EventLog) -> None:
        await log.declare([declaration(acts), declaration(acts, name="other")])
        async with log.redis.pipeline(transaction=False) as many:
            for n in range(3_500):
                key = "session:4711" if n % 700 == 0 else f"session:{n}"
                fields = {
                    "v": 1,
                    "t": A,
                    "k": key,
                    "b": b"x" * 700,
                    "r": n,
                    "s": "",
                    "m": "misfit,maybe_repeat",
                }
                many.xadd(log.key("events", 0), fields, id=f"{n + 1}-0")
                one = encode([Settled(f"{n + 1}-0", hash_of(key), "done")])
                many.xadd(log.key("history", "h", 0), {"d": one}, id=f"{n + 1}-0")
            await many.execute()
        asked: list[int] = []
        real = log.scripts.find

        async def counted(args: list[Any]) -> Any:
            reply = await real(args=args)
            asked.append(args[2])
            assert sum(len(part) for found in reply[2] for part in found if isinstance(part, bytes)) < 1_000
            return reply

        log.scripts.find = counted
        found = await explained(log, "session:4711")
        assert len(found.stories) == 5
        assert all(story.fates[0].state == "done" for story in found.stories)
        assert found.stories[0].event.size == 700
        assert found.stories[0].event.marks == ("misfit", "maybe_repeat")
        assert set(asked) == {1, LOOKS} == {1, 1_000}  # one is the oldest of the lane
        # four of the lane, four and one of the histories, one each of the dead letters, copies and quarantine
        assert asked.count(LOOKS) == 4 + (4 + 1) + 2 + 1 + 1

    with_lane(check)
