"""Watches the structure of what arrives: looks at a few accepted bodies each second, between requests.

What it has learned lies in the log, shared by all receivers, and is written rarely: when there is news, else every
few minutes. A difference from the contract, or from what was seen before, is counted, logged and announced once. It
keeps paths and kinds, and no values.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from redis.exceptions import RedisError

from ampeco.catalogue import KNOWN_TYPES
from ampeco.encodings import plain, plain_size
from ampeco.errors import PayloadError
from ampeco.expected_shape import drifts, is_known_name
from ampeco.notifications import read
from ampeco.observed_shape import (
    MOST_DRIFTS,
    Drift,
    Shape,
    TooManyValues,
    absorb,
    has_news,
    observed,
)
from ampeco.shape_record import decode_shape, encode_shape
from eventlog.log import EventLog, NewEvent
from eventlog.marks import encoding_among
from eventlog.shapes import put_shape, stored_shape
from receiver.logging import get_logger
from receiver.metrics import Metrics

SAMPLES = 4  # bodies that are looked at each time
CHECK_S = 10.0  # how often a type is compared with its record in the log
WRITE_S = 300.0  # how often unchanged knowledge is written
MOST_BYTES = 64 << 10  # of a body that is looked at
OTHER = "(other)"

_BUDGET_S = 0.01  # of processor time, after which the rest waits for the next time
_MOST_LOOKED_THROUGH = 500  # accepted events among which the samples are chosen
_MOST_TYPES = 300  # of which something is remembered in this process
_NAMED = 10  # fields that a log line names

_log = get_logger(__name__)


@dataclass(slots=True)
class _Watched:
    """This process's knowledge of one type.

    Attributes:
        record: what is stored in the log, as it was read or written last; None before that.
        shape: the same, decoded; None when this version cannot read it.
        new: what was seen since.
    """

    sampled_s: float
    checked_s: float
    written_s: float
    record: bytes | None = None
    shape: Shape | None = None
    new: Shape = field(default_factory=Shape)


class ShapeWatch:
    """Looks at bodies for one receiver.

    Args:
        lately: returns accepted events since a moment by `clock`, the newest first.
        wake: called with the queues to wake; must not block.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        log: EventLog,
        lately: Callable[[float], Iterable[NewEvent]],
        wake: Callable[[Sequence[str]], None],
        metrics: Metrics,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._events = log
        self._lately = lately
        self._wake = wake
        self._metrics = metrics
        self._clock = clock
        self._looked_s = clock()
        self._types: dict[str, _Watched] = {}
        is_known_name("")  # reads the contract, which takes some ms, before the endpoint opens

    async def look(self) -> None:
        """Look at some bodies, and write what is due. Called about once a second.

        Raises:
            redis.RedisError, OSError: Redis did not answer; what was seen is kept until the next call.
        """
        try:
            await self._look(self._clock())
        except (RedisError, OSError):
            raise
        except Exception as error:  # noqa: BLE001 - a fault in here must not end the receiver
            _log.error("shape.not_watched", error=type(error).__name__)

    async def _look(self, now_s: float) -> None:
        started_s = time.perf_counter()
        for event in self._chosen(now_s):
            self._sample(event, now_s)
            if time.perf_counter() - started_s > _BUDGET_S:
                break
        self._looked_s = now_s
        due = [
            (watched.checked_s, name)
            for name, watched in self._types.items()
            if watched.new.samples and now_s - watched.checked_s >= CHECK_S
        ]
        if due:  # one type in each second, so that no second has much to do
            _, name = min(due)
            self._types[name].checked_s = now_s
            await self._check(name, self._types[name], now_s)

    def _chosen(self, now_s: float) -> list[NewEvent]:
        """Choose one event of each type, those first of which none was looked at for longest."""
        by_type: dict[str, NewEvent] = {}
        for number, event in enumerate(self._lately(self._looked_s)):
            if number >= _MOST_LOOKED_THROUGH:
                break
            if event.type not in by_type and plain_size(event.body) <= MOST_BYTES:
                by_type[event.type] = event
        waits = {
            name: now_s - self._types[name].sampled_s if name in self._types else now_s for name in by_type
        }
        return [by_type[name] for name in sorted(by_type, key=lambda name: -waits[name])[:SAMPLES]]

    def _sample(self, event: NewEvent, now_s: float) -> None:
        watched = self._types.get(event.type)
        if watched is None:
            if len(self._types) >= _MOST_TYPES and event.type not in KNOWN_TYPES:
                return
            watched = self._types[event.type] = _Watched(now_s, now_s - CHECK_S, now_s)
        watched.sampled_s = now_s
        try:
            text = plain(event.body, encoding_among(event.mark.split(",")))
            seen = observed(read(text), event.received_at_ms, is_known_name)
        except (PayloadError, TooManyValues):
            return
        absorb(watched.new, seen, is_known_name)

    async def _check(self, type_name: str, watched: _Watched, now_s: float) -> None:
        """Write what was seen of a type, if it is news or if the last time is long ago."""
        if watched.record is None:
            self._learn(watched, await stored_shape(self._events, type_name))
        before = watched.shape
        if before is None:
            watched.new = Shape()  # a newer version wrote the record, and goes on with it
            return
        known = {(drift.path, drift.what) for drift in before.drifts}
        found = [
            drift for drift in drifts(type_name, before, watched.new) if (drift.path, drift.what) not in known
        ][: MOST_DRIFTS - len(before.drifts)]
        if not (found or has_news(before, watched.new) or now_s - watched.written_s >= WRITE_S):
            return
        await self._write(type_name, watched, before, found)
        watched.written_s = now_s

    async def _write(self, type_name: str, watched: _Watched, before: Shape, found: list[Drift]) -> None:
        record = watched.record or b""
        after = decode_shape(record) if record else Shape()  # a copy
        absorb(after, watched.new, is_known_name)
        after.drifts = [*before.drifts, *found]
        written = encode_shape(after)
        put = await put_shape(
            self._events,
            type_name,
            record,
            written,
            is_known=type_name in KNOWN_TYPES,
            drifted=[drift.path for drift in found],
        )
        if put.outcome == "moved":
            watched.record = None  # it is read again, and then this is tried again
            watched.checked_s -= CHECK_S
            return
        watched.new = Shape()
        if put.outcome == "put":
            watched.record, watched.shape = written, after
            self._wake(put.wake)
            self._tell(type_name, found)

    def _learn(self, watched: _Watched, record: bytes) -> None:
        watched.record = record
        try:
            watched.shape = decode_shape(record) if record else Shape()
        except ValueError:
            watched.shape = None

    def _tell(self, type_name: str, found: list[Drift]) -> None:
        if not found:
            return
        label = type_name if type_name in KNOWN_TYPES else OTHER
        for drift in found:
            self._metrics.drifted(label, drift.what, drift.against)
        fields = [f"{drift.path}: {drift.what}" for drift in found]
        _log.warning("shape.drifted", notification=type_name, fields=fields[:_NAMED], count=len(fields))
