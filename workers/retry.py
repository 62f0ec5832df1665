"""Attempt number -> seconds until the next one. Pure: randomness comes in from outside."""

from __future__ import annotations

from collections.abc import Callable

from handlers.contract import Backoff


def delay_s(attempt: int, backoff: Backoff, uniform: Callable[[float, float], float]) -> float:
    """Exponential backoff, by default with full jitter, so that what failed together does not come back together.

    Args:
        attempt: the one that failed, 1 for the first.
        uniform: like `random.uniform`.
    """
    longest_s = min(backoff.cap_s, backoff.base_s * 2.0 ** (min(attempt, 32) - 1))
    return uniform(0.0, longest_s) if backoff.jitter else longest_s
