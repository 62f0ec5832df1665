"""What drains of one process share of a lane: without a server."""

from __future__ import annotations

import asyncio

import pytest

from eventlog.lease import Read, wanted_types
from eventlog.record import StoredEvent
from workers.delivery.shared_event import SharedEvent
from workers.drain.shared_reads import HANDED_OUT, DrainReads, SharedReads


def stored(*numbers: int, type: str = "a", body: bytes = b"{}") -> list[StoredEvent]:
    return [StoredEvent(0, f"{n}-0", type, None, body, n) for n in numbers]


def read(events: list[StoredEvent], scanned: int, types: str = "a", *, exhausted: bool = False) -> Read:
    """As a step answers that read for others, too."""
    return Read(
        events=events,
        all_events=events,
        types=wanted_types(types),
        scanned=f"{scanned}-0",
        exhausted=exhausted,
    )


def claim(share: DrainReads, after: int, count: int = 100, wants: str = "a"):
    return asyncio.run(share.claim(f"{after}-0", count, wants))


def ids(found) -> list[str]:
    return [event.stream_id for event in found.events]


def pair(**limits: int) -> tuple[SharedReads, DrainReads, DrainReads]:
    """Two drains of one lane, which both want `a` and stand at its beginning."""
    reads = SharedReads(**limits)
    first, second = reads.join(0, "first", "a"), reads.join(0, "second", "a")
    assert claim(first, 0) is None
    assert claim(second, 0) is None
    return reads, first, second


def test_the_second_drain_claims_what_the_first_one_read():
    _, first, second = pair()
    kept = first.keep("0-0", read(stored(1, 2, 3), 5, exhausted=True), "a")
    found = claim(second, 0)
    assert (ids(found), found.until, found.exhausted) == (["1-0", "2-0", "3-0"], "5-0", True)
    assert [a is b for a, b in zip(kept.events, found.events, strict=True)] == [True] * 3
    assert claim(second, 5) is None


def test_a_claim_goes_on_inside_of_a_range_and_asks_for_no_more_than_there_is_room_for():
    _, first, second = pair()
    first.keep("0-0", read(stored(1, 2, 3), 5, exhausted=True), "a")
    some = claim(second, 0, count=2)
    assert (ids(some), some.until, some.exhausted) == (["1-0", "2-0"], "2-0", False)
    rest = claim(second, 2)
    assert (ids(rest), rest.until) == (["3-0"], "5-0")


@pytest.mark.parametrize("limits", [{}, {"lane_bytes": 16_000}], ids=["one-range", "a-range-each"])
def test_a_drain_that_is_behind_claims_several_reads_at_once(limits: dict[str, int]):
    """Else it takes as many steps as the drains ahead of it, and stays behind."""
    _, first, second = pair(**limits)
    for n in range(0, 6, 2):
        assert claim(first, n) is None
        first.keep(f"{n}-0", read(stored(n + 1, n + 2), n + 2, exhausted=True), "a")
    some = claim(second, 0, count=3)
    assert (ids(some), some.until, some.exhausted) == (["1-0", "2-0", "3-0"], "3-0", False)
    assert len(first.lane.ranges) == (3 if limits else 1)
    rest = claim(second, 3)
    assert (ids(rest), rest.until, rest.exhausted) == (["4-0", "5-0", "6-0"], "6-0", True)


def test_small_reads_of_a_lane_make_few_ranges():
    """Each claim looks at all of them, while one slow drain keeps them for long."""
    reads, first, second = pair()
    for n in range(2_000):
        first.keep(f"{n}-0", read(stored(n + 1), n + 1), "a")
    assert len(first.lane.ranges) < 20
    assert reads.bytes == first.lane.bytes == sum(each.bytes for each in first.lane.ranges)
    at = 0
    while found := claim(second, at, count=256):
        assert ids(found) == [f"{n}-0" for n in range(at + 1, min(at + 256, 2_000) + 1)]
        at = int(found.until.partition("-")[0])
    assert at == 2_000
    claim(first, 2_000)
    assert reads.bytes == 0


