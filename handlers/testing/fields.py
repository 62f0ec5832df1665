"""Writes fields into the body of a notification, by the names that Python code reads them under."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import Enum
from typing import Any, get_args

from pydantic.alias_generators import to_camel

from ampeco.models.payload import VendorObject
from ampeco.nearest import did_you_mean


class _Absent:
    def __repr__(self) -> str:
        return "ABSENT"


ABSENT = _Absent()
"""As the value of a field: leave it out."""

Model = type[VendorObject] | None


def write(body: dict[str, Any], model: Model, fields: Mapping[str, Any], *, place: str = "") -> None:
    """Write fields into a body; an object is merged into the one that is there.

    Args:
        model: of the body; None where there is none, and then any name is taken as it is.
        fields: by name in Python or on the wire; a dotted name leads into an object.

    Raises:
        TypeError: the model has no such field.
    """
    for name, value in fields.items():
        first, _, rest = name.partition(".")
        wire, inner = _wire_name(body, model, first, place)
        if rest:
            value = {rest: value}
        if value is ABSENT:
            body.pop(wire, None)
        elif isinstance(value, Mapping):
            before = body.get(wire)
            made = dict(before) if isinstance(before, dict) else {}
            write(made, inner, value, place=f"{place}{wire}.")
            body[wire] = made
        else:
            body[wire] = plain(value)


def plain(value: Any) -> Any:
    """Return a value as JSON has it."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, Mapping):
        return {name: plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return value


def _wire_name(body: Mapping[str, Any], model: Model, name: str, place: str) -> tuple[str, Model]:
    if model is None:
        return name, None
    for attribute, field in model.model_fields.items():
        wire = field.alias or attribute
        if name in (attribute, wire):
            return wire, _inner(field.annotation)
    if name in body or to_camel(name) in body:
        return (name if name in body else to_camel(name)), None
    hint = did_you_mean(name, model.model_fields)
    raise TypeError(
        f"{model.__name__} has no field {place + name!r}{hint} (a newer field goes into extra={{...}})"
    )


def _inner(annotation: Any) -> Model:
    """Find the model of an object in an annotation such as `Session | None`."""
    if isinstance(annotation, type) and issubclass(annotation, VendorObject):
        return annotation
    return next((found for part in get_args(annotation) if (found := _inner(part))), None)
