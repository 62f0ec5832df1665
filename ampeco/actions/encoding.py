"""Encode arguments as the JSON of a body, by the fields of an operation; refuse what must be a mistake.

It accepts both spellings of ids (a number or the text of one) and of moments (aware, or text that is sent as it is).
AMPECO checks values and lengths itself. Members that no field names are sent as they are.

Source: ISO 8601 is AMPECO's convention for times; `Y-m-d H:i:s` where the request bodies at v3.110.0 say so. Its time
zone is not publicly documented; UTC is sent.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

from ampeco.actions.unset import UNSET
from ampeco.operations import Field, Format

_SECOND = timedelta(seconds=1)


def encode(fields: Iterable[Field], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the members of a body that were given.

    Args:
        fields: what is known of the body.
        given: values by AMPECO's names; `UNSET` ones are left out.

    Raises:
        ValueError: null where AMPECO takes none, text where a list belongs, or a moment without time zone.
    """
    known = {field.name: field for field in fields}
    return {
        name: _value(known[name], value) if name in known else value
        for name, value in given.items()
        if value is not UNSET
    }


def moment(value: datetime, written: Format = "date-time") -> str:
    """Write a moment in UTC, in the format that AMPECO expects.

    Raises:
        ValueError: it has no time zone.
    """
    if value.tzinfo is None:
        raise ValueError("a moment needs a time zone")
    value = value.astimezone(UTC)
    match written:
        case "date":
            return value.date().isoformat()
        case "local-date-time":
            return value.strftime("%Y-%m-%d %H:%M:%S")
        case "date-time-down":
            value = value.replace(microsecond=0)
        case "date-time-up" if value.microsecond:
            value = value.replace(microsecond=0) + _SECOND
    precision = "milliseconds" if value.microsecond else "seconds"
    return value.replace(tzinfo=None).isoformat(timespec=precision) + "Z"


def _value(field: Field, value: Any) -> Any:
    if value is None:
        if not field.nullable:
            raise ValueError(f"{field.name} cannot be null: leave it out instead")
        return None
    if field.type == "array":
        if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
            raise ValueError(f"{field.name} must be a list")
        return [_one(field, field.items, item) for item in value]
    return _one(field, field.type, value)


def _one(field: Field, kind: str, value: Any) -> Any:
    match value:
        case datetime():
            return moment(value, field.format or "date-time")
        case date() if field.format == "date":
            return value.isoformat()
        case Mapping():
            return encode(field.fields, value)
        case str() if kind in ("integer", "number") and value.isascii() and value.isdigit():
            return int(value)
        case int() if kind == "string" and not isinstance(value, bool):
            return str(value)
    return value
