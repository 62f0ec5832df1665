"""Writes observed shapes as JSON Schema (draft 2020-12): kinds and fields, no values but the types."""

from collections.abc import Mapping
from typing import Any, Final

from ampeco.observed_shape import KINDS, MAP, Shape

DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
_TYPE_FIELD: Final = "notification"


def schema_of_all(shapes: Mapping[str, Shape]) -> dict[str, Any]:
    """Return a schema of bodies that have one of these shapes.

    Args:
        shapes: notification type -> what was seen of it.
    """
    schemas = [_schema_of_type(name, shape) for name, shape in sorted(shapes.items())]
    if len(schemas) == 1:
        return {"$schema": DRAFT, **schemas[0]}
    return {"$schema": DRAFT, **({"anyOf": schemas} if schemas else {})}


def _schema_of_type(name: str, shape: Shape) -> dict[str, Any]:
    schema = {"title": name, "description": f"{shape.samples} samples", **_schema(shape, "")}
    if _TYPE_FIELD in schema.get("properties", {}):
        schema["properties"][_TYPE_FIELD] = {"const": name}
    return schema


def _schema(shape: Shape, path: str) -> dict[str, Any]:
    place = shape.paths.get(path)
    if place is None:
        return {}
    kinds = [
        kind for kind in KINDS if place.kinds[kind] and not (kind == "integer" and place.kinds["number"])
    ]
    schema: dict[str, Any] = {"type": kinds[0] if len(kinds) == 1 else kinds} if kinds else {}
    fields = dict(shape.children(path))
    names = [(each, name) for each, name in fields.items() if name != MAP]
    if names:
        schema["properties"] = {name: _schema(shape, each) for each, name in names}
    if required := [name for each, name in names if not shape.is_optional(each)]:
        schema["required"] = required
    if MAP in fields.values():
        schema["additionalProperties"] = _schema(shape, f"{path}.{MAP}" if path else MAP)
    if place.kinds["array"] and f"{path}[]" in shape.paths:
        schema["items"] = _schema(shape, f"{path}[]")
    return schema
