"""What lies in the log: a stored event, and the record of one that is open for a handler.

Both are versioned, so that old and new processes can share a log during a rollout. A version we do not know
is an error, never a guess.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple

from eventlog.acts import Act, acts_of, read_acts
from eventlog.called import more
from eventlog.text import bounded

VERSION = 2
EVENT_VERSION = b"1"
KEPT_ATTEMPTS = 10
KEPT_ACTIONS = 50  # of one attempt
ACTION_CHARS = 300
TRACE_CHARS = 5_000
OPEN_QUOTA = 10_000  # records that `open` of one (handler, lane) may hold
_AS_WRITTEN = [b"v", b"t", b"k", b"b", b"r", b"s", b"m"]  # fields of an event without a traceparent
_ENTRY = 2  # values of an entry of a stream
_VALUES = 7  # of an answer of the step script that leaves the names of these fields out
HURRIED_MS = 0  # as `due_ms`: an operator ended the wait
RECONSTRUCTED = "reconstructed"
NO_TIME = 0  # as `occurred_at_us`: the payload states no time of its own
_OCCURRED = "at="  # the mark that carries the time; older code keeps marks it does not know
_OCCURRED_BYTES = len(_OCCURRED)
_ENCODING = "encoding="  # the mark that says how the body is encoded; plain bodies have none
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
OpenState = Literal["running", "retry", "parked", "replay"]


class UnknownRecord(ValueError):
    """A record of a version, or in a shape, that this code does not know."""


class StoredEvent(NamedTuple):
    """One accepted event as it lies in its lane. A tuple, since one is made for every event of every handler.

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
        acts: calls of handlers that it may be the echo of, the newest first.
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
    acts: tuple[Act, ...] = ()

    @property
    def event_id(self) -> str:
        """`<lane>-<ms>-<seq>`, the identity users see."""
        return f"{self.lane}-{self.stream_id}"

    @property
    def order(self) -> tuple[int, int]:
        return id_order(self.stream_id)

    @property
    def encoding(self) -> str:
        """How the body stands for UTF-8, in the words of `ampeco.encodings`; empty when it is plain UTF-8."""
        return encoding_among(self.marks) if self.marks else ""

    @property
    def received_at(self) -> datetime:
        return datetime.fromtimestamp(self.received_at_ms / 1000, UTC)

    @property
    def occurred_at(self) -> datetime | None:
        """The stored time as aware UTC; None where none is stored."""
        return _EPOCH + self.occurred_at_us * _MICROSECOND if self.occurred_at_us else None


class AttemptNote(NamedTuple):
    """One attempt, kept for `explain` and the history.

    Attributes:
        at_ms: when it began.
        outcome: slug of how it ended (`done`, `timed-out`, `gave-up`, ...).
        detail: the author's words or the class of the error.
        actions: what it called at AMPECO, each a line of `called.py`. Calls that change nothing are among them only
            where the attempt did not succeed.
    """

    at_ms: int
    outcome: str
    detail: str = ""
    actions: tuple[str, ...] = ()


@dataclass(slots=True)
class OpenRecord:
    """What Redis knows of one (handler, event) that is neither waiting nor settled.

    Attributes:
        state: `running` (was passed by the cursor while at work), `retry` (waits for `due_ms`),
            `parked` (waits behind an earlier event of its key), `replay` (an operator asked for it; due at once).
        wait_ms: in `retry`, how long it was to wait, by any clock; None in records of older code.
        attempts: attempts that were started and counted.
        crashes: times a worker died while this was running.
        first_ms: when it was first tried, for the age limit of attempts that do not count.
        replayed: the handler sees that an operator asked for it again; stays when the state moves on.
        log: the last attempts, oldest first, at most `KEPT_ATTEMPTS`.
        own_key: the handler's own key of the event, where it has one. It is for people: a drain finds it again, since
            newer code may have other keys.
    """

    event: StoredEvent
    state: OpenState
    due_ms: int | None = None
    attempts: int = 0
    crashes: int = 0
    first_ms: int = 0
    last_error: str = ""
    replayed: bool = False
    log: tuple[AttemptNote, ...] = ()
    wait_ms: int | None = None
    own_key: str | None = None


def id_order(stream_id: str) -> tuple[int, int]:
    """A stream id as numbers that compare in log order."""
    ms, _, seq = stream_id.partition("-")
    return int(ms), int(seq)


def encoding_mark(encoding: str) -> str:
    """Return the mark that says how a body is encoded. Older code keeps it, and cannot read the body."""
    return f"{_ENCODING}{encoding}"


def encoding_among(marks: Sequence[str]) -> str:
    """Return the encoding that one of the marks names; empty when none does."""
    return next((mark[len(_ENCODING) :] for mark in marks if mark.startswith(_ENCODING)), "")


def written_mark(mark: str, occurred_at: datetime | None) -> str:
    """Add the payload's own time to a mark, as the endpoint writes both.

    The time travels among the marks because older code, and the append script, copy marks they do not know.

    Args:
        occurred_at: aware; None where the payload states no time.
    """
    at_us = NO_TIME if occurred_at is None else (occurred_at - _EPOCH) // _MICROSECOND
    return f"{mark},{_OCCURRED}{at_us}" if mark else f"{_OCCURRED}{at_us}"


