"""How fast old events may start."""

from __future__ import annotations

import pytest

from workers.drain.pace import CAUGHT_UP_S, OLD_MS, Pace


def started(pace: Pace, *, seconds: float, age_ms: int = OLD_MS) -> int:
    """Start as many as the bound allows, waiting as long as it says."""
    now_s, count = 100.0, 0
    while now_s < 100.0 + seconds and count < 10_000:
        if wait_s := pace.wait_s(age_ms, now_s):
            now_s += wait_s
        else:
            pace.start(age_ms, now_s)
            count += 1
    return count


@pytest.mark.parametrize("per_s", [0.5, 7.0, 300.0])
def test_old_events_start_at_the_bound(per_s):
    assert started(Pace(per_s), seconds=10) == pytest.approx(10 * per_s, rel=0.2, abs=1)


def test_processes_share_the_bound():
    pace = Pace(300.0)
    pace.divide(3)
    assert started(pace, seconds=10) == pytest.approx(1_000, rel=0.1)


@pytest.mark.parametrize(("pace", "age_ms"), [(Pace(None), OLD_MS), (Pace(1.0), OLD_MS - 1)])
def test_without_a_bound_and_for_young_events_nothing_waits(pace, age_ms):
    assert started(pace, seconds=10, age_ms=age_ms) == 10_000


def test_time_without_old_events_allows_no_burst():
    pace = Pace(10.0)
    assert started(pace, seconds=1) > 0
    assert pace.wait_s(OLD_MS, 1_000.0) == 0.0
    pace.start(OLD_MS, 1_000.0)
    assert pace.wait_s(OLD_MS, 1_000.0) == pytest.approx(0.1)


def test_after_an_outage_what_arrived_before_its_end_is_bounded_until_no_more_of_it_comes():
    pace = Pace(None, after_outage_per_s=50.0)
    assert not pace.bounds
    pace.recover(100.0, 105.0)
    assert pace.bounds
    now_s, begun = 105.0, 0
    while now_s < 115.0:
        if wait_s := pace.wait_s(round((now_s - 99.0) * 1000), now_s):
            now_s += wait_s
        else:
            pace.start(round((now_s - 99.0) * 1000), now_s)
            begun += 1
    assert begun == pytest.approx(500, rel=0.1)
    assert pace.wait_s(1_000, now_s) == 0.0, "this one arrived afterwards"
    assert pace.wait_s(1_000, now_s + CAUGHT_UP_S + 1) == 0.0
    assert not pace.bounds
    pace.recover(100.3, now_s + CAUGHT_UP_S + 2)
    assert not pace.bounds, "the same end, as another lane learns of it"


def test_a_configured_bound_holds_after_an_outage_too():
    pace = Pace(10.0, after_outage_per_s=50.0)
    pace.recover(100.0, 100.0)
    pace.start(1_000, 100.0)
    assert pace.wait_s(1_000, 100.0) == pytest.approx(0.1)
