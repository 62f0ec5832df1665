"""Remembers when which key verified an event of which type, and publishes that every few seconds.

An operator sees from it whether an old key is still in use; the registrar and a rotation of the API token decide by
it. The header `X-Webhook-Id` names the notification subscription, where AMPECO sends it. It is not signed, so it is
bounded, and it only ever speaks for removing a subscription whose key no receiver accepts.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from eventlog.log import EventLog
from eventlog.replicas import PUBLISH_S, Replica, leave, publish
from receiver.metrics import Metrics

WEBHOOK_ID = b"x-webhook-id"
_MOST_TYPES = 500
_MOST_SUBSCRIPTIONS = 50
_OTHERS = "(other)"


class HeardKeys:
    """The events that were verified since the last call of `take`."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._types: dict[tuple[str, str], int] = {}
        self._subscriptions: dict[tuple[str, str], int] = {}
        self._counts: Counter[str] = Counter()

    def event(self, key_id: str, type_: str, at_ms: int) -> None:
        """Note an event of a type. Called for every event, so it does little."""
        self._counts[key_id] += 1
        self._types[self._name(key_id, type_)] = at_ms

    def subscription(self, key_id: str, headers: Iterable[tuple[bytes, bytes]], at_ms: int) -> None:
        """Note which notification subscription a verified request names, if it names one."""
        for name, value in headers:
            if name == WEBHOOK_ID and value.isdigit() and len(value) <= 20:
                found = (value.decode(), key_id)
                if found in self._subscriptions or len(self._subscriptions) < _MOST_SUBSCRIPTIONS:
                    self._subscriptions[found] = at_ms

    def count(self) -> None:
        """Add what was verified to the metrics. Called once a second."""
        counts, self._counts = self._counts, Counter()
        for key_id, number in counts.items():
            self._metrics.verified_by_key.labels(key_id).inc(number)

    def take(self) -> tuple[dict[tuple[str, str], int], list[tuple[str, str, int]]]:
        """Return what came since the last call, by type and by notification subscription."""
        types, self._types = self._types, {}
        named, self._subscriptions = self._subscriptions, {}
        return types, [(subscription, key_id, at_ms) for (subscription, key_id), at_ms in named.items()]

    def again(
        self, types: Mapping[tuple[str, str], int], subscriptions: Iterable[tuple[str, str, int]]
    ) -> None:
        """Keep what was taken and could not be written. What came since is newer."""
        for (key_id, type_), at_ms in types.items():
            self._types.setdefault(self._name(key_id, type_), at_ms)
        for subscription, key_id, at_ms in subscriptions:
            if len(self._subscriptions) < _MOST_SUBSCRIPTIONS:
                self._subscriptions.setdefault((subscription, key_id), at_ms)

    def _name(self, key_id: str, type_: str) -> tuple[str, str]:
        name = (key_id, type_)
        return name if name in self._types or len(self._types) < _MOST_TYPES else (key_id, _OTHERS)


class Announcement:
    """Publishes every few seconds which keys this receiver accepts and which events it verified."""

    def __init__(
        self,
        log: EventLog,
        heard: HeardKeys,
        replica: Callable[[], Replica],
        dropped: Callable[[frozenset[str]], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            replica: returns what this receiver accepts now.
            dropped: called with the ids of keys that a rotation of the API token dropped, if there are any.
        """
        self._log = log
        self._heard = heard
        self._replica = replica
        self._dropped = dropped
        self._clock = clock
        self._due_at = 0.0
        self._said: Replica | None = None

    async def check(self) -> None:
        """Publish if that is due, or if something has changed.

        Raises:
            RedisError, OSError: Redis did not take it. The next call publishes it.
        """
        self._heard.count()
        now = self._replica()
        if now == self._said and self._clock() < self._due_at:
            return
        types, subscriptions = self._heard.take()
        try:
            noted = await publish(self._log, now, types=types, subscriptions=subscriptions)
        except BaseException:  # a cancellation, too: `leave` writes it then
            self._heard.again(types, subscriptions)
            raise
        self._said, self._due_at = now, self._clock() + PUBLISH_S
        if noted.dropped:
            self._dropped(noted.dropped)

    async def leave(self) -> None:
        """Publish the last events, then note that this receiver stops.

        Raises:
            RedisError, OSError: Redis did not take it.
        """
        types, subscriptions = self._heard.take()
        if types or subscriptions:
            await publish(self._log, self._replica(), types=types, subscriptions=subscriptions)
        await leave(self._log, self._replica().name)
