"""How an event is shown, body aside, and what a body is like without what is in it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from workers.eventlog.duplicates import repeat_reason
from workers.eventlog.moments import rfc3339

if TYPE_CHECKING:
    from workers.eventlog.duplicates import RepeatReason
    from workers.eventlog.record import StoredEvent

REPEAT_WORDS: Mapping[RepeatReason, str] = {
    "no-own-time": "an equal body came before, and no time in it tells the two apart",
    "not-last": "an equal body came before, and it was not the last one accepted of its type and entity",
    "appended-again": "Redis lost the event, and the receiver appended it again",
    "unknown": "an equal body came before",
}


def row(event: StoredEvent) -> dict[str, Any]:
    """As other programs read it."""
    return {
        "id": event.event_id,
        "type": event.type,
        "key": event.key,
        "received_at": rfc3339(event.received_at_ms),
        "bytes": len(event.body),
        "marks": list(event.marks),
        "maybe_repeat": repeat_reason(event.marks),
        "key_id": event.key_id or None,
    }


def cells(event: StoredEvent) -> tuple[object, ...]:
    """As a line of a table."""
    shown = row(event)
    return (
        shown["id"],
        shown["received_at"],
        shown["type"],
        shown["key"],
        shown["bytes"],
        ",".join(event.marks),
    )


def shape(body: bytes) -> dict[str, str]:
    """Path of each field -> kind of its value; nothing of the values. Empty for what is no JSON."""
    try:
        return dict(_shape(json.loads(body), ""))
    except (ValueError, RecursionError):
        return {}


def _shape(value: Any, path: str) -> Iterator[tuple[str, str]]:
    match value:
        case dict() if value:
            for name, inner in value.items():
                yield from _shape(inner, f"{path}.{name}" if path else name)
        case list() if value:
            for inner in value:
                yield from _shape(inner, f"{path}[]")
        case _:
            yield path or ".", _kind(value)


def _kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "text"
        case dict():
            return "object"
        case _:
            return "list"
