"""Whether decoded JSON fits a model, found out without building it: that is more than half of what a model costs.

A checker is made of the model's own schema, with a plain dictionary in place of each object, without the fields that
nobody named, and without the readers that take anything. So it accepts what the model accepts; knows no payload.
"""

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import SchemaValidator

from ampeco.models.fields import read_id, read_time

_TAKE_ANYTHING = (read_id, read_time)
_SEES_THE_MODEL = ("function-after", "function-wrap")


def checker(model: type[BaseModel]) -> Callable[[Mapping[str, Any]], bool]:
    """A function that tells whether `model.model_validate` would take a value."""
    model.model_rebuild()
    try:
        validator = SchemaValidator(_without_objects(model.__pydantic_core_schema__))
    except _Needed:
        validate: Callable[[Mapping[str, Any]], object] = model.model_validate
    else:
        validate = validator.validate_python

    def fits(data: Mapping[str, Any]) -> bool:
        try:
            validate(data)
        except ValidationError:
            return False
        return True

    return fits


class _Needed(Exception):
    """Something in the schema wants to see the model itself."""


def _without_objects(schema: Any) -> Any:
    if isinstance(schema, list | tuple):
        return type(schema)(_without_objects(part) for part in schema)
    if not isinstance(schema, dict):
        return schema
    kind = schema.get("type")
    if kind in _SEES_THE_MODEL:
        raise _Needed
    if kind == "model":
        return _dictionary(schema)
    if kind == "function-plain" and schema["function"]["function"] in _TAKE_ANYTHING:
        return {"type": "any"}
    return {
        name: _without_objects(part)
        for name, part in schema.items()
        if name not in ("metadata", "serialization")
    }


def _dictionary(model: dict[str, Any]) -> dict[str, Any]:
    if model.get("root_model") or model.get("custom_init") or model.get("post_init"):
        raise _Needed
    made = _of_fields(model["schema"], model.get("config", {}))
    return {**made, "ref": model["ref"]} if "ref" in model else made


def _of_fields(schema: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    if schema["type"] == "function-before":
        return {
            "type": schema["type"],
            "function": schema["function"],
            "schema": _of_fields(schema["schema"], config),
        }
    if schema["type"] != "model-fields":
        raise _Needed
    return {
        "type": "typed-dict",
        "fields": {name: _field(field) for name, field in schema["fields"].items()},
        "extra_behavior": "ignore",
        "config": {**config, "extra_fields_behavior": "ignore"},
    }


def _field(field: dict[str, Any]) -> dict[str, Any]:
    schema = field["schema"]
    made = {
        "type": "typed-dict-field",
        "schema": _without_objects(schema),
        "required": schema["type"] != "default",
    }
    if "validation_alias" in field:
        made["validation_alias"] = field["validation_alias"]
    return made
