"""Takes large bodies one at a time, and leaves half of the time to all other requests.

Reading a body of 1 MiB can take 0.15 s, in which nothing else is answered. It knows nothing of what a body means.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

LARGE_BYTES: Final = 1 << 16
"""Size above which a body is large."""

MAX_WAITING_BYTES: Final = 16 << 20


class Turns:
    """The large bodies that wait for their turn."""

    def __init__(
        self,
        *,
        max_waiting_bytes: int = MAX_WAITING_BYTES,
        clock: Callable[[], float] = time.perf_counter,
        later: Callable[[float, Callable[[], None]], object] | None = None,
    ) -> None:
        """
        Args:
            max_waiting_bytes: limit of all that wait; further ones are refused.
            clock: returns seconds.
            later: calls a function after so many seconds; None for the running loop's `call_later`.
        """
        self._max_waiting_bytes = max_waiting_bytes
        self._clock = clock
        self._later = later
        self._waiting: deque[tuple[int, Callable[[], None]]] = deque()
        self._waiting_bytes = 0
        self._pausing = False

    def add(self, size: int, work: Callable[[], None]) -> bool:
        """Do some work for a large body: at once if none was read just now, else in its turn.

        Args:
            size: of the body, in bytes.

        Returns:
            False if too many bytes wait. Then the work is not done.
        """
        if not self._pausing:
            self._do(work)
            return True
        if self._waiting_bytes + size > self._max_waiting_bytes:
            return False
        self._waiting.append((size, work))
        self._waiting_bytes += size
        return True

    def _do(self, work: Callable[[], None]) -> None:
        """Do the work, then pause for as long as it took."""
        self._pausing = True
        started = self._clock()
        try:
            with _no_collections():
                work()
        finally:
            later = self._later or asyncio.get_running_loop().call_later
            later(self._clock() - started, self._next)

    def _next(self) -> None:
        if not self._waiting:
            self._pausing = False
            return
        size, work = self._waiting.popleft()
        self._waiting_bytes -= size
        self._do(work)


@contextlib.contextmanager
def _no_collections() -> Iterator[None]:
    """Stop the cyclic garbage collector for a moment.

    A body of 1 MiB can hold half a million arrays. The collector would visit them again and again while they are
    made: 0.4 s of processor time instead of 0.1 s. They hold no cycles.
    """
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()
