"""The form of ids and names in the log. A text from outside is checked against it before it reaches Redis."""

from __future__ import annotations

import re
from typing import Final

# Redis refuses numbers beyond 64 bits, and a range that ends before 0-0, which is the id of no entry.
STREAM_ID: Final = re.compile(r"(?!0+-0+\Z)[0-9]{1,19}-[0-9]{1,19}")
EVENT_ID: Final = re.compile(r"([0-9]{1,4})-([0-9]{1,13}-[0-9]{1,7})")
"""The lane, and the stream id in it. No event has a later time than 13 digits (2286). The history packs an id into 64
bits, and a text that does not fit must not reach it."""

LONGEST_MS: Final = 13  # digits of the time in an event's stream id
USUAL_ID: Final = 15  # characters of a stream id; no shorter one can have a longer time

HANDLER_NAME: Final = re.compile(r"[a-z0-9][a-z0-9.-]{0,63}")
"""The same pattern as in `handlers.declaration`, which imports nothing of this room."""


def id_order(stream_id: str) -> tuple[int, int]:
    """Return a stream id as numbers that compare in log order."""
    ms, _, seq = stream_id.partition("-")
    return int(ms), int(seq)


def end_before(ms: int) -> str:
    """Return the end of a range of stream ids that lie before a moment (Unix ms)."""
    return f"({max(1, ms)}-0"
