"""Checks a value against a JSON Schema from the contract and says what is wrong, place by place.

It knows the words of JSON Schema that the contract uses, and nothing of what is checked.
"""

import re
from collections.abc import Iterator
from datetime import date, datetime
from typing import Any, NamedTuple

from ampeco.contract.merging import Schema, types

_TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "number": (int, float),
    "boolean": bool,
    "array": list,
    "object": dict,
    "null": type(None),
}


class Fault(NamedTuple):
    """One fault of a value.

    Attributes:
        place: names and positions with dots between; empty for the value itself.
        says: completes a sentence that begins with the field, e.g. `is required`.
    """

    place: str
    says: str


def fits(schema: Schema, value: Any, *, strict: bool = False) -> bool:
    """Return whether a value fits the schema.

    Args:
        strict: a value that fits several alternatives of a `oneOf` does not fit. Some alternatives of the
            contract overlap, so strictness would refuse everything there.
    """
    return next(faults(schema, value, strict=strict), None) is None


def faults(schema: Schema, value: Any, place: str = "", *, strict: bool = False) -> Iterator[Fault]:
    """Yield everything that is wrong with a value.

    Args:
        schema: without `allOf`, see `merging`.
        place: where the value stands.
        strict: as in `fits`.
    """
    allowed = types(schema)
    if allowed and not any(_is(value, name) for name in allowed):
        yield Fault(place, f"must be {' or '.join(map(_named, allowed))}")
        return
    if "enum" in schema and value not in schema["enum"]:
        yield Fault(place, f"must be one of {', '.join(map(str, schema['enum']))}")
    match value:
        case dict():
            yield from _members(schema, value, place, strict)
        case list() if "items" in schema:
            for at, element in enumerate(value):
                yield from faults(schema["items"], element, _below(place, at), strict=strict)
        case str():
            yield from _text(schema, value, place)
        case int() | float() if not isinstance(value, bool):
            if value < schema.get("minimum", value):
                yield Fault(place, f"must be at least {schema['minimum']}")
            if value > schema.get("maximum", value):
                yield Fault(place, f"must be at most {schema['maximum']}")
    yield from _alternatives(schema, value, place, strict)


def _members(schema: Schema, value: dict[str, Any], place: str, strict: bool) -> Iterator[Fault]:
    known = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in value:
            yield Fault(_below(place, name), "is required")
    others = schema.get("additionalProperties")
    for name, member in value.items():
        if name in known:
            yield from faults(known[name], member, _below(place, name), strict=strict)
        elif others is False:
            yield Fault(_below(place, name), "is unknown")
        elif others:
            yield from faults(others, member, _below(place, name), strict=strict)


def _text(schema: Schema, value: str, place: str) -> Iterator[Fault]:
    if len(value) < schema.get("minLength", 0):
        yield Fault(place, f"must have at least {schema['minLength']} characters")
    if len(value) > schema.get("maxLength", len(value)):
        yield Fault(place, f"must have at most {schema['maxLength']} characters")
    if "pattern" in schema and not re.search(schema["pattern"], value):
        yield Fault(place, "has a wrong form")
    form = schema.get("format")
    if (form in {"date-time", "date"} and not _is_time(value, form)) or (
        form == "email" and "@" not in value
    ):
        yield Fault(place, f"must be {_named(form)}")


def _alternatives(schema: Schema, value: Any, place: str, strict: bool) -> Iterator[Fault]:
    for word in ("anyOf", "oneOf"):
        if word not in schema:
            continue
        found = [list(faults(part, value, place, strict=strict)) for part in schema[word]]
        fitting = found.count([])
        if not fitting:
            yield from min(found, key=len)
        elif strict and word == "oneOf" and fitting > 1:
            yield Fault(place, f"fits {fitting} alternatives of which one is meant")


def _is(value: Any, name: str) -> bool:
    if isinstance(value, bool):
        return name == "boolean"
    if name == "integer":
        return isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    return isinstance(value, _TYPES[name])


def _is_time(value: str, form: str) -> bool:
    try:
        if form == "date":
            date.fromisoformat(value)
            return True
        return datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


def _below(place: str, name: str | int) -> str:
    return f"{place}.{name}" if place else str(name)


def _named(word: str) -> str:
    return "null" if word == "null" else f"{'an' if word[0] in 'aeio' else 'a'} {word}"
