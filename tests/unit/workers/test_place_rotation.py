"""Which pairs get a place, and which drains make way: by lanes, by handlers where there is one place, by time."""

from __future__ import annotations

import pytest

from workers.drain.place_rotation import MAX_DRAINS, SLICE_S, Pair, PlaceRotation


def due(handlers: int, lanes: int) -> list[Pair]:
    """Pairs of which those of lane 0 have waited longest."""
    return [(f"h{handler}", lane) for lane in range(lanes) for handler in range(handlers)]


def crowded(places: int, waiting: int) -> PlaceRotation:
    made = PlaceRotation(places)
    pairs = due(waiting, 1)
    made.next(pairs, pairs, taken=places)
    return made


def test_the_lane_that_has_waited_longest_goes_first_with_all_its_handlers():
    pairs = due(handlers=4, lanes=10)
    begin = PlaceRotation(MAX_DRAINS).next(pairs, pairs, taken=0)
    assert [lane for _, lane in begin] == [0] * 4 + [1] * 4
    assert {name for name, lane in begin if lane == 0} == {"h0", "h1", "h2", "h3"}


def test_with_one_place_the_handler_goes_first_that_began_longest_ago():
    pairs = due(handlers=3, lanes=4)
    rotation = PlaceRotation(1)
    begun = []
    for at_s in range(1, 7):
        [pair] = rotation.next(pairs, pairs, taken=0)
        rotation.begun(pair, float(at_s))
        begun.append(pair[0])
    assert set(begun[:3]) == {"h0", "h1", "h2"}
    assert begun[3:] == begun[:3]


def test_no_more_begin_than_there_are_free_places():
    pairs = due(handlers=5, lanes=1)
    rotation = PlaceRotation(4)
    assert len(rotation.next(pairs, pairs, taken=1)) == 3
    assert rotation.crowded
    assert set(rotation.next(pairs[:2], pairs, taken=2)) == set(pairs[:2])
    assert not rotation.crowded


def test_more_begin_at_once_while_most_places_are_taken():
    pairs = due(handlers=MAX_DRAINS, lanes=1)
    rotation = PlaceRotation(MAX_DRAINS)
    assert len(rotation.next(pairs, pairs, taken=100)) == 8
    assert len(rotation.next(pairs, pairs, taken=MAX_DRAINS - 60)) == 60


@pytest.mark.parametrize(
    ("waiting", "age_s", "settled", "makes_way"),
    [
        (0, 60.0, 1_000, False),
        (1, SLICE_S + 0.1, 0, True),
        (1, SLICE_S - 0.1, 1_000, False),
        (15, 0.6, 64, True),
        (15, 0.6, 63, False),
        (15, 0.4, 1_000, False),
    ],
)
def test_a_drain_makes_way_after_its_slice_and_sooner_where_many_wait(waiting, age_s, settled, makes_way):
    assert crowded(1, waiting).makes_way(age_s, settled) is makes_way
