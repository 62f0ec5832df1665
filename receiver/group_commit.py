"""Many requests, one write: whatever waits while an append is in flight goes with the next one.

It flushes at once and has no timer; batches grow by themselves under load. Where many wait, a second append follows
the first over the same connection, in order, so that Redis and this process need not wait for each other in turns.
It knows when an append failed and what that means for those who wait. It knows nothing of HTTP and nothing of what an
element says.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from redis.exceptions import OutOfMemoryError, ReadOnlyError, RedisError, ResponseError

from eventlog.errors import NotReplicated
from eventlog.log import MAX_BATCH, Answer, AppendReply, Element
from receiver.logging import get_logger

MAX_BATCH_BYTES = 1 << 20
MAX_WAITING_BYTES = 64 << 20
IN_FLIGHT = 2
WORTH_A_CALL = 16  # elements that wait, while another call is in flight
APPEND_TIMEOUT_S = 3.0  # the client's own time-out is 2 s; this one is for whatever that does not cover

Answered: TypeAlias = Callable[[Answer], None]
"""Told once what became of an element, perhaps at once; must not raise."""

_FULL: Final = Answer("refused", reason="intake-full")
_UNAVAILABLE: Final = Answer("refused", reason="log-unavailable")
_NOT_REPLICATED: Final = Answer("refused", reason=NotReplicated.reason)
_log = get_logger(__name__)


class Observer(Protocol):
    """Who is told of every batch."""

    def appended(self, answers: Sequence[Answer], wake: Sequence[str], seconds: float) -> None:
        """A batch is in the log: its answers, the queues to wake, and how long the append took."""

    def append_refused(self, error: str) -> None:
        """Redis answered an append with an error of this class."""


@dataclass(slots=True)
class _Waiting:
    """An element, and who is told of it; None once that was done."""

    element: Element
    answered: Answered | None


class GroupCommit:
    """Collects elements and appends them in batches.

    Args:
        append: two calls may be in flight; they must be carried out in the order in which they were made.
        observer: told of every batch.
        max_waiting_bytes: of bodies without an answer; what is more is refused.
    """

    def __init__(
        self,
        append: Callable[[Sequence[Element]], Awaitable[AppendReply]],
        observer: Observer,
        *,
        max_waiting_bytes: int = MAX_WAITING_BYTES,
    ) -> None:
        self._append = append
        self._observer = observer
        self._max_waiting_bytes = max_waiting_bytes
        self._waiting: deque[_Waiting] = deque()
        self._pumps: set[asyncio.Task[None]] = set()
        self.waiting_bytes = 0

    def append(self, element: Element, answered: Answered) -> None:
        """Append one element, together with whatever else waits.

        Args:
            answered: also told of a refusal: `intake-full`; `not-replicated` when it is in the log, but on too few
                replicas; `log-unavailable` when the outcome is unknown or Redis is away.
        """
        size = len(element.body)
        if self.waiting_bytes + size > self._max_waiting_bytes:
            answered(_FULL)
            return
        self.waiting_bytes += size
        self._waiting.append(_Waiting(element, answered))
        pumps = len(self._pumps)
        if not pumps or (pumps < IN_FLIGHT and len(self._waiting) >= WORTH_A_CALL):
            self._pumps.add(asyncio.create_task(self._run()))

    async def _run(self) -> None:
        pump = asyncio.current_task()
        assert pump is not None  # noqa: S101
        batch: list[_Waiting] = []
        try:
            while self._waiting:
                batch = self._next_batch()
                await self._commit(batch)
        finally:
            self._pumps.discard(pump)  # at once: who comes next must not count on it
            # Nobody is left without an answer, whatever ended this loop.
            self._refuse(batch)
            self._refuse_waiting()

    def _next_batch(self) -> list[_Waiting]:
        batch = [self._waiting.popleft()]
        size = len(batch[0].element.body)
        while self._waiting and len(batch) < MAX_BATCH:
            size += len(self._waiting[0].element.body)
            if size > MAX_BATCH_BYTES:
                break
            batch.append(self._waiting.popleft())
        return batch

    async def _commit(self, batch: list[_Waiting]) -> bool:
        """Append a batch and hand out its answers; False when Redis is away."""
        started = time.perf_counter()
        try:
            async with asyncio.timeout(APPEND_TIMEOUT_S):
                reply = await self._append([waiting.element for waiting in batch])
        except (ReadOnlyError, OutOfMemoryError) as error:
            self._observer.append_refused(type(error).__name__)
            self._refuse(batch)  # each alone would be refused for the same reason
            return True
        except ResponseError as error:
            self._observer.append_refused(type(error).__name__)
            return await self._one_by_one(batch)
        except NotReplicated:
            self._refuse(batch, _NOT_REPLICATED)
            return True
        except (RedisError, OSError) as error:
            _log.debug("append.failed", error=type(error).__name__)
            self._refuse(batch)
            self._refuse_waiting()  # they would only wait for the same
            return False
        for waiting, answer in zip(batch, reply.answers, strict=True):
            self._tell(waiting, answer)
        self._observer.appended(reply.answers, reply.wake, time.perf_counter() - started)
        return True

    async def _one_by_one(self, batch: list[_Waiting]) -> bool:
        """The script failed as a whole: find out whose fault it is."""
        if len(batch) == 1:
            self._refuse(batch)
            return True
        for at, waiting in enumerate(batch):
            if not await self._commit([waiting]):
                self._refuse(batch[at:])
                return False
        return True

    def _refuse_waiting(self) -> None:
        # Whoever is told may have the next element at hand at once: that one is tried.
        waiting, self._waiting = self._waiting, deque()
        self._refuse(waiting)

    def _refuse(self, those: Iterable[_Waiting], answer: Answer = _UNAVAILABLE) -> None:
        for waiting in those:
            self._tell(waiting, answer)

    def _tell(self, waiting: _Waiting, answer: Answer) -> None:
        answered, waiting.answered = waiting.answered, None
        if answered is not None:
            self.waiting_bytes -= len(waiting.element.body)
            answered(answer)
