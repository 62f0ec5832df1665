"""An event as its lane stores it, and how to read it.

Records are versioned, so that old and new processes can share a log during a rollout.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from eventlog.errors import UnknownRecord
from eventlog.ids import LONGEST_MS, USUAL_ID, id_order
from eventlog.marks import OCCURRED, encoding_among, read_marks, time_of
from eventlog.recent_calls import RecentCall, read_calls

EVENT_VERSION = b"1"
_AS_WRITTEN = [b"v", b"t", b"k", b"b", b"r", b"s", b"m"]  # fields of an event without a traceparent
_ENTRY = 2  # values of an entry of a stream
_VALUES = 7  # of an answer of the step script that leaves the names of these fields out
_TIME = OCCURRED.encode()
_TIME_BYTES = len(_TIME)
_MOST_MARK = _TIME_BYTES + 18  # of microseconds; a `datetime` ends before that


class StoredEvent(NamedTuple):
    """One accepted event as its lane stores it. A tuple, since one is made for every event of every handler.

    Attributes:
        stream_id: `<ms>-<seq>`, given by Redis; order within the lane.
        key: entity key, e.g. `session:4711`; None for an event without one.
        body: the verified bytes as they were received.
        key_id: which key verified it (first 8 hex digits of its SHA-256); empty for our own events.
        marks: `stale` (signed long before it arrived), `reconstructed` (made from the state of a resource),
            `maybe_repeat` (an equal body came before) and then why, a `RepeatReason` of `duplicates.py`;
            `encoding=...`; `quarantined` (it lay in the quarantine first); in older records also `misfit`, which
            means nothing now.
        occurred_at_us: the payload's own time, Unix time in microseconds; `NO_TIME` where it states none. None in
            records of older code, which did not store it.
        recent_calls: calls of handlers that it may be the echo of, the newest first.
    """

    lane: int
    stream_id: str
    type: str
    key: str | None
    body: bytes
    received_at_ms: int
    key_id: str = ""
    marks: tuple[str, ...] = ()
    traceparent: str = ""
    occurred_at_us: int | None = None
    recent_calls: tuple[RecentCall, ...] = ()

    @property
    def event_id(self) -> str:
        """`<lane>-<ms>-<seq>`, the identity that users see."""
        return f"{self.lane}-{self.stream_id}"

    @property
    def order(self) -> tuple[int, int]:
        return id_order(self.stream_id)

    @property
    def encoding(self) -> str:
        """How the body is encoded, by the names of `ampeco.encodings`; empty for plain UTF-8."""
        return encoding_among(self.marks) if self.marks else ""

    @property
    def received_at(self) -> datetime:
        return datetime.fromtimestamp(self.received_at_ms / 1000, UTC)

    @property
    def occurred_at(self) -> datetime | None:
        """The stored time as aware UTC; None where none is stored."""
        return time_of(self.occurred_at_us)


def decode_event(lane: int, stream_id: bytes, fields: Sequence[bytes]) -> StoredEvent:
    """Decode a stream entry.

    Raises:
        UnknownRecord: the entry has a version or shape we do not know.
    """
    if fields[::2] == _AS_WRITTEN:
        version, kind, key, body, received, key_id, marks = fields[1::2]
        traceparent = b""
    else:
        values = dict(zip(fields[::2], fields[1::2], strict=True))
        try:
            version, kind, key, body, received = (values[name] for name in _AS_WRITTEN[:5])
        except KeyError:
            raise UnknownRecord(f"event record with fields {sorted(values)!r}") from None
        key_id, marks, traceparent = (values.get(name, b"") for name in (b"s", b"m", b"tp"))
    if version != EVENT_VERSION:
        raise UnknownRecord(f"event record version {version!r}")
    return _stored(lane, stream_id, kind, key, body, received, key_id, marks, traceparent)


def decode_step(lane: int, answer: Sequence[Any]) -> StoredEvent:
    """Decode an event of a step's answer: an entry, or its values alone, then the calls that it may be the echo of.

    Raises:
        UnknownRecord: as `decode_event` does.
    """
    if len(answer) == _VALUES:
        return _stored(lane, *answer)
    if len(answer) == _ENTRY:
        return decode_event(lane, *answer)
    *entry, calls = answer
    event = decode_step(lane, entry)
    return event._replace(recent_calls=read_calls(calls, event.order[0]))


def _stored(
    lane: int,
    stream_id: bytes,
    kind: bytes,
    key: bytes,
    body: bytes,
    received: bytes,
    key_id: bytes,
    marks: bytes,
    traceparent: bytes = b"",
) -> StoredEvent:
    kept: tuple[str, ...] = ()
    occurred_at_us: int | None = None
    if len(received) > LONGEST_MS or (
        len(stream_id) > USUAL_ID and len(stream_id.partition(b"-")[0]) > LONGEST_MS
    ):
        raise UnknownRecord("event record with a time that no clock has")
    try:
        if marks[:_TIME_BYTES] == _TIME and marks[_TIME_BYTES:].isdigit() and len(marks) < _MOST_MARK:
            occurred_at_us = int(marks[_TIME_BYTES:])  # the usual case: the time alone
        elif marks:
            kept, occurred_at_us = read_marks(marks.decode().split(","))
        return StoredEvent(
            lane,
            stream_id.decode(),
            kind.decode(),
            key.decode() or None,
            body,
            int(received),
            key_id.decode(),
            kept,
            traceparent.decode(),
            occurred_at_us,
        )
    except (OverflowError, ValueError) as error:
        raise UnknownRecord(f"event record that cannot be read ({type(error).__name__})") from error
