"""Attempt number -> seconds until the next one. Pure: randomness comes in from outside."""

from __future__ import annotations

from collections.abc import Callable

BASE_S = 2.0
CAP_S = 900.0


def delay_s(attempt: int, uniform: Callable[[float, float], float]) -> float:
    """Exponential backoff with full jitter, so that what failed together does not come back together.

    Args:
        attempt: the one that failed, 1 for the first.
        uniform: like `random.uniform`.
    """
    return uniform(0.0, min(CAP_S, BASE_S * 2 ** (min(attempt, 32) - 1)))
