"""The marks of an event, as they are stored: how its body is encoded, the payload's own time, and single words.

Older code, and the append script, copy marks that they do not know.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from eventlog.errors import UnknownRecord

RECONSTRUCTED: Final = "reconstructed"
NO_TIME: Final = 0  # as `occurred_at_us`: the payload states no time of its own
OCCURRED: Final = "at="  # the mark that carries the time
_ENCODING = "encoding="  # the mark that says how the body is encoded; plain bodies have none
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def encoding_mark(encoding: str) -> str:
    """Return the mark that says how a body is encoded. Older code keeps it, and cannot read the body."""
    return f"{_ENCODING}{encoding}"


def encoding_among(marks: Sequence[str]) -> str:
    """Return the encoding that one of the marks names; empty when none does."""
    return next((mark[len(_ENCODING) :] for mark in marks if mark.startswith(_ENCODING)), "")


def written_mark(mark: str, occurred_at: datetime | None) -> str:
    """Add the payload's own time to a mark, as the endpoint writes both.

    Args:
        occurred_at: aware; None where the payload states no time.
    """
    at_us = NO_TIME if occurred_at is None else (occurred_at - _EPOCH) // _MICROSECOND
    return f"{mark},{OCCURRED}{at_us}" if mark else f"{OCCURRED}{at_us}"


def read_marks(written: Sequence[str]) -> tuple[tuple[str, ...], int | None]:
    """Part the marks as they are stored from the time among them; the inverse of `written_mark`.

    Raises:
        UnknownRecord: the time is not a number.
    """
    marks, at_us = [], None
    for mark in written:
        if mark.startswith(OCCURRED):
            try:
                at_us = int(mark[len(OCCURRED) :])
                time_of(at_us)
            except (OverflowError, ValueError):
                raise UnknownRecord(f"event record with the time {mark!r}") from None
        else:
            marks.append(mark)
    return tuple(marks), at_us


def time_of(at_us: int | None) -> datetime | None:
    """Return a stored time as aware UTC; None where none is stored."""
    return _EPOCH + at_us * _MICROSECOND if at_us else None
