"""The records of deliveries: of an event that is open for a handler, and of a dead letter.

Both are versioned, so that old and new processes can share a log during a rollout. A version we do not know
is an error, never a guess. The parts of a record are in `stored_event.py`, `marks.py` and `attempt_notes.py`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from eventlog.attempt_notes import KEPT_ATTEMPTS, AttemptNote, kept_note, kept_text, notes_of
from eventlog.clock import LAST_MS
from eventlog.errors import UnknownRecord
from eventlog.ids import id_order
from eventlog.marks import (
    NO_TIME,
    OCCURRED,
    RECONSTRUCTED,
    encoding_mark,
    read_marks,
    written_mark,
)
from eventlog.recent_calls import calls_of
from eventlog.stored_event import StoredEvent, decode_event

__all__ = [
    "HURRIED_MS",
    "KEPT_ATTEMPTS",
    "NO_TIME",
    "OPEN_QUOTA",
    "RECONSTRUCTED",
    "TRACE_CHARS",
    "AttemptNote",
    "DeadLetter",
    "OpenRecord",
    "OpenState",
    "StoredEvent",
    "UnknownRecord",
    "decode_event",
    "decode_open",
    "encode_open",
    "encoding_mark",
    "id_order",
    "read_marks",
    "written_mark",
]

VERSION = 2
TRACE_CHARS = 5_000
OPEN_QUOTA = 10_000  # records that `open` of one (handler, lane) may hold
HURRIED_MS = 0  # as `due_ms`: an operator ended the wait
_KINDS: Mapping[str, type | tuple[type, ...]] = {
    "type": str, "key": (str, type(None)), "received": int, "due": (int, type(None)), "attempts": int,
    "crashes": int, "first": int, "key_id": str, "marks": list, "traceparent": str,
}  # fmt: skip
OpenState = Literal["running", "retry", "parked", "replay"]


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
        log: the last attempts, oldest first, as `with_note` keeps them.
        own_key: the handler's own key of the event, if any. It is for people; drains compute it again, since
            newer code may have other keys.
        failed_ms: when the first attempt that counted began; 0 if none did, and in records of older code.
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
    failed_ms: int = 0


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
        "marks": event.marks if at_us is None else (*event.marks, f"{OCCURRED}{at_us}"),
        "traceparent": event.traceparent,
        "replayed": record.replayed or record.state == "replay",
        "log": [kept_note(note) for note in record.log[-KEPT_ATTEMPTS:]],
    }
    if record.wait_ms is not None:
        head["wait"] = record.wait_ms  # older code reads records with names that it does not know
    if record.own_key is not None:
        head["own_key"] = record.own_key
    if record.failed_ms:
        head["failed"] = record.failed_ms
    if event.recent_calls:
        head["acts"] = event.recent_calls
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
        _check(head)
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
            recent_calls=calls_of(head.get("acts", ())),
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
            failed_ms=_time_or_zero(head.get("failed")),
        )
    except UnknownRecord:
        raise
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise UnknownRecord(f"open record of {stream_id!r} cannot be read") from error


def _check(head: Mapping[str, Any]) -> None:
    """Raise UnknownRecord for a value of a kind that no code of ours writes."""
    for name, kinds in _KINDS.items():
        if not isinstance(head[name], kinds):
            raise UnknownRecord(f"open record whose {name} is of another kind")
    times = (head["received"], head["first"], head["due"] or 0)
    if head["state"] not in get_args(OpenState) or not all(0 <= at < LAST_MS for at in times):
        raise UnknownRecord("open record with a state or a time that it cannot have")


def _text_or_none(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _time_or_zero(value: object) -> int:
    return value if type(value) is int and 0 <= value < LAST_MS else 0
