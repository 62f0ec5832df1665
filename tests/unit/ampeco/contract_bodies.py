"""Bodies made from the contract's own schemas; knows none of our models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ampeco.facts.shapes import schema_of

CONTRACT: dict[str, Any] = json.loads(
    (Path(__file__).parents[3] / "ampeco" / "facts" / "contract.json").read_text()
)
CALLBACKS: dict[str, Any] = CONTRACT["callbacks"]
AT = "2026-11-24T03:50:00.123456Z"
ID = 4711

# The contract requires `charge-point` and describes `chargePoint`: the same field, spelled twice.
_SLIPS = {"charge-point": "chargePoint"}
_FORMATS = {"date-time": AT, "datetime": AT, "date": "2026-11-24", "time": "10:00", "decimal": 1.5}


def schema(notification: str) -> dict[str, Any]:
    """The JSON Schema of a payload."""
    return schema_of(CALLBACKS[notification]["payload"], CONTRACT["shared"])


def minimal(notification: str) -> dict[str, Any]:
    """A body with what the contract requires, and nothing else."""
    return _value(schema(notification), full=False)


def full(notification: str) -> dict[str, Any]:
    """A body with every documented field."""
    return _value(schema(notification), full=True)


def properties(of: dict[str, Any]) -> dict[str, Any]:
    """The fields that an object's schema names, in all of its parts."""
    parts = [part for group in ("allOf", "anyOf") for part in of.get(group, ())]
    found = dict(of.get("properties", {}))
    for part in parts:
        found.update(properties(part))
    return found


def _value(of: dict[str, Any], *, full: bool) -> Any:
    if "allOf" in of:
        required = [name for part in of["allOf"] for name in part.get("required", ())]
        parts = [
            _value({**part, "required": required} if "properties" in part else part, full=full)
            for part in of["allOf"]
        ]
        return _together(parts) if all(isinstance(part, dict) for part in parts) else parts[0]
    if "anyOf" in of:
        return _value(of["anyOf"][0], full=full)
    kinds = of.get("type", "string")
    kind = next(each for each in kinds if each != "null") if isinstance(kinds, list) else kinds
    if kind == "object":
        names = {_SLIPS.get(name, name) for name in of.get("required", ())}
        fields = of.get("properties", {})
        return {name: _value(field, full=full) for name, field in fields.items() if full or name in names}
    if kind == "array":
        return [_value(of["items"], full=full)]
    if "enum" in of:
        return next(value for value in of["enum"] if value is not None)
    if of.get("format") in _FORMATS:
        return _FORMATS[of["format"]]
    return {"integer": ID, "number": 12.5, "boolean": True, "string": str(ID)}[kind]


def _together(parts: list[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for part in parts:
        for name, value in part.items():
            known = found.get(name)
            if isinstance(known, list) and isinstance(value, list) and known and isinstance(known[0], dict):
                value = [_together([known[0], value[0]])]
            found[name] = value
    return found
