"""Group commit: elements that wait while an append is in flight go together with the next one.

There is no timer: the first element is appended at once, and batches grow under load. If many elements wait, a second
append follows the first over the same connection, in order. So Redis works while this process prepares a batch.
When an append fails, this module decides which elements are refused. It knows nothing of HTTP or payloads.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from redis.exceptions import OutOfMemoryError, ReadOnlyError, RedisError, ResponseError

from eventlog.errors import NotReplicated
from eventlog.log import MAX_BATCH, Answer, AppendReply, Element
from receiver.endpoint_log import EndpointLog
from receiver.logging import get_logger

MAX_BATCH_BYTES = 1 << 20
MAX_WAITING_BYTES = 64 << 20
IN_FLIGHT = 2
WORTH_A_CALL = 16  # waiting elements that justify a second call in flight
APPEND_TIMEOUT_S = 3.0  # the Redis client's own time-out is 2 s; this one covers all the rest

Answered: TypeAlias = Callable[[Answer], None]
"""Called once with the outcome of an element, possibly at once; must not raise."""

_FULL: Final = Answer("refused", reason="intake-full")
_UNAVAILABLE: Final = Answer("refused", reason="log-unavailable")
_NOT_REPLICATED: Final = Answer("refused", reason=NotReplicated.reason)
_log = get_logger(__name__)


@dataclass(slots=True)
class _Waiting:
    """An element and its callback; None once the callback was called."""

    element: Element
    answered: Answered | None


class GroupCommit:
    """Collects elements and appends them in batches.

    Args:
        append: appends a batch. Two calls may be in flight; they must take effect in the order of the calls.
        endpoint_log: gets the result of every batch.
        max_waiting_bytes: limit of all bodies without an answer; further elements are refused.
    """

    def __init__(
        self,
        append: Callable[[Sequence[Element]], Awaitable[AppendReply]],
        endpoint_log: EndpointLog,
        *,
        max_waiting_bytes: int = MAX_WAITING_BYTES,
    ) -> None:
        self._append = append
        self._endpoint_log = endpoint_log
        self._max_waiting_bytes = max_waiting_bytes
        self._waiting: deque[_Waiting] = deque()
        self._pumps: set[asyncio.Task[None]] = set()
        self.waiting_bytes = 0

    def append(self, element: Element, answered: Answered) -> None:
        """Append one element, together with all others that wait.

        Args:
            element: what to append.
            answered: called with the outcome. Reasons of a refusal: `intake-full`; `not-replicated` (in the log, but
                on too few replicas); `log-unavailable` (Redis does not answer, or the outcome is unknown).
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
            self._pumps.discard(pump)  # first, so that an element from a callback starts a new pump
            # Every element gets an answer, even if this task was cancelled or failed.
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
        """Append a batch and hand out its answers. Return False if Redis does not answer."""
        started = time.perf_counter()
        try:
            async with asyncio.timeout(APPEND_TIMEOUT_S):
                reply = await self._append([waiting.element for waiting in batch])
        except (ReadOnlyError, OutOfMemoryError) as error:
            self._endpoint_log.append_refused(type(error).__name__)
            self._refuse(batch)  # each element alone would fail for the same reason
            return True
        except ResponseError as error:
            self._endpoint_log.append_refused(type(error).__name__)
            return await self._one_by_one(batch)
        except NotReplicated:
            self._refuse(batch, _NOT_REPLICATED)
            return True
        except (RedisError, OSError) as error:
            _log.debug("append.failed", error=type(error).__name__)
            self._refuse(batch)
            self._refuse_waiting()  # they would fail for the same reason
            return False
        for waiting, answer in zip(batch, reply.answers, strict=True):
            self._answer(waiting, answer)
        self._endpoint_log.appended(reply.answers, reply.wake, time.perf_counter() - started)
        return True

    async def _one_by_one(self, batch: list[_Waiting]) -> bool:
        """Append each element alone, after the script failed for the batch: one of them may be the cause."""
        if len(batch) == 1:
            self._refuse(batch)
            return True
        for at, waiting in enumerate(batch):
            if not await self._commit([waiting]):
                self._refuse(batch[at:])
                return False
        return True

    def _refuse_waiting(self) -> None:
        # A callback may append again. Swap the queue first, so that its element is tried, not refused.
        waiting, self._waiting = self._waiting, deque()
        self._refuse(waiting)

    def _refuse(self, those: Iterable[_Waiting], answer: Answer = _UNAVAILABLE) -> None:
        for waiting in those:
            self._answer(waiting, answer)

    def _answer(self, waiting: _Waiting, answer: Answer) -> None:
        answered, waiting.answered = waiting.answered, None
        if answered is not None:
            self.waiting_bytes -= len(waiting.element.body)
            answered(answer)
