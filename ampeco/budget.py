"""A rate budget that all users of AMPECO's API in a process share, async and not.

AMPECO limits the rate of calls and does not publish how; a budget keeps a fleet of handlers below the tenant's
agreed rate. One that several processes share is a class with the same methods.
"""

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Protocol

from ampeco.errors import RateLimited
from ampeco.operations import Operation
from ampeco.rate_limits import RateLimit


class AsyncBudget(Protocol):
    """Asked by an `AsyncClient` before each send."""

    async def acquire(self, operation: Operation, /) -> None:
        """Wait for a turn, or raise `RateLimited`."""

    def give_back(self, operation: Operation, /) -> None:
        """Called instead of a send that did not take place after its turn."""

    def slow_down(self, retry_after_s: float | None, /) -> None:
        """Called after each 429, with the pause that AMPECO asked for."""

    def observe(self, seen: RateLimit, /) -> None:
        """Called after each answer with `X-RateLimit-*` headers, of a 429 before `slow_down`."""


class Budget(Protocol):
    """As `AsyncBudget`, for a `Client`."""

    def acquire_blocking(self, operation: Operation, /) -> None:
        """Wait for a turn, or raise `RateLimited`."""

    def give_back(self, operation: Operation, /) -> None:
        """Called instead of a send that did not take place after its turn."""

    def slow_down(self, retry_after_s: float | None, /) -> None:
        """Called after each 429, with the pause that AMPECO asked for."""

    def observe(self, seen: RateLimit, /) -> None:
        """Called after each answer with `X-RateLimit-*` headers, of a 429 before `slow_down`."""


class TokenBucket:
    """At most `burst` calls at once and `rate_per_s` in the long run; empty after each 429.

    A call that would wait longer than `longest_wait_s` is refused at once with `RateLimited`. So a handler is tried
    again later, and does not run into its own time-out. Safe to share between threads and event loops.

    Args:
        longest_pause_s: the bucket stays empty no longer than this, even if AMPECO asks for a longer pause.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        rate_per_s: float,
        burst: int = 1,
        *,
        longest_wait_s: float = 5.0,
        longest_pause_s: float = 900.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if rate_per_s <= 0 or burst < 1:
            raise ValueError("a budget needs a positive rate and room for one call")
        self._interval_s = 1.0 / rate_per_s
        self._filling_s = burst * self._interval_s
        self._longest_wait_s = longest_wait_s
        self._longest_pause_s = longest_pause_s
        self._clock = clock
        self._lock = threading.Lock()
        self._full_at = clock()

    async def acquire(self, operation: Operation, /) -> None:
        """Wait for a turn, or raise `RateLimited`."""
        await asyncio.sleep(self.reserve(operation))

    def acquire_blocking(self, operation: Operation, /) -> None:
        """Wait for a turn, or raise `RateLimited`."""
        time.sleep(self.reserve(operation))

    def give_back(self, operation: Operation, /) -> None:
        """Let another call have the turn."""
        with self._lock:
            self._full_at -= self._interval_s

    def reserve(self, operation: Operation) -> float:
        """Take a turn and return the seconds until it comes.

        Raises:
            RateLimited: it would come too late; nothing was taken.
        """
        with self._lock:
            now = self._clock()
            full_at = max(self._full_at, now) + self._interval_s
            wait_s = max(0.0, full_at - self._filling_s - now)
            if wait_s > self._longest_wait_s:
                raise RateLimited(operation.name, None, "our own rate budget is spent", retry_after_s=wait_s)
            self._full_at = full_at
            return wait_s

    def slow_down(self, retry_after_s: float | None, /) -> None:
        """Give no turn for the pause that AMPECO asked for; without one, empty the bucket."""
        self._leave(0, after_s=retry_after_s or 0.0)

    def observe(self, seen: RateLimit, /) -> None:
        """Give no more turns than AMPECO has left for us; when none are left, none until it resets."""
        if seen.remaining is not None:
            self._leave(seen.remaining, after_s=(seen.reset_s or 0.0) if seen.remaining == 0 else 0.0)

    def _leave(self, turns: int, *, after_s: float) -> None:
        """Keep at most so many turns in the bucket, and none of them before."""
        with self._lock:
            begins_at = self._clock() + min(after_s, self._longest_pause_s)
            self._full_at = max(self._full_at, begins_at + self._filling_s - turns * self._interval_s)
