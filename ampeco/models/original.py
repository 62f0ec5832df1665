"""Finds in the bytes what AMPECO sent for a field; knows no values, only where they are.

Handlers seldom ask, so nothing of it is kept with a payload but its bytes.
"""

import json
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from ampeco.models.frozen import freeze


def unwrapped(document: dict[str, Any]) -> dict[str, Any]:
    """A notification without a `data` wrapper around it."""
    if type(document.get("notification")) is not str:
        inner = document.get("data")
        if type(inner) is dict and type(inner.get("notification")) is str:
            return inner
    return document


def find(model: type[BaseModel], body: bytes, path: str, *, exact: bool = False) -> Any:
    """The value at a dotted path of a payload, read-only; None where there is none.

    Args:
        path: names of attributes, or AMPECO's own; numbers are places in arrays.
        exact: fractions as `Decimal`; one that is too large for that is infinite.
    """
    here = arranged(model, unwrapped(json.loads(body, parse_float=_fraction if exact else float)))
    of: type[BaseModel] | None = model
    for step in path.split("."):
        if isinstance(here, list):
            here = here[int(step)] if step.isdecimal() and int(step) < len(here) else None
            continue
        if not isinstance(here, dict):
            return None
        name, field = _field(of, step)
        spellings = (wire_name(name, field), name) if field is not None else (step,)
        here = next((here[spelling] for spelling in spellings if spelling in here), None)
        of = None if field is None else model_in(field.annotation)
    return freeze(here)


def _fraction(text: str) -> Decimal | float:
    try:
        return Decimal(text)
    except InvalidOperation:  # an exponent of twenty digits
        return float(text)


def arranged(model: type[BaseModel], data: dict[str, Any]) -> Any:
    """The data as the model's own validators bring it together before any field is read."""
    found: Any = data
    for decorator in model.__pydantic_decorators__.model_validators.values():
        if decorator.info.mode == "before":
            found = decorator.func(found)
    return found


def wire_name(name: str, field: FieldInfo) -> str:
    """How AMPECO spells a field."""
    return field.alias or name


def model_in(annotation: Any) -> type[BaseModel] | None:
    """The model of an object, of an optional one, or of the elements of an array; None where there is none."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    models = [found for found in map(model_in, get_args(annotation)) if found is not None]
    return models[0] if len(models) == 1 else None


def _field(model: type[BaseModel] | None, step: str) -> tuple[str, FieldInfo | None]:
    fields: Mapping[str, FieldInfo] = {} if model is None else model.model_fields
    if step in fields:
        return step, fields[step]
    return next(((name, field) for name, field in fields.items() if field.alias == step), (step, None))
