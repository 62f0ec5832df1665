"""How fast old events may start."""

from __future__ import annotations

import pytest

from workers.drain.pace import OLD_MS, Pace


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
    pace.start(OLD_MS)
    assert pace.wait_s(OLD_MS, 1_000.0) == pytest.approx(0.1)
