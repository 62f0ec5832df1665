"""Reads single values of AMPECO's JSON; knows no payload.

AMPECO writes the same id as a number in one object and as text in another, and promises only "ISO 8601 by convention"
for times. So both are read liberally here, and nowhere else. What could be misread is refused: `true` is
not 1.0, `"1_0"` is not 10.0, `"12,5"` and `""` are not numbers. A value that is refused is a misfit of its field.

Source: published contract v3.110.0 (mixed id types, number formats); "ISO 8601" is its convention for times.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from re import compile as pattern
from typing import Annotated, Any, Literal

from pydantic import GetCoreSchemaHandler, PlainSerializer, PlainValidator
from pydantic_core import CoreSchema, core_schema

from ampeco.models.frozen import FreeObject, freeze

__all__ = [
    "Anything",
    "Flag",
    "FreeObject",
    "Id",
    "Number",
    "OptionalId",
    "RequiredTime",
    "Text",
    "Time",
    "Whole",
    "read_exact",
    "read_id",
    "read_time",
]

_DATE_CHARS = len("2026-11-24")
_TIME_MAX_CHARS = 64
_EXACT_FLOAT = 2**53
_NO_ID = 2**63 - 1
_NO_ID_TEXT = str(_NO_ID)
_DECIMAL = r"^-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?$"
_INTEGER = r"^-?[0-9]+$"
_DECIMAL_TEXT = pattern(_DECIMAL[:-1] + r"\Z")


def read_id(value: object) -> str | None:
    """An id as text: non-empty text, an integer, or a float that is exactly one. Anything else is not an id.

    0, negative numbers and 2^63-1 mean "none", as numbers and as text.
    """
    if type(value) is str:
        if value > "0":  # neither empty nor "0", and no minus in front
            return None if value == _NO_ID_TEXT else value
        negative = value[:1] == "-" and value[1:].isdecimal()
        return None if negative or value in ("", "0") else value
    if type(value) is int:
        return str(value) if 0 < value != _NO_ID else None
    if type(value) is float and value.is_integer() and 0 < value < _EXACT_FLOAT:
        return str(int(value))
    return None


def read_time(value: object) -> datetime | None:
    """A moment as aware UTC; without an offset it counts as UTC. None when it cannot be read as one.

    A bare date is not a moment: it is too coarse to distinguish two events.
    """
    if type(value) is str:
        return _read_text(value) if _DATE_CHARS < len(value) < _TIME_MAX_CHARS else None
    return _as_utc(value) if isinstance(value, datetime) else None  # built in Python, not read from bytes


def read_exact(value: object) -> Decimal | None:
    """A number with all its digits: a whole number, a `Decimal`, or plain decimal text. None for anything else."""
    if type(value) is str:
        return Decimal(value) if _DECIMAL_TEXT.match(value) else None
    return Decimal(value) if type(value) in (int, Decimal) else None  # type: ignore[arg-type]


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
    if type(value) is int and 0 < value < _NO_ID:  # the usual case, without another call
        return str(value)
    read = read_id(value)
    if read is None:
        raise ValueError("an id is needed here: text or a whole number")
    return read


def _optional_id(value: object) -> str | None:
    if value is None:
        return None
    if type(value) is int and 0 < value < _NO_ID:  # the usual case, without another call
        return str(value)
    read = read_id(value)
    if read is None and type(value) not in (str, int) and not (type(value) is float and value.is_integer()):
        raise ValueError("an id is text or a whole number")
    return read


def _required_time(value: object) -> datetime:
    read = read_time(value)
    if read is None:
        raise ValueError("a time is needed here, ISO 8601")
    return read


def _optional_time(value: object) -> datetime | None:
    if (
        type(value) is str and _DATE_CHARS < len(value) < _TIME_MAX_CHARS
    ):  # the usual case, with one call less
        read = _read_text(value)
        if read is not None:
            return read
    return None if value is None else _required_time(value)


def _written_time(value: object) -> object:
    return value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else value


@dataclass(frozen=True, eq=False)
class _Read:
    """Reads a field by a schema of pydantic's core, which costs no call of Python for what is usual."""

    schema: CoreSchema

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return self.schema


def _first_of(kind: Literal["bool", "float", "int", "str"], *schemas: CoreSchema) -> _Read:
    return _Read(
        core_schema.union_schema(
            list(schemas), mode="left_to_right", serialization=core_schema.simple_ser_schema(kind)
        )
    )


def _text_like(regex: str) -> CoreSchema:
    return core_schema.str_schema(strict=True, pattern=regex)


_int = core_schema.int_schema(strict=True)
_finite = core_schema.float_schema(strict=True, allow_inf_nan=False)
_as_text = core_schema.str_schema(coerce_numbers_to_str=True)

Id = Annotated[str, PlainValidator(_required_id)]
"""An id that must be there, as text."""
OptionalId = Annotated[str | None, PlainValidator(_optional_id)]
"""An id as text; None where there is none, also where the value means none (`read_id`)."""
# Without a serializer of its own, what a plain validator brings along warns of the text it made.
RequiredTime = Annotated[
    datetime, PlainValidator(_required_time), PlainSerializer(_written_time, when_used="json")
]
"""A moment that must be there, aware UTC."""
Time = Annotated[
    datetime | None, PlainValidator(_optional_time), PlainSerializer(_written_time, when_used="json")
]
"""A moment, aware UTC, or None."""
Number = Annotated[
    float,
    _first_of(
        "float",
        _finite,
        core_schema.chain_schema([_text_like(_DECIMAL), core_schema.float_schema(allow_inf_nan=False)]),
    ),
]
"""A finite number: a JSON number or plain decimal text such as `"12.5"`."""
Whole = Annotated[
    int,
    _first_of(
        "int",
        _int,
        core_schema.chain_schema([_finite, core_schema.int_schema()]),
        core_schema.chain_schema([_text_like(_INTEGER), core_schema.int_schema()]),
    ),
]
"""A whole number: JSON `5` or `5.0`, or its digits as text."""
Flag = Annotated[
    bool,
    _first_of(
        "bool",
        core_schema.bool_schema(strict=True),
        core_schema.chain_schema(
            [core_schema.literal_schema([0, 1, "0", "1", "false", "true"]), core_schema.bool_schema()]
        ),
    ),
]
"""`true` or `false`; also 0 and 1, and these words as text. Empty text is neither."""
Text = Annotated[
    str,
    _first_of(
        "str",
        core_schema.str_schema(strict=True),
        core_schema.chain_schema([_int, _as_text]),
        core_schema.chain_schema([_finite, _as_text]),
    ),
]
"""Text; a finite number counts as its digits."""
Anything = Annotated[Any, PlainValidator(freeze)]
"""Any JSON value, read-only to the bottom."""
