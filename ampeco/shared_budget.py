"""One rate budget for the clients of many processes: this process's part of it.

Tokens come from a `Bucket` that all processes share, as many as this process needs for about 100 ms. News of AMPECO's
limit from answers goes back with the next draw. Calls that change something, and those of urgent handlers, are
*reserved*: the bucket keeps a share for them. It knows no Redis and no HTTP.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from ampeco.errors import RateLimited
from ampeco.limit_news import LimitNews
from ampeco.operations import Operation
from ampeco.own_rate import Drawn, OwnRate
from ampeco.rate_limits import RateLimit
from ampeco.token_chunk import CHUNK_S, TokenChunk

_LOOK_S = 1.0
_SHORTEST_S = 0.005
_REPORT_S = 1.0
_LEAST_PAUSE_S = 1.0  # of a call that was refused its turn
_AWAY_S = 1.0  # until a bucket that did not answer is asked again


class Bucket(Protocol):
    """The tokens that all processes share."""

    async def draw(self, reserved: int, ordinary: int, news: Mapping[str, int], /) -> Drawn | None:
        """Draw tokens and report the news since the last draw; None when the bucket is out of reach."""


class SharedBudget:
    """A budget for the clients of one process, async (in the loop where it was made) and blocking (in its threads).

    A call that would wait longer than `longest_wait_s` is refused with `RateLimited`, as by a `TokenBucket`. While
    the bucket is out of reach, this process keeps to the last rate it knows, divided by the live processes.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        bucket: Bucket,
        *,
        longest_wait_s: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bucket = bucket
        self._longest_wait_s = longest_wait_s
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._waiting: dict[bool, deque[tuple[asyncio.Future[float | None], float]]] = {
            True: deque(),
            False: deque(),
        }
        self._chunk = TokenChunk(clock)
        self._news = LimitNews(clock)
        self._own = OwnRate(clock)
        self._away_until_s = float("-inf")
        self._serving: asyncio.Task[None] | None = None
        self._reporting: asyncio.Handle | None = None
        self._report_at_s = 0.0
        self.urgent = UrgentBudget(self)

    async def acquire(self, operation: Operation, /) -> None:
        """Wait for a turn, or raise `RateLimited`."""
        await self.take(operation, reserved=operation.kind != "read")

    def acquire_blocking(self, operation: Operation, /) -> None:
        """Wait for a turn, or raise `RateLimited`."""
        self.take_blocking(operation, reserved=operation.kind != "read")

    async def take(self, operation: Operation, *, reserved: bool) -> None:
        """Wait for a turn of a kind, or raise `RateLimited`."""
        if self._take_now(reserved):
            return
        turn: asyncio.Future[float | None] = self._loop.create_future()
        self._waiting[reserved].append((turn, self._clock() + self._longest_wait_s))
        self._serve_soon()
        try:
            wait_s = await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.result() is None:  # it came in the same moment
                self.give_back_kind(reserved=reserved)
            raise
        if wait_s is not None:
            raise _spent(operation, wait_s)

    def take_blocking(self, operation: Operation, *, reserved: bool) -> None:
        """As `take`, in another thread than that of the loop."""
        if threading.get_ident() == self._thread:
            return None  # a wait would stop the loop, and with it the one that ends the wait
        turn = asyncio.run_coroutine_threadsafe(self.take(operation, reserved=reserved), self._loop)
        while True:
            try:
                return turn.result(_LOOK_S)
            except TimeoutError:
                if turn.done():  # it may have ended just after the wait
                    return turn.result()
                if not self._loop.is_running():
                    raise _spent(operation, _LOOK_S) from None

    def give_back(self, operation: Operation, /) -> None:
        """Let another call have the turn."""
        self.give_back_kind(reserved=operation.kind != "read")

    def give_back_kind(self, *, reserved: bool) -> None:
        """As `give_back`, of a kind."""
        self._in_loop(self._chunk.give_back, reserved)

    def slow_down(self, retry_after_s: float | None, /) -> None:
        """Called after each 429, with the pause that AMPECO asked for."""
        self._in_loop(self._refused, retry_after_s)

    def observe(self, seen: RateLimit, /) -> None:
        """Called after each answer with `X-RateLimit-*` headers, of a 429 before `slow_down`."""
        self._in_loop(self._observed, seen)

    async def aclose(self) -> None:
        """Report to the bucket what it does not know yet."""
        if self._reporting is not None:
            self._reporting.cancel()
        if self._serving is None and (self._news or self._chunk):
            await self._draw()

    # In the loop

    def _in_loop(self, act: Callable[[Any], None], said: Any) -> None:
        if threading.get_ident() == self._thread:
            act(said)
        elif self._loop.is_running():
            self._loop.call_soon_threadsafe(act, said)

    def _observed(self, seen: RateLimit) -> None:
        self._news.observed(seen)
        self._report_within(0.0 if seen.remaining == 0 else CHUNK_S)

    def _refused(self, retry_after_s: float | None) -> None:
        self._news.refused(retry_after_s)
        self._own.pause(retry_after_s)
        self._chunk.drop()  # of a rate that was too high
        self._report_within(0.0)

    def _report_within(self, seconds: float) -> None:
        if self._reporting is not None:
            if self._report_at_s <= self._loop.time() + seconds:
                return
            self._reporting.cancel()
        self._report_at_s = self._loop.time() + seconds
        self._reporting = self._loop.call_later(seconds, self._report)

    def _report(self) -> None:
        self._reporting = None
        if self._serving is None:
            self._serve_soon()
        else:  # its last draw may have been the one that did not know this
            self._report_within(CHUNK_S)

    def _serve_soon(self) -> None:
        if self._serving is None:
            self._serving = self._loop.create_task(self._serve())

    def _take_now(self, reserved: bool) -> bool:
        return not self._waiting[reserved] and self._chunk.is_good and self._chunk.take(reserved=reserved)

    async def _serve(self) -> None:
        """Draw until no call waits."""
        try:
            while True:
                drawn = await self._draw()
                for reserved in (True, False):
                    self._give_turns(reserved, drawn)
                waits = [_wait_s(drawn, reserved) for reserved in (True, False) if self._waiting[reserved]]
                if not waits:
                    return
                await asyncio.sleep(min(CHUNK_S, max(_SHORTEST_S, min(waits))))
        finally:
            self._serving = None
            for turn, _ in (*self._waiting[True], *self._waiting[False]):
                turn.cancel()  # nothing serves them any more
            self._waiting = {True: deque(), False: deque()}

    def _give_turns(self, reserved: bool, drawn: Drawn) -> None:
        queue, wait_s = self._waiting[reserved], _wait_s(drawn, reserved)
        while queue:
            turn, until_s = queue[0]
            if turn.done():
                pass
            elif self._chunk.take(reserved=reserved):
                turn.set_result(None)
            elif wait_s > self._longest_wait_s or self._clock() + wait_s > until_s:
                turn.set_result(max(wait_s, _LEAST_PAUSE_S))
            else:
                return
            queue.popleft()

    async def _draw(self) -> Drawn:
        wanted = {kind: len(self._waiting[kind]) for kind in (True, False)}
        drawn: Drawn | None = None
        if self._clock() >= self._away_until_s:
            news = self._take_news()
            # As many more as were used in the chunk before, so that a steady caller draws once per chunk.
            more = self._chunk.used_before if any(wanted.values()) else {True: 0, False: 0}
            drawn = await self._asked(wanted[True] + more[True], wanted[False] + more[False], news)
            if drawn is None:
                self._news.again(news)
                self._away_until_s = self._clock() + _AWAY_S
            else:
                self._own.learn(drawn)
        if drawn is None:
            drawn = self._own.draw(wanted[True], wanted[False])
        self._chunk.fill(drawn)
        if any(wanted.values()):
            self._report_within(_REPORT_S)  # what is used of it, if no other draw does
        return drawn

    async def _asked(self, reserved: int, ordinary: int, news: Mapping[str, int]) -> Drawn | None:
        try:
            return await self._bucket.draw(reserved, ordinary, news)
        except Exception:  # noqa: BLE001 - a fault of the bucket must not stop the calls that wait for it
            return None

    def _take_news(self) -> dict[str, int]:
        if self._reporting is not None:
            self._reporting.cancel()
            self._reporting = None
        news = self._news.taken()
        for name, count in self._chunk.end().items():
            news[name] = news.get(name, 0) + count
        return news


class UrgentBudget:
    """The budget as urgent handlers draw from it: every call is a reserved one."""

    def __init__(self, budget: SharedBudget) -> None:
        self._budget = budget
        self.slow_down = budget.slow_down
        self.observe = budget.observe

    async def acquire(self, operation: Operation, /) -> None:
        """Wait for a turn, or raise `RateLimited`."""
        await self._budget.take(operation, reserved=True)

    def give_back(self, operation: Operation, /) -> None:
        """Let another call have the turn."""
        self._budget.give_back_kind(reserved=True)

    def acquire_blocking(self, operation: Operation, /) -> None:
        """Wait for a turn, or raise `RateLimited`."""
        self._budget.take_blocking(operation, reserved=True)


def _wait_s(drawn: Drawn, reserved: bool) -> float:
    return drawn.reserved_wait_s if reserved else drawn.ordinary_wait_s


def _spent(operation: Operation, wait_s: float) -> RateLimited:
    return RateLimited(operation.name, None, "our own rate budget is spent", retry_after_s=wait_s)
