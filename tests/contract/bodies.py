"""Makes bodies from the contract's schemas alone; knows none of our models, samples or simulator."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker

from ampeco.facts.shapes import schema_of

Schema = Mapping[str, Any]

CONTRACT: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "ampeco" / "facts" / "contract.json").read_text()
)
CALLBACKS: dict[str, Any] = CONTRACT["callbacks"]

AT = "2026-11-24T03:50:00.123456Z"
"""Every moment in `minimal` and `full`."""
ID = 4711
"""Every number in them, and as text every id."""

_FORMATS = {"date-time": AT, "datetime": AT, "date": "2026-11-24", "time": "10:00", "decimal": 1.5}
_FIRST = datetime(2020, 1, 1, tzinfo=UTC)
_MINUTES = 6 * 365 * 24 * 60
_OPTIONAL = 0.6
_NULL = 0.25
_SLIPS = {"charge-point": "chargePoint"}  # required by the one name, described by the other
_LETTERS = "abcdefghijklmnopqrstuvwxyzäß漢 -_./"


@cache
def payload_schema(notification_type: str) -> dict[str, Any]:
    """JSON Schema of a callback's body."""
    schema = schema_of(CALLBACKS[notification_type]["payload"], CONTRACT["shared"])
    if "required" in schema:
        schema["required"] = [_SLIPS.get(name, name) for name in schema["required"]]
    return schema


@cache
def validator(notification_type: str) -> Draft202012Validator:
    """Judges a body of that type, formats of times included."""
    return Draft202012Validator(
        payload_schema(notification_type), format_checker=FormatChecker(formats=("date-time", "date"))
    )


def bodies(notification_type: str, count: int, *, seed: int) -> Iterator[dict[str, Any]]:
    """Different bodies of a type: optional fields now there, now absent, nullable ones now null."""
    dice = random.Random(f"{seed} {notification_type}")
    for _ in range(count):
        body = value_of(payload_schema(notification_type), dice, "")
        body["notification"] = notification_type
        yield body


def minimal(notification_type: str) -> dict[str, Any]:
    """A body with what the contract requires, and nothing else; the same one each time."""
    return _example(payload_schema(notification_type), full=False)


def full(notification_type: str) -> dict[str, Any]:
    """A body with every documented field; the same one each time."""
    return _example(payload_schema(notification_type), full=True)


def value_of(schema: Schema, dice: random.Random, name: str) -> Any:
    """A random value that the schema allows.

    Args:
        schema: a JSON Schema as `schema_of` writes it.
        dice: source of chance.
        name: of the field, "" for the body itself; an id is made from it.
    """
    for group in ("anyOf", "oneOf"):
        if group in schema:
            return value_of(dice.choice(schema[group]), dice, name)
    if "allOf" in schema:
        return value_of(merged(schema), dice, name)
    kinds = schema.get("type", "string")
    if isinstance(kinds, list):
        if dice.random() < _NULL:
            return None
        (kind,) = (each for each in kinds if each != "null")
    else:
        kind = kinds
    if "enum" in schema:
        return dice.choice([value for value in schema["enum"] if value is not None])
    match kind:
        case "object":
            return _object(schema, dice)
        case "array":
            items = items_of(schema)
            return [value_of(items, dice, name) for _ in range(dice.randint(0, 3))]
        case "boolean":
            return dice.random() < 0.5
        case "integer":
            low, high = int(schema.get("minimum", 1)), int(schema.get("maximum", 2**40))
            return dice.choice([dice.randint(low, min(high, low + 50)), dice.randint(low, high)])
        case "number":
            low, high = schema.get("minimum", 0), schema.get("maximum", 10**6)
            return dice.choice(
                [int(low), round(dice.uniform(low, high), 3), dice.randint(int(low), int(high))]
            )
    return _text(schema, dice, name)


