"""Writes an OpenAPI 3.0 schema in the notation of `contract.json`, which `ampeco.contract.shapes` describes."""

from collections.abc import Mapping
from typing import Any

from ampeco.contract.shapes import GROUPS, LIMITS, Shape, field_name, schema_of

__all__ = ["Shape", "field_name", "schema_of", "shape_of"]

_MARKS = {"readOnly": "ro", "writeOnly": "wo", "deprecated": "old"}


def shape_of(schema: Mapping[str, Any] | None) -> Shape:
    """Write an OpenAPI 3.0 schema as a shape; words meant for people are left out."""
    if schema is None:
        return None
    for group, short in GROUPS.items():
        if group in schema:
            parts = [shape_of(part) for part in schema[group]]
            own = shape_of({name: value for name, value in schema.items() if name not in (group, "nullable")})
            grouped: dict[str, Shape] = {short: [*parts, *([] if own == "any" else [own])]}
            return grouped | {"null": True} if schema.get("nullable") else grouped
    nullable = bool(schema.get("nullable"))
    kind = schema.get("type")
    if kind == "object" or "properties" in schema or (kind is None and "required" in schema):
        return _object(schema, nullable=nullable)
    if kind == "array":
        items: Shape = [shape_of(schema.get("items") or {})]
        return {"array": items[0], "null": True} if nullable else items
    text = f"{kind or 'any'}{':' + schema['format'] if 'format' in schema else ''}{'?' if nullable else ''}"
    limits = {short: schema[name] for name, short in LIMITS.items() if name in schema}
    if any(str(value).endswith(".") for value in limits.get("enum", ())):
        del limits["enum"]  # sentences of an error message, not names
    return {"is": text, **limits} if limits else text


def _object(schema: Mapping[str, Any], *, nullable: bool) -> Shape:
    required = schema.get("required") or ()
    fields = {}
    for name, field in (schema.get("properties") or {}).items():
        marks = ["*"] if name in required else []
        marks += [mark for word, mark in _MARKS.items() if _is_marked(field, word)]
        fields[" ".join([name, *marks])] = shape_of(field)
    shape: dict[str, Shape] = {"fields": fields}
    # Some `allOf` parts require fields that another part describes.
    unnamed = [name for name in required if name not in (schema.get("properties") or {})]
    if unnamed:
        shape["also_required"] = unnamed
    rest = schema.get("additionalProperties")
    if isinstance(rest, Mapping):
        shape["rest"] = shape_of(rest)
    elif rest is False:
        shape["rest"] = False
    if nullable:
        shape["null"] = True
    return shape


def _is_marked(schema: Mapping[str, Any], word: str) -> bool:
    return bool(schema.get(word)) or any(_is_marked(part, word) for part in schema.get("allOf", ()))
