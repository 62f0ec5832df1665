"""A short chaos run for each of a few seeds; `make chaos` makes long ones."""

from __future__ import annotations

import pytest

from tests.chaos.checker import check
from tests.chaos.play import play
from tests.chaos.strikes import WEIGHTS, Striker
from tests.e2e.process_tree import short_folder

SECONDS = 30.0
RECOVERY_S = 30.0  # a machine that also runs other tests may be slow to start processes


@pytest.mark.parametrize("seed", [1, 7])
def test_nothing_is_lost_overtaken_or_repeated_while_everything_is_struck(seed: int):
    with short_folder() as folder:
        played = play(SECONDS, seed, folder, rate=30.0, guests=1)  # other tests run at the same time
        verdict = check(played.story, recovery_s=RECOVERY_S)
        assert verdict.violations == []
        assert played.exit_code == 0
        # It was worth the time: leases were lost with those who held them, while there was work.
        assert any(strike.held for strike in played.story.strikes)
        assert verdict.counts["accepted"] > 100
        # And the operator gave commands meanwhile, and room was made.
        did = ("pauses", "renames", "replays", "retries")
        assert sum(verdict.counts[what] for what in did) >= 3
        assert verdict.counts["trimmed"] > 0
        # And throttles had something to hold back, and let through what they may.
        assert verdict.counts["throttled"] > 0
        assert verdict.counts["throttled_full"] > 0
        # Timers fell due, and some of them were cancelled or set again by then.
        assert verdict.counts["timers"] > 20
        assert verdict.counts["timers_over"] > 0


def test_each_strike_can_be_done():
    assert [kind for kind in WEIGHTS if not hasattr(Striker, f"_{kind.replace('-', '_')}")] == []
