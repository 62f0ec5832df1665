"""The notation of `contract.json`: writes a JSON Schema as a shape, and reads a shape as a JSON Schema.

A shape is one of:

- text: a type, then `:format` and `?` for nullable where they apply, e.g. `string:date-time?`, `integer`, `any`;
- text `@7`: the shape of that name in the table `shared`;
- a list of one shape: an array of it; one that may be null is an object with `array` and `null`;
- an object with `fields`: name -> shape. After the name, separated by a space: `*` required, `ro` only in
  answers, `wo` only in requests, `old` deprecated. `rest` is the shape of other fields, `also_required` names
  fields that another part of a group describes, `null` is true for nullable;
- an object with `all`, `any` or `one`: a list of shapes, as `allOf`, `anyOf` and `oneOf` mean it, and `null`;
- an object with `is` (a type as above) and limits: `enum`, `min`, `max`, `min_length`, `max_length`, `pattern`.
"""

from collections.abc import Mapping
from typing import Any

Shape = Any
"""Text, a list or an object in the notation above."""

_GROUPS = {"allOf": "all", "anyOf": "any", "oneOf": "one"}
_LIMITS = {
    "enum": "enum",
    "minimum": "min",
    "maximum": "max",
    "minLength": "min_length",
    "maxLength": "max_length",
    "pattern": "pattern",
}
_MARKS = {"readOnly": "ro", "writeOnly": "wo", "deprecated": "old"}


def shape_of(schema: Mapping[str, Any] | None) -> Shape:
    """Write an OpenAPI 3.0 schema as a shape; words meant for people are left out."""
    if schema is None:
        return None
    for group, short in _GROUPS.items():
        if group in schema:
            parts = [shape_of(part) for part in schema[group]]
            own = shape_of({name: value for name, value in schema.items() if name not in (group, "nullable")})
            grouped: dict[str, Shape] = {short: [*parts, *([] if own == "any" else [own])]}
            return grouped | {"null": True} if schema.get("nullable") else grouped
    nullable = bool(schema.get("nullable"))
    kind = schema.get("type")
    if kind == "object" or "properties" in schema:
        return _object(schema, nullable=nullable)
    if kind == "array":
        items: Shape = [shape_of(schema.get("items") or {})]
        return {"array": items[0], "null": True} if nullable else items
    text = f"{kind or 'any'}{':' + schema['format'] if 'format' in schema else ''}{'?' if nullable else ''}"
    limits = {short: schema[name] for name, short in _LIMITS.items() if name in schema}
    if any(str(value).endswith(".") for value in limits.get("enum", ())):
        del limits["enum"]  # sentences of an error message, not names
    return {"is": text, **limits} if limits else text


def schema_of(shape: Shape, shared: Mapping[str, Shape], *, without: str = "") -> dict[str, Any]:
    """Read a shape as a JSON Schema (draft 2020-12).

    Args:
        shape: in the notation of this module.
        shared: the table that `@name` refers to.
        without: mark of fields that are not required here: `ro` in a request, `wo` in an answer.
    """

    def inner(part: Shape) -> dict[str, Any]:
        return schema_of(part, shared, without=without)

    if isinstance(shape, str):
        return inner(shared[shape[1:]]) if shape.startswith("@") else _scalar(shape)
    if isinstance(shape, list):
        return {"type": "array", "items": inner(shape[0])}
    if "is" in shape:
        return _limited(shape)
    if "array" in shape:
        return {"type": ["array", "null"], "items": inner(shape["array"])}
    for group, short in _GROUPS.items():
        if short in shape:
            grouped = {group: [inner(part) for part in shape[short]]}
            return {"anyOf": [grouped, {"type": "null"}]} if shape.get("null") else grouped
    named = [(*field_name(written), part) for written, part in shape["fields"].items()]
    schema: dict[str, Any] = {
        "type": ["object", "null"] if shape.get("null") else "object",
        "properties": {name: inner(part) for name, _, part in named},
    }
    required = [name for name, marks, _ in named if "*" in marks and without not in marks]
    required += shape.get("also_required", ())
    if required:
        schema["required"] = required
    if "rest" in shape:
        schema["additionalProperties"] = inner(shape["rest"]) if shape["rest"] else False
    return schema


def field_name(written: str) -> tuple[str, frozenset[str]]:
    """A name in `fields` without its marks, and the marks: `*`, `ro`, `wo`, `old`."""
    name, *marks = written.split(" ")
    return name, frozenset(marks)


def _object(schema: Mapping[str, Any], *, nullable: bool) -> Shape:
    required = schema.get("required") or ()
    fields = {}
    for name, field in (schema.get("properties") or {}).items():
        marks = ["*"] if name in required else []
        marks += [mark for word, mark in _MARKS.items() if field.get(word)]
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


def _scalar(text: str) -> dict[str, Any]:
    kind, _, form = text.removesuffix("?").partition(":")
    schema: dict[str, Any] = {}
    if kind != "any":
        schema["type"] = [kind, "null"] if text.endswith("?") else kind
    if form:
        schema["format"] = form
    return schema


def _limited(shape: Mapping[str, Any]) -> dict[str, Any]:
    schema = _scalar(shape["is"])
    schema |= {name: shape[short] for name, short in _LIMITS.items() if short in shape}
    if "enum" in schema and shape["is"].endswith("?") and None not in schema["enum"]:
        schema["enum"] = [*schema["enum"], None]
    return schema
