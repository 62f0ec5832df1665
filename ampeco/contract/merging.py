"""Merges the parts of `allOf` into one JSON Schema, so that readers of schemas find no groups of parts."""

from collections.abc import Mapping
from functools import reduce
from typing import Any

Schema = dict[str, Any]


def flattened(schema: Mapping[str, Any]) -> Schema:
    """Return the same schema without `allOf`, at any depth."""
    own: Schema = {}
    for word, value in schema.items():
        match word:
            case "allOf":
                continue
            case "properties":
                own[word] = {name: flattened(part) for name, part in value.items()}
            case "anyOf" | "oneOf":
                own[word] = [flattened(part) for part in value]
            case "items":
                own[word] = flattened(value)
            case "additionalProperties" if value:
                own[word] = flattened(value)
            case _:
                own[word] = value
    return reduce(merged, map(flattened, schema.get("allOf", ())), own)


def merged(one: Schema, other: Schema) -> Schema:
    """Return a schema for values that fit both."""
    both = {**one, **other}
    for word in one.keys() & other.keys():
        left, right = one[word], other[word]
        match word:
            case "properties":
                both[word] = {**left, **right} | {
                    name: merged(left[name], right[name]) for name in left.keys() & right.keys()
                }
            case "required":
                both[word] = [*left, *(name for name in right if name not in left)]
            case "enum":
                both[word] = [value for value in left if value in right] or right
            case "items":
                both[word] = merged(left, right)
            case "type":
                both[word] = _type(left, right)
            case "anyOf" | "oneOf":
                both[word] = [merged(first, second) for first in left for second in right]
    return both


def types(schema: Mapping[str, Any]) -> tuple[str, ...]:
    """The JSON types a schema names, `null` included; none when it names none."""
    named = schema.get("type", ())
    return (named,) if isinstance(named, str) else tuple(named)


def _type(left: Any, right: Any) -> Any:
    ours, theirs = types({"type": left}), types({"type": right})
    both = [name for name in ours if name in theirs]
    if "number" in ours and "integer" in theirs:
        both.append("integer")
    return both or right