def test_reads_of_other_types_or_with_a_gap_between_them_are_ranges_of_their_own():
    _, first, _ = pair()
    first.keep("0-0", read(stored(1), 1), "a")
    first.keep("1-0", read(stored(2), 2, "a\nb"), "a")
    first.keep("5-0", read(stored(6), 6, "a\nb"), "a")
    assert [each.until_id for each in first.lane.ranges] == ["1-0", "2-0", "6-0"]


def test_a_read_is_not_the_end_of_the_log_once_another_drain_has_read_further():
    _, first, second = pair()
    first.keep("0-0", read(stored(1), 1, exhausted=True), "a")
    assert claim(first, 5) is None
    first.keep("5-0", read(stored(6), 6, exhausted=True), "a")
    found = claim(second, 0)
    assert (ids(found), found.until, found.exhausted) == (["1-0"], "1-0", False)


def test_only_what_the_handler_wants_is_claimed():
    _, first, second = pair()
    events = stored(1, type="a") + stored(2, type="b")
    kept = first.keep("0-0", read(events, 2, "a\nb"), "b")
    assert [event.stream_id for event in kept.events] == ["2-0"]
    assert ids(claim(second, 0)) == ["1-0"]
    nothing = claim(second, 1)
    assert (ids(nothing), nothing.until, nothing.exhausted) == ([], "2-0", False)


def test_a_range_that_was_not_read_for_all_types_of_a_handler_is_not_claimed():
    """Else a handler whose wishes grew would miss events."""
    _, first, second = pair()
    first.keep("0-0", read(stored(1), 1, "a"), "a")
    assert claim(second, 0, wants="a\nb") is None
    assert claim(second, 0, wants="*") is None
    first.keep("0-0", read(stored(1), 1, "a\n*"), "a")
    assert claim(second, 0, wants="*") is not None


def test_nothing_is_kept_for_a_drain_that_is_alone():
    reads = SharedReads()
    alone = reads.join(0, "h", "a")
    reads.join(1, "h", "a")
    claim(alone, 0)
    with alone.reading("0-0") as others:
        assert others == frozenset()
    events = stored(1)
    assert alone.keep("0-0", read(events, 1), "a").events is events
    assert reads.bytes == 0


def test_a_drain_reads_what_others_want_that_come_this_way():
    reads = SharedReads()
    here, beside, behind, ahead = (reads.join(0, name, "a") for name in ("here", "beside", "behind", "ahead"))
    claim(here, 5, wants="a")
    claim(beside, 5, wants="b")
    claim(behind, 1, wants="c")
    claim(ahead, 9, wants="d")
    with here.reading("5-0") as others:
        assert others == {"b"}


def test_a_drain_waits_for_the_same_read_of_another():
    async def check() -> None:
        reads = SharedReads()
        first, second = reads.join(0, "first", "a"), reads.join(0, "second", "a")
        await first.claim("0-0", 10, "a")
        await second.claim("0-0", 10, "a")
        with first.reading("0-0"):
            waiting = asyncio.create_task(second.claim("0-0", 10, "a"))
            await asyncio.sleep(0)
            assert not waiting.done()
            first.keep("0-0", read(stored(1), 1), "a")
        assert ids(await waiting) == ["1-0"]

    asyncio.run(check())


def test_a_drain_reads_for_itself_when_the_other_read_failed():
    async def check() -> None:
        reads = SharedReads()
        first, second = reads.join(0, "first", "a"), reads.join(0, "second", "a")
        await first.claim("0-0", 10, "a")
        await second.claim("0-0", 10, "a")
        with first.reading("0-0"):
            waiting = asyncio.create_task(second.claim("0-0", 10, "a"))
            await asyncio.sleep(0)
        assert await waiting is None

    asyncio.run(check())


