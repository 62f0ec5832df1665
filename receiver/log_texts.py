"""Texts in log lines: short and valid in every line, and escaped where a terminal shows them.

Senders, authors of handlers, the tenant and libraries write parts of them.
"""

from __future__ import annotations

import json
from itertools import islice
from typing import Any

from structlog.typing import EventDict, WrappedLogger

from eventlog.text import CUT, REASON_CHARS, bounded, printable

_LIST_CHARS = 10_000
_TRACE_CHARS = 10_000  # of a field with one line per place in the code
_TRACES = frozenset(("exception", "stack", "where"))
_NAME_CHARS = 100
_MOST_FIELDS = 100
_COLUMNS = (
    "timestamp",
    "level",
    "event",
    "logger",
)  # of every line; a terminal shows them without their names
_PLAIN = (int, float, type(None))


def bound_fields(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Bound names, values and number of the fields of a line."""
    fields = {
        name if len(name) <= _NAME_CHARS else bounded(name, _NAME_CHARS): _bounded(name, value)
        for name, value in event.items()
    }
    if len(fields) <= _MOST_FIELDS:
        return fields
    kept = dict(islice(fields.items(), _MOST_FIELDS))
    kept |= {name: fields[name] for name in (*_COLUMNS, *_TRACES) if name in fields}
    return {**kept, "fields_left_out": len(fields) - len(kept)}


def for_terminal(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Escape what is not visible in a line for a terminal. A traceback is indented: it forges no line."""
    return {printable(name): _shown(name, value) for name, value in event.items()}


def _bounded(name: str, value: object) -> Any:
    if isinstance(value, _PLAIN) or (type(value) is str and len(value) <= REASON_CHARS and value.isascii()):
        return value
    if isinstance(value, str):
        return _without_middle(value) if name in _TRACES else bounded(value)
    if not isinstance(value, (dict, list, tuple, set, frozenset)):
        return bounded(text_of(value))
    try:
        text = json.dumps(value, default=text_of)
    except (TypeError, ValueError, RecursionError):
        return bounded(text_of(value))
    return value if len(text) <= _LIST_CHARS else bounded(text, _LIST_CHARS)


def _without_middle(trace: str) -> str:
    """The first lines of a trace say where it began, and the last ones what happened."""
    if len(trace) > _TRACE_CHARS:
        trace = f"{trace[: _TRACE_CHARS - REASON_CHARS]}\n{CUT}\n{trace[-REASON_CHARS:]}"
    return bounded(trace, 2 * _TRACE_CHARS)


def text_of(value: object) -> str:
    """Return the text of a value that JSON does not have."""
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - an author's object must not end the line that names it
        return f"<{type(value).__name__}>"


def _shown(name: str, value: object) -> object:
    if name in ("exception", "stack") and isinstance(value, str):
        return "\n".join(f"    {printable(line)}" for line in value.split("\n"))
    if name in _COLUMNS:
        return printable(str(value))
    return _Shown(value)


class _Shown:
    """A value whose `repr` is what the terminal shows: of a text without blanks, no quotes."""

    def __init__(self, value: object) -> None:
        self._value = value

    def __repr__(self) -> str:
        value = self._value
        if not isinstance(value, str):
            return printable(repr(value))
        text = printable(value)
        if any(char in " ='\"" for char in text):
            escaped = text.replace("'", "\\'")
            return f"'{escaped}'"
        return text