def read_marks(written: Sequence[str]) -> tuple[tuple[str, ...], int | None]:
    """Part the marks as they are stored from the time among them; the inverse of `written_mark`.

    Raises:
        UnknownRecord: the time is no number.
    """
    marks, at_us = [], None
    for mark in written:
        if mark.startswith(_OCCURRED):
            try:
                at_us = int(mark[len(_OCCURRED) :])
            except ValueError:
                raise UnknownRecord(f"event record with the time {mark!r}") from None
        else:
            marks.append(mark)
    return tuple(marks), at_us


def decode_event(lane: int, stream_id: bytes, fields: Sequence[bytes]) -> StoredEvent:
    """A stream entry as a StoredEvent.

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
    """An event as the step script answers it: an entry, or its values alone; and then what it may be the echo of.

    Raises:
        UnknownRecord: as `decode_event` does.
    """
    if len(answer) == _VALUES:
        return _stored(lane, *answer)
    if len(answer) == _ENTRY:
        return decode_event(lane, *answer)
    *entry, acts = answer
    event = decode_step(lane, entry)
    return event._replace(acts=read_acts(acts, event.order[0]))


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
    if marks[:_OCCURRED_BYTES] == _OCCURRED.encode() and marks[_OCCURRED_BYTES:].isdigit():
        occurred_at_us = int(marks[_OCCURRED_BYTES:])  # the usual case: the time alone
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


def encode_open(record: OpenRecord) -> bytes:
    """One line of JSON, then the body as it is."""
    event = record.event
    at_us = event.occurred_at_us
    head: dict[str, Any] = {
        "v": VERSION,
        "state": record.state,
        "type": event.type,
        "key": event.key,
        "received": event.received_at_ms,
        "due": record.due_ms,
        "attempts": record.attempts,
        "crashes": record.crashes,
        "first": record.first_ms,
        "error": kept_text(record.last_error),
        "key_id": event.key_id,
        "marks": event.marks if at_us is None else (*event.marks, f"{_OCCURRED}{at_us}"),
        "traceparent": event.traceparent,
        "replayed": record.replayed or record.state == "replay",
        "log": [kept_note(note) for note in record.log[-KEPT_ATTEMPTS:]],
    }
    if record.wait_ms is not None:
        head["wait"] = record.wait_ms  # older code reads records with names that it does not know
    if record.own_key is not None:
        head["own_key"] = record.own_key
    if event.acts:
        head["acts"] = event.acts
    return json.dumps(head, separators=(",", ":")).encode() + b"\n" + event.body


def decode_open(lane: int, stream_id: bytes, data: bytes) -> OpenRecord:
    """The inverse of `encode_open`; records of version 1 had no log of attempts and were never replayed.

    Raises:
        UnknownRecord: the record has a version or shape we do not know.
    """
    line, separator, body = data.partition(b"\n")
    try:
        head = json.loads(line)
        if not separator or head["v"] not in (1, VERSION):
            raise UnknownRecord("open record of another version")
        marks, occurred_at_us = read_marks(head["marks"])
        event = StoredEvent(
            lane=lane,
            stream_id=stream_id.decode(),
            type=head["type"],
            key=head["key"],
            body=body,
            received_at_ms=head["received"],
            key_id=head["key_id"],
            marks=marks,
            traceparent=head["traceparent"],
            occurred_at_us=occurred_at_us,
            acts=acts_of(head.get("acts", ())),
        )
        return OpenRecord(
            event=event,
            state=head["state"],
            due_ms=head["due"],
            attempts=head["attempts"],
            crashes=head["crashes"],
            first_ms=head["first"],
            last_error=kept_text(head["error"]),
            replayed=head.get("replayed", False),
            log=notes_of(head.get("log", ())),
            wait_ms=head.get("wait"),
            own_key=_text_or_none(head.get("own_key")),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UnknownRecord(f"open record of {stream_id!r} cannot be read") from error


def _text_or_none(value: object) -> str | None:
    return value if isinstance(value, str) else None


def kept_note(note: AttemptNote) -> AttemptNote:
    """Return what the log keeps of a note: bounded and valid texts, and the first actions."""
    actions = tuple(bounded(action, ACTION_CHARS) for action in note.actions[:KEPT_ACTIONS])
    if len(note.actions) > KEPT_ACTIONS:
        actions = (*actions[:-1], more(len(note.actions) - KEPT_ACTIONS + 1))
    return AttemptNote(note.at_ms, kept_text(note.outcome), kept_text(note.detail), actions)


def kept_text(value: object) -> str:
    """Return what the log keeps of a text. Older code also stored what else JSON has, where an author gave it."""
    if isinstance(value, str):
        return bounded(value)
    return "" if value is None else bounded(json.dumps(value))


def notes_of(log: Any) -> tuple[AttemptNote, ...]:
    """Notes as they were written to JSON. Those of older code may be long, and hold half a surrogate pair.

    Raises:
        TypeError, ValueError: they have another shape.
    """
    return tuple(
        kept_note(AttemptNote(at_ms, outcome, detail, tuple(actions)))
        for at_ms, outcome, detail, actions in log
    )


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A delivery that was given up, for a human.

    Attributes:
        trace: where it failed: exception class and code lines only, never its text or values (they may hold
            personal data or secrets).
    """

    record: OpenRecord
    reason: str
    trace: str = ""
