"""Which notifications are dropped, which are marked, and for how long the log knows that."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable

import pytest

from eventlog.duplicates import hash_of_entity, repeat_reason
from eventlog.inspection.events import list_events, read_counts, read_event
from eventlog.log import Answer, EventLog, NewEvent
from eventlog.registry import Declaration
from eventlog.retention import Keep, keep
from eventlog.subscription import SubscriptionStore
from eventlog.usage import standing
from tests.clocked import MIDNIGHT_S, ClockedLog, clocked
from tests.harness import opened

HOUR_S = 3600
PART_S = 4 * HOUR_S  # of a window of 24 h
ONE, OTHER = "11111111", "22222222"
Check = Callable[[ClockedLog], Awaitable[None]]

_nonces = iter(range(1_000_000))


def dated(
    body: str, key: str | None = "evse:1", *, key_id: str = ONE, type: str = "evse.changed"
) -> NewEvent:
    """A notification that carries a time of its own, as each delivery of it brings it."""
    return NewEvent(type, key, body.encode(), 1, key_id, "drop", nonce=b"nonce%07d" % next(_nonces))


def undated(body: str, key: str | None = "evse:1", *, key_id: str = ONE) -> NewEvent:
    return dated(body, key, key_id=key_id)._replace(duplicates="mark")


@pytest.fixture
def on_clocked(log_url: str, prefix: str) -> Callable[[Check], None]:
    """Run a check against a log whose time can be set, on each kind of server."""

    def run(check: Check) -> None:
        async def opened_and_checked() -> None:
            async with clocked(log_url, prefix) as found:
                await check(found)

        asyncio.run(opened_and_checked())

    return run


async def verdicts(found: ClockedLog, *events: NewEvent) -> list[str]:
    """Of each: `new`, why it is marked, or why it was dropped."""
    said = []
    for answer in (await found.log.append(events)).answers:
        if answer.event_id is None:
            said.append(f"dropped {answer.reason}")
        else:
            stored = await read_event(found.log, answer.event_id)
            assert stored is not None
            said.append(repeat_reason(stored.marks) or "new")
    return said


@pytest.mark.parametrize("together", [True, False])
def test_a_state_that_goes_there_and_back_is_three_events(on_clocked, together):
    async def check(found: ClockedLog) -> None:
        story = [dated("available"), dated("faulted"), dated("available"), dated("available")]
        expected = ["new", "new", "not-last", "dropped equal-body"]
        if together:
            assert await verdicts(found, *story) == expected
        else:
            assert [(await verdicts(found, event))[0] for event in story] == expected

    on_clocked(check)


def test_what_comes_between_has_the_same_type_and_entity_and_may_be_undated(on_clocked):
    async def check(found: ClockedLog) -> None:
        assert await verdicts(found, dated("a")) == ["new"]
        assert await verdicts(found, dated("b", "evse:2"), dated("d", type="evse.other")) == ["new", "new"]
        assert await verdicts(found, dated("e", None), dated("a")) == ["new", "dropped equal-body"]
        assert await verdicts(found, undated("c"), dated("a")) == ["new", "not-last"]

    on_clocked(check)


def test_without_an_entity_the_body_alone_decides(on_clocked):
    async def check(found: ClockedLog) -> None:
        story = [dated("a", None), dated("b", None), dated("a", None)]
        assert await verdicts(found, *story) == ["new", "new", "dropped equal-body"]

    on_clocked(check)


def test_duplicates_are_counted_by_reason(on_clocked):
    async def check(found: ClockedLog) -> None:
        same = dated("a")
        await verdicts(found, same, same, dated("a"), dated("a"), dated("b"))
        counts = await read_counts(found.log)
        assert (counts.accepted, counts.duplicates) == (2, 3)
        assert counts.duplicates_by_reason == {"appended-before": 1, "equal-body": 2}

    on_clocked(check)


@pytest.mark.parametrize("offset_s", [0, 100, 119, 120, 239])
@pytest.mark.parametrize("make", [dated, undated])
def test_a_nonce_is_known_for_120_s_and_not_for_long(on_clocked, make, offset_s):
    """In every position of the clock, and with another event in between."""

    async def check(found: ClockedLog) -> None:
        await found.pass_s(offset_s)
        same = make("a")
        again = same._replace(duplicates="again")
        assert await verdicts(found, same, make("b")) == ["new", "new"]
        for passed_s in (0, 60, 60):
            await found.pass_s(passed_s)
            assert await verdicts(found, same, again) == ["dropped appended-before"] * 2
        await found.pass_s(241)
        assert await verdicts(found, again) == ["appended-again"]
        assert await verdicts(found, again) == ["dropped appended-before"]

    on_clocked(check)


def test_what_we_append_again_is_judged_by_its_nonce_alone(on_clocked):
    """Its body is known and was the last of its entity; but it is an event of its own, that Redis forgot."""

    async def check(found: ClockedLog) -> None:
        forgotten = dated("a")._replace(duplicates="again", mark="misfit")
        assert await verdicts(found, dated("a"), forgotten, forgotten) == [
            "new",
            "appended-again",
            "dropped appended-before",
        ]
        newest = (await list_events(found.log, limit=1))[0]
        assert newest.marks == ("misfit", "maybe_repeat", "appended-again")
        assert await verdicts(found, dated("b"), forgotten, dated("b")) == [
            "new",
            "dropped appended-before",
            "dropped equal-body",
        ]

    on_clocked(check)


def test_nonces_are_kept_for_minutes_and_bodies_for_the_window(on_clocked):
    async def check(found: ClockedLog) -> None:
        await found.log.append([dated("a"), undated("b")])
        log, hour = found.log, MIDNIGHT_S // HOUR_S
        assert await log.redis.ttl(log.key("own", MIDNIGHT_S // 240)) == pytest.approx(360, abs=5)
        for name in ("seen", "last"):
            assert await log.redis.ttl(log.key(name, hour)) == pytest.approx(28 * HOUR_S, abs=5)
        assert await log.redis.scard(log.key("seen", hour)) == 2
        assert await log.redis.hgetall(log.key("last", hour)) == {
            hash_of_entity("evse.changed", "evse:1"): hashlib.sha256(b"b").digest()[:12]
        }

    on_clocked(check)


@pytest.mark.parametrize("between_s", [0, PART_S - 1, PART_S, 3 * PART_S])
@pytest.mark.parametrize("after_s", [0, PART_S - 1, PART_S, 2 * PART_S])
def test_a_body_and_what_came_since_may_lie_in_different_parts_of_the_window(on_clocked, between_s, after_s):
    async def check(found: ClockedLog) -> None:
        await found.pass_s(PART_S / 2)
        assert await verdicts(found, dated("a"), dated("c", "evse:2")) == ["new", "new"]
        await found.pass_s(between_s)
        assert await verdicts(found, dated("b")) == ["new"]
        await found.pass_s(after_s)
        assert await verdicts(found, dated("a"), dated("c", "evse:2")) == ["not-last", "dropped equal-body"]
        assert await verdicts(found, dated("a"), dated("b")) == ["dropped equal-body", "not-last"]

    on_clocked(check)


@pytest.mark.parametrize("offset_s", [0, PART_S // 2, PART_S - 1])
def test_a_body_is_known_for_the_window_and_at_most_a_sixth_longer(on_clocked, offset_s):
    async def check(found: ClockedLog) -> None:
        await found.pass_s(offset_s)
        assert await verdicts(found, dated("a"), dated("b"), undated("u", "evse:2")) == ["new"] * 3
        await found.pass_s(24 * HOUR_S)
        assert await verdicts(found, dated("a")) == ["not-last"]
        assert await verdicts(found, undated("u", "evse:2")) == ["no-own-time"]
        await found.pass_s(28 * HOUR_S)
        assert await verdicts(found, dated("a"), dated("b"), undated("u", "evse:2")) == ["new"] * 3

    on_clocked(check)


def test_a_window_of_no_hours_switches_the_look_off_but_not_our_own_nonces(log_url, prefix):
    async def check() -> None:
        async with clocked(log_url, prefix, duplicate_hours=0) as found:
            same = dated("a")
            assert await verdicts(found, same, dated("a"), undated("u"), undated("u")) == ["new"] * 4
            assert await verdicts(found, same) == ["dropped appended-before"]

    asyncio.run(check())


# Two subscriptions of ours


async def two(found: ClockedLog) -> SubscriptionStore:
    store = SubscriptionStore(found.log)
    await store.set_two(int(found.now_s * 1000))
    return store


def test_the_nth_copy_by_one_key_pairs_with_the_nth_by_the_other(on_clocked):
    async def check(found: ClockedLog) -> None:
        await two(found)
        a, b = dated("a"), dated("b")
        assert await verdicts(found, a, b) == ["new", "new"]
        copies = [dated("a", key_id=OTHER), dated("b", key_id=OTHER)]
        assert await verdicts(found, *copies) == ["dropped other-key"] * 2
        assert await verdicts(found, dated("a", key_id=OTHER)) == ["not-last"], "there and back"
        assert await verdicts(found, dated("b", key_id=OTHER)) == ["not-last"], "and there again"
        assert await verdicts(found, dated("a")) == ["dropped other-key"]
        assert await verdicts(found, dated("b")) == ["dropped other-key"]
        assert await verdicts(found, dated("b"), dated("b", key_id=OTHER)) == ["dropped equal-body"] * 2
        assert (await read_counts(found.log)).duplicates_by_reason == {"other-key": 4, "equal-body": 2}

    on_clocked(check)


def test_copies_pair_for_the_whole_window(on_clocked):
    async def check(found: ClockedLog) -> None:
        await two(found)
        assert await verdicts(found, dated("a"), dated("n", None), dated("b")) == ["new"] * 3
        await found.pass_s(24 * HOUR_S)
        late = [dated("a", key_id=OTHER), dated("n", None, key_id=OTHER)]
        assert await verdicts(found, *late) == ["dropped other-key"] * 2

    on_clocked(check)


def test_a_repetition_that_was_dropped_is_no_copy_of_its_own(on_clocked):
    """Else the next event with this body, which comes by the other key first, would pair with it and be lost."""

    async def check(found: ClockedLog) -> None:
        await two(found)
        assert await verdicts(found, dated("a"), dated("a")) == ["new", "dropped equal-body"]
        assert await verdicts(found, dated("b"), dated("a", key_id=OTHER)) == ["new", "dropped other-key"]
        assert await verdicts(found, dated("a", key_id=OTHER)) == ["not-last"]

    on_clocked(check)


def test_undated_copies_pair_within_120_s(on_clocked):
    async def check(found: ClockedLog) -> None:
        await two(found)
        assert await verdicts(found, undated("u"), undated("u")) == ["new", "no-own-time"]
        await found.pass_s(119)
        assert await verdicts(found, undated("u", key_id=OTHER)) == ["dropped other-key"]
        assert await verdicts(found, undated("u")) == ["no-own-time"], "its third"
        await found.pass_s(2)
        assert await verdicts(found, undated("u", key_id=OTHER)) == ["no-own-time"], "121 s after the second"
        assert await verdicts(found, undated("u", key_id=OTHER)) == ["dropped other-key"], (
            "2 s after the third"
        )

    on_clocked(check)


def test_without_two_subscriptions_or_a_key_nothing_is_paired(on_clocked):
    async def check(found: ClockedLog) -> None:
        assert await verdicts(found, undated("u"), undated("u", key_id=OTHER)) == ["new", "no-own-time"]
        store = await two(found)
        assert await verdicts(found, undated("v", key_id=""), undated("v")) == ["new", "no-own-time"]
        assert await verdicts(found, undated("v", key_id="")) == ["no-own-time"]
        await store.clear_two()
        assert await verdicts(found, undated("v", key_id=OTHER)) == ["no-own-time"]

    on_clocked(check)


def test_each_period_of_two_subscriptions_counts_its_own_copies(on_clocked):
    async def check(found: ClockedLog) -> None:
        store = await two(found)
        assert await verdicts(found, dated("a"), dated("a", key_id=OTHER)) == ["new", "dropped other-key"]
        await store.clear_two()
        await found.pass_s(1)
        await two(found)
        assert await verdicts(found, dated("b"), dated("a", key_id="33333333")) == ["new", "not-last"]

    on_clocked(check)


def test_the_log_remembers_since_when_there_are_two_subscriptions(on_clocked):
    async def check(found: ClockedLog) -> None:
        store = SubscriptionStore(found.log)
        assert await store.two_since() is None
        await store.set_two(1_000)
        await store.set_two(2_000)
        assert (await store.two_since(), await store.read()) == (1_000, {})
        await store.remember({"id": "1", "types": "a"})
        await store.remember({"id": "2", "key_id": "k"})
        assert (await store.two_since(), await store.read()) == (1_000, {"id": "2", "key_id": "k"})
        await store.clear_two()
        assert (await store.two_since(), await store.read()) == (None, {"id": "2", "key_id": "k"})
        await store.set_two(3_000)
        await store.forget()
        assert (await store.two_since(), await store.read()) == (None, {})

    on_clocked(check)


# Together with an earlier version


def test_what_an_earlier_version_accepted_is_known_and_rather_repeated_than_lost(on_clocked):
    """It kept bodies as we do, but not which of them was the last of its entity."""

    async def check(found: ClockedLog) -> None:
        log = found.log
        for body in (b"a", b"n"):
            digest = hashlib.sha256(body).digest()[:12]
            await log.redis.sadd(log.key("seen", MIDNIGHT_S // HOUR_S), digest)
        assert await verdicts(found, dated("a"), dated("a")) == ["not-last", "dropped equal-body"]
        assert await verdicts(found, dated("n", None)) == ["dropped equal-body"]
        fields = {"v": 1, "t": "x", "k": "", "b": b"{}", "r": 1, "s": "", "m": "misfit,maybe_repeat"}
        stream_id = await log.redis.xadd(log.key("events", 0), fields)
        stored = await read_event(log, f"0-{stream_id.decode()}")
        assert stored is not None
        assert repeat_reason(stored.marks) == "unknown"

    on_clocked(check)


# What it takes up, and what it must not break


def test_the_last_event_of_each_entity_counts_against_the_budget(log_url, prefix):
    async def check() -> None:
        async with opened(log_url, prefix) as log:
            for first in range(0, 20_000, 250):
                await log.append([undated("a", f"evse:{first + n}") for n in range(250)])
            found = await keep(log, Keep())
            assert found.duplicates / 20_000 == pytest.approx(
                95, abs=60
            )  # servers differ in what a field takes
            assert found.bytes == found.events + found.duplicates + found.tables
            assert await standing(log) == found
            before = found.duplicates
            await SubscriptionStore(log).set_two(1)
            await log.append([undated("b", f"evse:{n}") for n in range(250)])
            assert (await keep(log, Keep())).duplicates > before
            full = await keep(log, Keep(max_bytes=before // 2))
            assert "duplicate window" in full.full

    asyncio.run(check())


def test_an_append_wakes_every_pair_however_many_there_are(log_url, prefix):
    async def check() -> None:
        async with opened(log_url, prefix, lanes=16) as log:
            names = [f"h{number}" for number in range(80)]
            await log.declare(
                [Declaration(name, "v1", ("*",), f"q{len(name)}", "entity", "oldest") for name in names]
            )
            reply = await log.append([dated(f"{n}", f"evse:{n}") for n in range(200)])
            assert sorted(reply.wake) == ["q2", "q3"]
            due = [pair for queue in reply.wake for pair in await log.due(queue, names, limit=10_000)]
            assert sorted(due) == sorted((name, lane) for name in names for lane in range(16))

    asyncio.run(check())


def test_an_answer_says_why(log_url, prefix):
    async def check() -> list[Answer]:
        async with opened(log_url, prefix) as log:
            return (await log.append([dated("a"), dated("a")])).answers

    accepted, dropped = asyncio.run(check())
    assert (accepted.outcome, accepted.reason) == ("accepted", None)
    assert dropped == Answer("duplicate", reason="equal-body")


def test_types_and_entities_have_hashes_of_their_own() -> None:
    named = {hash_of_entity(kind, key) for kind in ("a", "ab") for key in ("b:1", "1", "bb:1", "")}
    assert len(named) == 8
    assert {len(found) for found in named} == {8}
    assert hash_of_entity("a", None) == b""


def test_two_receivers_on_one_log_judge_alike(log_url, prefix):
    async def check() -> None:
        async with opened(log_url, prefix) as one, opened(log_url, prefix) as other:
            logs: list[EventLog] = [one, other, one, other]
            answers = [
                (await log.append([dated(body)])).answers[0].reason
                for log, body in zip(logs, ["a", "b", "b", "a"], strict=True)
            ]
            assert answers == [None, None, "equal-body", None]

    asyncio.run(check())
