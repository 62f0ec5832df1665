"""Reads the notation of `contract.json` as JSON Schema.

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

from collections.abc import Iterator, Mapping
from typing import Any

Shape = Any
"""Text, a list or an object in the notation above."""

GROUPS = {"allOf": "all", "anyOf": "any", "oneOf": "one"}
LIMITS = {
    "enum": "enum",
    "minimum": "min",
    "maximum": "max",
    "minLength": "min_length",
    "maxLength": "max_length",
    "pattern": "pattern",
}
"""Names of JSON Schema -> names of the notation."""


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
    for group, short in GROUPS.items():
        if short in shape:
            parts = [inner(part) for part in shape[short]]
            if group == "allOf":
                hidden = _marked(shape, shared, without)
                parts = [_not_required(part, hidden) for part in parts]
            grouped = {group: parts}
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


def _marked(shape: Shape, shared: Mapping[str, Shape], mark: str) -> frozenset[str]:
    """Fields with this mark in any part of a group."""
    fields = (field_name(written) for part in _objects(shape, shared) for written in part["fields"])
    return frozenset(name for name, marks in fields if mark in marks)


def _not_required(schema: dict[str, Any], hidden: frozenset[str]) -> dict[str, Any]:
    """A part of a group, whose requirements may name what another part marks."""
    if hidden.isdisjoint(schema.get("required", ())):
        return schema
    return {**schema, "required": [name for name in schema["required"] if name not in hidden]}


def _objects(shape: Shape, shared: Mapping[str, Shape]) -> Iterator[Mapping[str, Any]]:
    if isinstance(shape, str) and shape.startswith("@"):
        yield from _objects(shared[shape[1:]], shared)
    elif isinstance(shape, dict) and "all" in shape:
        for part in shape["all"]:
            yield from _objects(part, shared)
    elif isinstance(shape, dict) and "fields" in shape:
        yield shape


def field_name(written: str) -> tuple[str, frozenset[str]]:
    """A name in `fields` without its marks, and the marks: `*`, `ro`, `wo`, `old`."""
    name, *marks = written.split(" ")
    return name, frozenset(marks)


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
    schema |= {name: shape[short] for name, short in LIMITS.items() if short in shape}
    if "enum" in schema and shape["is"].endswith("?") and None not in schema["enum"]:
        schema["enum"] = [*schema["enum"], None]
    return schema
