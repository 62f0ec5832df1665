"""Keeps the last seconds of accepted events, and appends again what Redis lost.

At `appendfsync everysec` a crash of Redis may lose its last two seconds. A replica that takes over may lack events
that had not reached it. We answered 202 for these events. This module knows nothing of HTTP or payloads.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from eventlog.data_loss import Remembered, lost, remembered
from eventlog.log import Answer, AppendReply, Element, EventLog, NewEvent
from receiver.logging import get_logger
from receiver.metrics import Metrics

KEEP_S: Final = 5.0
MAX_BYTES: Final = 64 << 20

_LOOK_AT, _APPEND_AT = 1000, 64  # elements in one call
_log = get_logger(__name__)


@dataclass(slots=True)
class _Batch:
    """One append. An answer changes when its element is appended again."""

    accepted_s: float
    elements: list[Element]
    answers: list[Answer]
    bytes: int


class _Accepted(NamedTuple):
    """An element that should be in the log: number `at` of its batch."""

    batch: _Batch
    at: int
    stream: str
    stream_id: str

    @property
    def element(self) -> Element:
        return self.batch.elements[self.at]


class Recollection:
    """Wraps `EventLog.append` and remembers the accepted elements."""

    def __init__(
        self,
        log: EventLog,
        wake: Callable[[Sequence[str]], None],
        metrics: Metrics,
        *,
        clock: Callable[[], float] = time.monotonic,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        """
        Args:
            wake: called with the queues to wake; must not block.
            max_bytes: limit of the remembered bodies; beyond it the oldest are dropped.
        """
        self._events = log
        self._wake = wake
        self._metrics = metrics
        self._clock = clock
        self._max_bytes = max_bytes
        self._kept: deque[_Batch] = deque()
        self._bytes = 0
        self._before: Remembered | None = None
        self._suspect = False
        self._logged_full = False

    async def append(self, elements: Sequence[Element]) -> AppendReply:
        """Append like `EventLog.append`, and remember the accepted elements."""
        reply = await self._events.append(elements)
        self._keep(elements, reply.answers)
        return reply

    def accepted_since(self, since_s: float) -> Iterator[NewEvent]:
        """Yield accepted events since a moment by the clock of this object, the newest first."""
        for batch in reversed(self._kept):
            if batch.accepted_s < since_s:
                return
            for element, answer in zip(batch.elements, batch.answers, strict=True):
                if answer.outcome == "accepted" and isinstance(element, NewEvent):
                    yield element

    async def check(self) -> bool:
        """Append again what Redis lost. Called about once a second.

        Returns:
            Whether Redis is now another process than at the last check.

        Raises:
            redis.RedisError, OSError: Redis did not answer; call again later.
        """
        now, before = await remembered(self._events), self._before
        self._suspect = self._suspect or (before is not None and not now.continues(before))
        if self._suspect and not await self._append_what_was_lost():
            return False
        self._suspect, self._before = False, now
        safe_s = self._clock() - KEEP_S
        while self._kept and self._kept[0].accepted_s < safe_s:
            self._drop_oldest()
        return before is not None and now.run_id != before.run_id

    def _keep(self, elements: Sequence[Element], answers: Sequence[Answer]) -> None:
        size = sum(len(element.body) for element in elements)
        self._kept.append(_Batch(self._clock(), list(elements), list(answers), size))
        self._bytes += size
        while self._bytes > self._max_bytes:
            self._drop_oldest()
            if not self._logged_full:
                self._logged_full = True
                _log.warning("recollection.full", bytes=self._max_bytes)

    def _drop_oldest(self) -> None:
        self._bytes -= self._kept.popleft().bytes

    async def _append_what_was_lost(self) -> bool:
        """Return False if some were refused. Those stay remembered, and the next check tries them again."""
        accepted = [one for batch in self._kept for one in _accepted(batch)]
        missing: list[_Accepted] = []
        for first in range(0, len(accepted), _LOOK_AT):
            part = accepted[first : first + _LOOK_AT]
            places = await lost(self._events, [(one.stream, one.stream_id) for one in part])
            missing += [part[at] for at in places]
        appended = refused = 0
        for first in range(0, len(missing), _APPEND_AT):
            part = missing[first : first + _APPEND_AT]
            reply = await self._events.append([_again(one.element) for one in part])
            self._wake(reply.wake)
            for one, answer in zip(part, reply.answers, strict=True):
                if answer.outcome == "refused":
                    refused += 1
                else:
                    one.batch.answers[one.at] = answer
                    one.batch.accepted_s = self._clock()
                    appended += answer.event_id is not None
        self._metrics.appended_again.inc(appended)
        if missing:
            _log.warning("events.appended_again", events=appended, refused=refused)
        return not refused


def _accepted(batch: _Batch) -> Iterator[_Accepted]:
    for at, answer in enumerate(batch.answers):
        if answer.event_id is None:
            continue
        if answer.outcome == "quarantined":
            yield _Accepted(batch, at, "quarantine", answer.event_id)
        else:
            lane, _, stream_id = answer.event_id.partition("-")
            yield _Accepted(batch, at, f"events:{lane}", stream_id)


def _again(element: Element) -> Element:
    """Return the element as a repeat: only its nonce decides whether it is in the log. The log marks it."""
    return element._replace(duplicates="again") if isinstance(element, NewEvent) else element
