"""Decides for both clients when a call to AMPECO is made again, and after which pause; the clients only wait.

AMPECO documents no idempotency key. So a call that is not harmless to repeat is not repeated after any error, except
for a request that certainly never left. Knows no transport and no clock but those that are passed in.

What AMPECO says about pauses is read in `rate_limits`.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from ampeco.errors import ApiError, NoAnswer, NotSent, RateLimited, ServerFault
from ampeco.operations import Operation

_MOST_DOUBLINGS = 64  # of the pause: 2.0 to a power above 1,023 is an OverflowError


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """What a client does when a call fails. `RetryPolicy(attempts=1)` never repeats.

    The defaults suit a handler with the usual 30 seconds. Longer waits are better left to the log, which does not
    occupy a worker meanwhile.

    Args:
        attempts: sends of one call at most, the first included.
        base_s: upper end of the first pause; it doubles with each further one, and each is a random part of it.
        cap_s: no such pause is longer.
        longest_retry_after_s: a longer pause asked for by AMPECO is not waited for; the error then says how long.
        within_s: no further attempt begins later than this after the first.
        uniform: randomness, as `random.uniform`.
    """

    attempts: int = 3
    base_s: float = 0.5
    cap_s: float = 4.0
    longest_retry_after_s: float = 10.0
    within_s: float = 15.0
    uniform: Callable[[float, float], float] = field(default=random.uniform, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.attempts < 1 or min(self.base_s, self.cap_s, self.longest_retry_after_s, self.within_s) < 0:
            raise ValueError("a policy needs at least one attempt, and no negative times")

    def decide(
        self, error: ApiError, operation: Operation, *, attempt: int, elapsed_s: float
    ) -> float | None:
        """Seconds to wait before the next attempt, or None when there must be none.

        Args:
            attempt: number of the one that failed, 1 for the first.
            elapsed_s: since the first attempt began.
        """
        if attempt >= self.attempts or not _may_repeat(error, operation, attempt):
            return None
        pause_s = self._pause_s(error, attempt)
        return None if pause_s is None or elapsed_s + pause_s > self.within_s else pause_s

    def _pause_s(self, error: ApiError, attempt: int) -> float | None:
        asked_s = error.retry_after_s
        if asked_s is None:
            return self.uniform(0.0, min(self.cap_s, self.base_s * 2.0 ** min(attempt - 1, _MOST_DOUBLINGS)))
        if asked_s > self.longest_retry_after_s:
            return None
        return asked_s + self.uniform(0.0, self.base_s)  # not all at the same moment


class Attempts:
    """The attempts of one call."""

    def __init__(self, policy: RetryPolicy, operation: Operation, clock: Callable[[], float]) -> None:
        self._policy = policy
        self._operation = operation
        self._clock = clock
        self._begun_at = clock()
        self._failed = 0
        self._unknown: ApiError | None = None

    def pause_s(self, error: ApiError) -> float | None:
        """After an attempt that failed: seconds to wait before the next, or None when it was the last."""
        self._failed += 1
        if isinstance(error, NoAnswer | ServerFault):
            self._unknown = error
        elapsed_s = self._clock() - self._begun_at
        return self._policy.decide(error, self._operation, attempt=self._failed, elapsed_s=elapsed_s)

    def verdict(self, error: ApiError) -> ApiError:
        """The error to raise for the whole call: "not sent" would be untrue if an earlier attempt was."""
        return self._unknown if isinstance(error, NotSent) and self._unknown is not None else error


def _may_repeat(error: ApiError, operation: Operation, attempt: int) -> bool:
    if isinstance(error, NotSent):
        return attempt == 1
    if not operation.idempotent:
        return False
    if isinstance(error, RateLimited | ServerFault):
        return error.status is not None and (error.status == 429 or error.status >= 500)
    return isinstance(error, NoAnswer)
