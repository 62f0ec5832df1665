"""Names of the keys by which the append script recognizes duplicates, and the reasons that it gives."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Final, Literal, TypeAlias, cast, get_args

MARK: Final = "maybe_repeat"
TWO_SINCE: Final = "two_since"
"""Field of the `subscription` hash: since when two subscriptions of ours exist, in Unix ms."""

DuplicateReason: TypeAlias = Literal["equal-body", "other-key", "appended-before"]
"""Why a notification was dropped.

`equal-body`: it was accepted already, and nothing else of its type and entity since. `other-key`: the copy that was
signed with the other key is in the log. `appended-before`: our own append of the same event had succeeded.
"""

RepeatReason: TypeAlias = Literal["no-own-time", "not-last", "appended-again", "unknown"]
"""Why an event is marked as a possible repetition.

`no-own-time`: an equal body came before, and no time in it tells the two apart. `not-last`: an equal body came
before, and it was not the last one accepted of its type and entity. `appended-again`: Redis lost the event, and the
receiver appended it again. `unknown`: an earlier version accepted it.
"""

_REASONS: Final = frozenset(get_args(RepeatReason))


def hash_of_entity(type: str, key: str | None) -> bytes:
    """Return an eight-byte hash of a type and an entity; empty for an event without an entity."""
    if key is None:
        return b""
    return hashlib.blake2b(f"{type}\0{key}".encode(), digest_size=8).digest()


def repeat_reason(marks: Sequence[str]) -> RepeatReason | None:
    """Return why an event with these marks may be a repetition; None when it is not marked so."""
    if MARK not in marks:
        return None
    return next((cast("RepeatReason", mark) for mark in marks if mark in _REASONS), "unknown")


def window_parts(duplicate_hours: int, two_since: str | None, now_ms: int) -> list[list[str]]:
    """Return the names (without the prefix) of the keys of the duplicate window, by part, the newest first.

    Args:
        duplicate_hours: length of the window.
        two_since: as in the `subscription` hash; None while there is one subscription.
    """
    part_hours = max(1, math.ceil(duplicate_hours / 6))
    newest = now_ms // 3_600_000 // part_hours
    hours = [(newest - back) * part_hours for back in range(math.ceil(duplicate_hours / part_hours) + 1)]
    names = ["seen", "last", *([f"copies:{two_since}"] if two_since else [])]
    return [[f"{name}:{hour}" for name in names] for hour in hours]


def own_keys(now_ms: int) -> list[str]:
    """Return the names (without the prefix) of the keys that hold our own nonces."""
    newest = now_ms // 240_000
    return [f"own:{newest}", f"own:{newest - 1}"]
