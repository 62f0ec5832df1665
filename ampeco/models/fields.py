"""How single values of AMPECO's JSON are read: ids as text, times as aware UTC; knows no payload.

AMPECO writes the same id as a number in one object and as text in another, and promises only "ISO 8601 by
convention" for times, so both are read liberally here and nowhere else.

Source: the specification's schemas at v3.96.4 (mixed id types: confirmed; ISO 8601: convention, not stated).
"""

from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated

from pydantic import PlainSerializer, PlainValidator

_DATE_CHARS = len("2026-11-24")
_TIME_MAX_CHARS = 64
_EXACT_FLOAT = 2**53


def read_id(value: object) -> str | None:
    """An id as text: non-empty text, an integer, or a float that is exactly one. Anything else is no id."""
    if type(value) is str:
        return value or None
    if type(value) is int:
        return str(value)
    if type(value) is float and value.is_integer() and abs(value) < _EXACT_FLOAT:
        return str(int(value))
    return None


def read_time(value: object) -> datetime | None:
    """A moment as aware UTC; without an offset it counts as UTC. None when it cannot be read as one.

    A bare date is not a moment: it says too little to tell two events apart.
    """
    if type(value) is str:
        return _read_text(value) if _DATE_CHARS < len(value) < _TIME_MAX_CHARS else None
    return _as_utc(value) if isinstance(value, datetime) else None  # built in Python, not read from bytes


@lru_cache(512)  # the readings of one sample share their time, and it is read for the event as well
def _read_text(text: str) -> datetime | None:
    try:
        return _as_utc(datetime.fromisoformat(text))
    except ValueError:
        return None


def _as_utc(moment: datetime) -> datetime | None:
    if moment.tzinfo is UTC:
        return moment
    try:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:
        return None


def _required_id(value: object) -> str:
    read = read_id(value)
    if read is None:
        raise ValueError("an id is needed here: text or a whole number")
    return read


def _written_time(value: object) -> object:
    return value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else value


Id = Annotated[str, PlainValidator(_required_id)]
OptionalId = Annotated[str | None, PlainValidator(read_id)]
Time = Annotated[
    datetime | None,
    PlainValidator(read_time),
    PlainSerializer(
        _written_time, when_used="json"
    ),  # what a plain validator brings along warns of the text it made
]
