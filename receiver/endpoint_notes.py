"""Collects what the endpoint refused and dropped, until it is written to the log once a second.

While Redis is away, counts stay here by the ten minutes they belong to, for a day at most.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Final

from redis.exceptions import RedisError

from eventlog.clock import now_ms
from eventlog.log import Answer, Element, EventLog, NewEvent
from eventlog.turned_away import HOUR_MS, KEEP_HOURS, SLOT_MS, Copy, fingerprint, note

MOST_COPIES: Final = 200  # noted per second; further ones are only counted


class EndpointNotes:
    """What is to be noted next.

    Args:
        now_ms: Unix ms.
    """

    def __init__(self, now_ms: Callable[[], int] = now_ms) -> None:
        self._now_ms = now_ms
        self._refused: Counter[tuple[int, str]] = Counter()
        self._copies: deque[Copy] = deque(maxlen=MOST_COPIES)

    def refused(self, reason: str) -> None:
        """Note a refused request. A reason is a slug from our code, never text of a request."""
        now = self._now_ms()
        self._refused[now - now % SLOT_MS, reason] += 1

    def dropped(self, elements: Sequence[Element], answers: Sequence[Answer]) -> None:
        """Note the duplicates among the elements of an append."""
        for element, answer in zip(elements, answers, strict=True):
            if answer.outcome == "duplicate" and isinstance(element, NewEvent):
                self._copies.append(
                    Copy(
                        element.type,
                        element.key,
                        answer.reason or "",
                        element.received_at_ms,
                        element.key_id,
                        fingerprint(element.body),
                    )
                )

    async def write(self, log: EventLog) -> None:
        """Write what was noted; keep it if Redis does not take it.

        Raises:
            redis.RedisError, OSError: Redis does not answer.
        """
        if not self._refused and not self._copies:
            return
        refused, copies = self._refused, self._copies
        self._refused, self._copies = Counter(), deque(maxlen=MOST_COPIES)
        try:
            await note(log, refused, copies)
        except (RedisError, OSError):
            oldest_ms = self._now_ms() - KEEP_HOURS * HOUR_MS
            self._refused += Counter({slot: count for slot, count in refused.items() if slot[0] > oldest_ms})
            self._copies.extendleft(reversed(copies))
            raise
