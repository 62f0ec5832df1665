"""RQ workers of one queue, one after another, and how long a process waits while Redis does not answer.

RQ's worker ends when Redis is unreachable; then a new one starts.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog
from redis.exceptions import RedisError
from rq.exceptions import StopRequested

from eventlog.connection.reasons import reason_of
from eventlog.wakeups import OneQueueWorker

_BACKOFF_S = (0.2, 0.5, 1.0, 2.0)
_LOGGED_EVERY = 15  # steps after these
_LOOK_S = 0.1

_log = structlog.get_logger()


class Stopping:
    """Whether a process stops.

    It has no lock, as a `threading.Event` has: the signal handler that sets it may interrupt the wait for it.
    """

    def __init__(self) -> None:
        self._is_set = False

    def set(self) -> None:
        """Let the process stop. A signal handler and other threads may call it."""
        self._is_set = True

    def is_set(self) -> bool:
        """Return whether the process stops."""
        return self._is_set

    def wait(self, longest_s: float) -> None:
        """Wait until it is set, or so many seconds have passed."""
        end_s = time.monotonic() + longest_s
        while not self._is_set and (left_s := end_s - time.monotonic()) > 0:
            time.sleep(min(left_s, _LOOK_S))


class Serving:
    """Serve a queue in the main thread until `stop_soon`.

    Attributes:
        stopping: set to end the loop.
    """

    def __init__(
        self, make: Callable[[], OneQueueWorker], *, on_turn: Callable[[], None] = lambda: None
    ) -> None:
        """
        Args:
            make: connects one worker to Redis.
            on_turn: called at least every few seconds, whether Redis answers or not.
        """
        self.stopping = Stopping()
        self._make = make
        self._on_turn = on_turn
        self._failures = 0  # in a row
        self._turns = 0  # of the present worker
        self._running = False
        self._worker: OneQueueWorker | None = None

    def run(self) -> None:
        """Serve until `stop_soon` is called.

        Raises:
            StopRequested: `stop_soon` was called during a wait.
        """
        self._running = True
        try:
            while not self.stopping.is_set():
                self._on_turn()
                try:
                    self._worker, self._turns = self._make(), 0
                    self._worker.on_turn = self._turned
                    self._worker.work()
                except (RedisError, OSError) as error:
                    self.stopping.wait(back_off_s(self._failures, error))
                    self._failures += 1
                finally:
                    self._worker = None
        finally:
            self._running = False

    def _turned(self) -> None:
        self._turns += 1
        if self._turns > 1 and self._failures:  # a whole turn went well
            self._failures = 0
            _log.info("redis.recovered")
        self._on_turn()

    def stop_soon(self) -> None:
        """Stop from the main thread's signal handler.

        Raises:
            StopRequested: nothing is at work, so the wait for a wake-up ends here.
        """
        self.stopping.set()
        if self._worker is not None:
            self._worker.stop_soon()
        elif self._running:
            raise StopRequested


async def until_reached(ask: Callable[[], Awaitable[object]], stopping: Stopping) -> None:
    """Ask until Redis answers, and log once per back-off step that it does not.

    Raises:
        StopRequested: the process stops.
    """
    step = 0
    while not stopping.is_set():
        try:
            await ask()
        except (RedisError, OSError) as error:
            await asyncio.sleep(back_off_s(step, error))
            step += 1
        else:
            return
    raise StopRequested


def back_off_s(step: int, error: Exception) -> float:
    """Return the seconds until Redis is tried again; logs the first steps, and then few."""
    wait_s = _BACKOFF_S[min(step, len(_BACKOFF_S) - 1)]
    if step < len(_BACKOFF_S) or step % _LOGGED_EVERY == 0:
        _log.warning("redis.unreachable", **reason_of(error).fields(error), retry_in_s=wait_s)
    return wait_s
