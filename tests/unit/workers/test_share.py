"""The arithmetic of fair shares: who keeps how many pairs, and who gives some back."""

from __future__ import annotations

import random
from collections.abc import Mapping

import pytest

from eventlog.presence import Part, Process, View
from workers.drain.share import LATE_MS, Seat, Share, quotas


def seats(*held: int, room: int = 256) -> list[Seat]:
    return [Seat(f"p{number}", count, room) for number, count in enumerate(held)]


@pytest.mark.parametrize(
    ("active", "held", "fair"),
    [
        (16, (16,), (16,)),
        (16, (16, 0), (8, 8)),
        (16, (8, 8), (8, 8)),
        (3, (2, 1), (2, 1)),
        (3, (1, 2), (1, 2)),
        (16, (16, 0, 0, 0, 0, 0, 0, 0, 0, 0), (2, 2, 2, 2, 2, 2, 1, 1, 1, 1)),
        (1, (0, 1, 0), (0, 1, 0)),
        (0, (0, 0), (0, 0)),
    ],
)
def test_active_pairs_are_divided_evenly_and_nothing_moves_without_need(active, held, fair):
    assert tuple(quotas(active, seats(*held)).values()) == fair


def test_what_one_process_has_no_room_for_the_others_share():
    found = quotas(17, [Seat("full", 1, 0), Seat("a", 16, 100), Seat("b", 0, 100)])
    assert found == {"full": 1, "a": 8, "b": 8}


def test_no_quota_is_over_the_room():
    assert quotas(10, [Seat("a", 1, 1), Seat("b", 0, 3)]) == {"a": 2, "b": 3}


def of(
    name: str, *lanes: int, age_ms: int = 0, free: int = 256, handler: str = "h", **more: object
) -> Process:
    return Process(name, age_ms, free, {handler: Part(frozenset(lanes), **more)})  # type: ignore[arg-type]


def view(*processes: Process, due: Mapping[str, tuple[int, ...]] | None = None) -> View:
    return View(list(processes), {name: frozenset(lanes) for name, lanes in (due or {}).items()})


ALL = tuple(range(16))


def test_an_excess_is_given_back_when_two_views_in_a_row_agree_on_it():
    share, both = Share("a"), view(of("a", *ALL), of("b"))
    assert share.see(both, {"h": 16}) == {}
    assert share.see(both, {"h": 16}) == {"h": 8}
    assert share.see(both, {"h": 16}) == {}, "what was given back is on its way"


def test_an_excess_that_passes_is_not_given_back():
    share, both, alone = Share("a"), view(of("a", *ALL), of("b")), view(of("a", *ALL))
    assert share.see(both, {"h": 16}) == {}
    assert share.see(alone, {"h": 16}) == {}
    assert share.see(both, {"h": 16}) == {}


def test_alone_it_keeps_everything():
    share = Share("a")
    for _ in range(3):
        assert share.see(view(of("a", *ALL)), {"h": 16}) == {}
    assert not share.hungry


def test_pairs_that_were_taken_a_moment_ago_are_not_given_back():
    share, both = Share("a"), view(of("a", *ALL), of("b"))
    for _ in range(3):
        assert share.see(both, {"h": 8}) == {}


def test_pairs_that_wait_go_to_the_process_below_its_share():
    """So the other one gives nothing back for it."""
    share, both = Share("a"), view(of("a", 0, 1), of("b"), due={"h": (2, 3)})
    for _ in range(3):
        assert share.see(both, {"h": 2}) == {}
    below = Share("b")
    below.see(both, {})
    assert below.hungry
    assert below.room({}) == {"h": 2}
    assert below.room({"h": 2}) == {"h": 0}
    assert share.room({"h": 2}) == {"h": 0}


def test_pairs_whose_attempts_still_run_count_as_given():
    share = Share("a")
    giving = view(of("a", *range(8), ending=frozenset(range(8, 16))), of("b"))
    for _ in range(3):
        assert share.see(giving, {"h": 8}) == {}


@pytest.mark.parametrize(
    "other",
    [
        of("b", age_ms=LATE_MS + 1),
        of("b", outdated=True),
        of("b", free=0),
        of("b", handler="another"),
    ],
    ids=["late", "outdated", "full", "another handler"],
)
def test_nothing_is_given_to_a_process_that_cannot_take_it(other):
    share = Share("a")
    for _ in range(3):
        assert share.see(view(of("a", *ALL), other), {"h": 16}) == {}


def test_what_is_free_is_for_all_handlers_with_something_to_do():
    parts = {"h": Part(frozenset(ALL)), "i": Part(frozenset(ALL)), "idle": Part()}
    empty = dict.fromkeys(parts, Part())
    both = View([Process("a", 0, 0, parts), Process("b", 0, 6, empty)])
    share = Share("a")
    share.see(both, {"h": 16, "i": 16})
    assert share.see(both, {"h": 16, "i": 16}) == {"h": 3, "i": 3}


def test_of_two_that_say_they_hold_a_pair_the_last_one_has_it():
    share = Share("a")
    both = view(of("a", 0, 1), of("b", 0, 1, 2, 3, age_ms=900))
    assert share.see(both, {"h": 2}) == {}
    assert share.see(both, {"h": 2}) == {}, "two each"


def test_without_a_recent_view_nothing_is_limited():
    share = Share("a")
    share.see(view(of("a", *ALL), of("b")), {"h": 16})
    share.forget()
    assert (share.room({"h": 16}), share.hungry) == ({}, False)


@pytest.mark.parametrize("seed", range(20))
def test_any_start_comes_to_rest_and_then_nothing_moves(seed):
    """Processes look one after the other, each at what the others said up to three turns ago."""
    chance = random.Random(seed)
    names = [f"p{number}" for number in range(chance.randint(2, 10))]
    lanes = chance.choice([3, 16, 17])
    shares = {name: Share(name) for name in names}
    holder: dict[int, str | None] = {lane: chance.choice(names) for lane in range(lanes)}
    said = {name: frozenset[int]() for name in names}

    def turn() -> int:
        moved = 0
        for name in chance.sample(names, len(names)):
            held = frozenset(lane for lane, by in holder.items() if by == name)
            said[name] = held
            due = frozenset(lane for lane, by in holder.items() if by is None)
            seen = View(
                [Process(n, 0 if n == name else 1, 256, {"h": Part(said[n])}) for n in names], {"h": due}
            )
            give = shares[name].see(seen, {"h": len(held)}).get("h", 0)
            for lane in sorted(held)[len(held) - give :]:
                holder[lane] = None
                moved += 1
            for lane in sorted(due)[: shares[name].room({"h": len(held)}).get("h", 0)]:
                holder[lane] = name
        return moved

    for _ in range(10):
        turn()
    assert sum(turn() for _ in range(10)) == 0
    counts = [list(holder.values()).count(name) for name in names]
    assert max(counts) - min(counts) <= 1
    assert sum(counts) == lanes