def test_memory_is_bounded_per_lane_and_in_total():
    reads, first, second = pair(lane_bytes=100_000, total_bytes=150_000)
    for n in range(1, 100):
        first.keep(f"{n - 1}-0", read(stored(n, body=b"x" * 1_000), n), "a")
    assert 0 < reads.bytes <= 100_000
    assert claim(second, 0) is None, "the oldest went"
    assert claim(second, 98) is not None
    others = [reads.join(1, name, "a") for name in ("third", "fourth")]
    for n in range(1, 100):
        others[0].keep(f"{n - 1}-0", read(stored(n, body=b"x" * 1_000), n), "a")
        assert reads.bytes <= 150_000


def test_what_is_kept_goes_with_the_last_drain_and_when_the_lease_is_lost():
    reads, first, second = pair()
    first.keep("0-0", read(stored(1), 1), "a")
    second.drop()
    assert (claim(second, 0), reads.bytes) == (None, 0)
    kept = first.keep("0-0", read(stored(1), 1), "a")
    event = kept.events[0]
    assert isinstance(event, SharedEvent)
    event.made[int] = "an event"
    first.leave(8)
    assert claim(second, 0) is None, "the only one left shares nothing"
    second.leave(8)
    assert reads.bytes == 0
    assert event.made == {}


def test_many_drains_ask_for_less_at_a_time():
    reads = SharedReads()
    shares = [reads.join(n % 16, f"h{n // 16}", "a") for n in range(64)]
    assert shares[0].most_at_once * len(shares) == HANDED_OUT


def test_a_drain_of_a_quick_handler_begins_with_more():
    reads = SharedReads()
    reads.join(0, "quick", "a").leave(256)
    reads.join(0, "slow", "a").leave(2)
    assert [reads.join(1, name, "a").first_batch for name in ("quick", "slow", "new")] == [32, 2, 0]


def test_a_shared_event_equals_the_plain_one():
    [event] = stored(1)
    shared = SharedEvent.of(event)
    assert shared == event
    assert hash(shared) == hash(event)
    assert shared.event_id == "0-1-0"


def test_a_drain_whose_events_lie_behind_those_of_others_looks_for_them_by_itself():
    reads = SharedReads()
    rare, busy = reads.join(0, "rare", "r"), reads.join(0, "busy", "b")
    claim(busy, 0, wants="b")
    assert claim(rare, 0, wants="r") is None
    with rare.reading("0-0") as others:
        assert others == {"b"}
    rare.found(False)
    with rare.reading("1-0") as others:
        assert others == frozenset()
    rare.found(True)
    with rare.reading("1-0") as others:
        assert others == {"b"}


def test_what_all_drains_have_read_is_forgotten():
    reads = SharedReads()
    one, two = reads.join(0, "one", "a"), reads.join(0, "two", "a")
    claim(one, 0)
    claim(two, 0)
    one.keep("0-0", read(stored(3), 3), "a")
    assert reads.bytes > 0
    claim(one, 3)
    assert claim(two, 0) is not None, "the other one has not read it yet"
    claim(two, 3)
    assert reads.bytes == 0


def test_a_handler_of_everything_claims_no_internal_event_and_a_range_without_them_is_not_for_who_wants_them():
    reads = SharedReads()
    first, second, third = (
        reads.join(0, name, wants) for name, wants in (("a", "*"), ("b", "*"), ("c", "*"))
    )
    named = "*\nreceiver.started"
    assert [claim(first, 0, wants="*"), claim(second, 0, wants="*"), claim(third, 0, wants=named)] == [
        None
    ] * 3
    first.keep("0-0", read(stored(1, 3), 5, "*"), "*")
    assert ids(claim(second, 0, wants="*")) == ["1-0", "3-0"]
    assert claim(third, 0, wants=named) is None
    mixed = [*stored(1), *stored(2, type="receiver.started"), *stored(3)]
    third.keep("0-0", read(mixed, 5, named), named)
    assert ids(claim(third, 0, wants=named)) == ["1-0", "2-0", "3-0"]
    assert ids(claim(second, 0, wants="*")) == ["1-0", "3-0"]
