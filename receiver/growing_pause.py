"""The pause after a failure, which doubles with each further one."""

from __future__ import annotations

from typing import Final

_MOST_DOUBLINGS: Final = 32
"""2.0 to a power above 1,023 raises OverflowError. An outage of hours has more failures than that."""


def pause_after(failures: int, *, first: float, longest: float) -> float:
    """Return how long to wait.

    Args:
        failures: those in a row before this one.
        first: the pause without any; in any unit of time.
        longest: the longest pause, in the same unit.
    """
    return min(first * 2.0 ** min(failures, _MOST_DOUBLINGS), longest)
