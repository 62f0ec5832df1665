"""Values from Redis that another client may have written: read as what they should be, or as nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

from eventlog.ids import LONGEST_MS, id_order

_T = TypeVar("_T")
_MOST_DIGITS = 18  # beyond them Redis has no integers
_LATEST_MS = 10**LONGEST_MS - 1


def whole(raw: bytes | str | None) -> int | None:
    """Return a number; None for what is none."""
    if raw is None or len(raw) > _MOST_DIGITS:
        return None
    try:
        return int(raw)
    except ValueError:
        return None


def arrived_ms(received: bytes | str, stream_id: str) -> int:
    """Return when an entry of a stream arrived, in Unix ms: as it says, or by its id where it says no time."""
    at_ms = whole(received) or 0
    return at_ms if 0 < at_ms <= _LATEST_MS else min(id_order(stream_id)[0], _LATEST_MS)


def object_of(raw: bytes | str | None) -> dict[str, Any]:
    """Return an object of JSON; an empty one for what is none."""
    try:
        found = json.loads(raw) if raw else None
    except (RecursionError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def readable(read: Callable[..., _T], *stored: Any) -> _T | None:
    """Return what `read` makes of stored values; None when they are nothing that it can read."""
    try:
        return read(*stored)
    except (AttributeError, IndexError, KeyError, OverflowError, RecursionError, TypeError, ValueError):
        return None