def merged(schema: Schema) -> dict[str, Any]:
    """An `allOf` as one schema: objects are joined field by field, of scalars the narrowest part counts."""
    parts = [merged(part) if "allOf" in part else part for part in schema["allOf"]]
    if all(part.get("type") == "array" for part in parts):
        return {"type": "array", "items": {"allOf": [part["items"] for part in parts]}}
    if not all(part.get("type") == "object" for part in parts):
        return dict(next((part for part in parts if "enum" in part), parts[0]))
    properties: dict[str, Any] = {}
    required: list[str] = []
    for part in parts:
        for name, field in part.get("properties", {}).items():
            properties[name] = {"allOf": [properties[name], field]} if name in properties else field
        required += part.get("required", [])
    return {"type": "object", "properties": properties, "required": required}


def fields_of(schema: Schema) -> dict[str, Any]:
    """Every documented field of an object, groups included; empty for anything else."""
    if "allOf" in schema:
        return fields_of(merged(schema))
    for group in ("anyOf", "oneOf"):
        if group in schema:
            return {name: field for part in schema[group] for name, field in fields_of(part).items()}
    return dict(schema.get("properties", {}))


def items_of(schema: Schema) -> Schema:
    """The schema of an array's elements, where an `allOf` may hold several."""
    if "allOf" in schema:
        return {"allOf": [items_of(part) for part in schema["allOf"]]}
    items: Schema = schema["items"]
    return items


def _example(schema: Schema, *, full: bool) -> Any:
    if "allOf" in schema:
        return _example(merged(schema), full=full)
    if "anyOf" in schema:
        return _example(schema["anyOf"][0], full=full)
    kinds = schema.get("type", "string")
    kind = next(each for each in kinds if each != "null") if isinstance(kinds, list) else kinds
    if kind == "object":
        required = {_SLIPS.get(name, name) for name in schema.get("required", ())}
        fields = schema.get("properties", {})
        return {name: _example(part, full=full) for name, part in fields.items() if full or name in required}
    if kind == "array":
        return [_example(items_of(schema), full=full)]
    if "enum" in schema:
        return next(value for value in schema["enum"] if value is not None)
    if schema.get("format") in _FORMATS:
        return _FORMATS[schema["format"]]
    return {"integer": ID, "number": 12.5, "boolean": True, "string": str(ID)}[kind]


def _object(schema: Schema, dice: random.Random) -> dict[str, Any]:
    required = schema.get("required", ())
    return {
        name: value_of(part, dice, name)
        for name, part in schema.get("properties", {}).items()
        if name in required or dice.random() < _OPTIONAL
    }


def _text(schema: Schema, dice: random.Random, name: str) -> str:
    moment = _FIRST + timedelta(minutes=dice.randrange(_MINUTES), microseconds=dice.randrange(10**6))
    match schema.get("format"):
        case "date-time" | "datetime" | "datatime":
            return dice.choice(
                [
                    moment.isoformat(timespec="seconds").replace("+00:00", "Z"),
                    moment.isoformat().replace("+00:00", "Z"),
                    moment.isoformat(timespec="milliseconds"),
                    (moment.replace(tzinfo=None).isoformat(timespec="seconds") + "+02:00"),
                ]
            )
        case "date":
            return moment.date().isoformat()
        case "time":
            return f"{moment:%H:%M}"
        case "email":
            return f"user{dice.randrange(1000)}@example.com"
        case "uri" | "url":
            return f"https://example.com/{dice.randrange(1000)}"
        case "decimal":
            return f"{dice.randrange(10**6)}.{dice.randrange(100):02}"
        case "float":
            return str(round(dice.uniform(0, 1000), 2))
        case "integer":
            return str(dice.randint(1, 10**6))
        case "boolean":
            return dice.choice(["true", "false"])
    if schema.get("pattern"):
        assert schema["pattern"] == r"^\d{2}:\d{2}$", schema["pattern"]
        return f"{moment:%H:%M}"
    if name == "id" or name.endswith(("Id", "_id")):
        return str(dice.randint(1, 10**9))
    low = schema.get("minLength", 1)
    high = min(schema.get("maxLength", 30), low + 30)
    return "".join(dice.choice(_LETTERS) for _ in range(dice.randint(low, high)))
