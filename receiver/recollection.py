"""The last seconds of accepted events, for a Redis that forgets: what it lost is appended again.

Redis at `appendfsync everysec` may lose its last two seconds in a crash, and a replica that takes over may miss what
had not reached it, although we answered 202. It knows nothing of HTTP and nothing of what an element says.
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
    """What one append was about; what is appended again takes the place of what was lost."""

    accepted_s: float
    elements: list[Element]
    answers: list[Answer]
    bytes: int


class _Accepted(NamedTuple):
    """An element that is in the log, as far as we know: number `at` of its batch."""

    batch: _Batch
    at: int
    stream: str
    stream_id: str

    @property
    def element(self) -> Element:
        return self.batch.elements[self.at]


class Recollection:
    """Stands before `EventLog.append`, and remembers what was accepted."""

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
            wake: called with the queues that have something to do; must not block.
            max_bytes: of the bodies that are remembered; the oldest go first.
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
        self._told_full = False

    async def append(self, elements: Sequence[Element]) -> AppendReply:
        """Append, and remember what was accepted. As `EventLog.append` in all other respects."""
        reply = await self._events.append(elements)
        self._keep(elements, reply.answers)
        return reply

    async def check(self) -> bool:
        """Find out whether Redis forgot something, and append that again; called about once a second.

        Returns:
            Whether another process has taken the place of the Redis that was there before.

        Raises:
            redis.RedisError, OSError: Redis did not answer; to be called again.
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
            if not self._told_full:
                self._told_full = True
                _log.warning("recollection.full", bytes=self._max_bytes)

    def _drop_oldest(self) -> None:
        self._bytes -= self._kept.popleft().bytes

    async def _append_what_was_lost(self) -> bool:
        """False when some of it was refused: it is still remembered, and asked for again."""
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
    """The same once more: its nonce alone says whether it is in the log. The log marks it as `maybe_repeat`."""
    return element._replace(duplicates="again") if isinstance(element, NewEvent) else element
