"""The shape of a body: its fields and their kinds, without values, which may be personal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any


def shape(body: bytes) -> dict[str, str]:
    """Map the path of each field to the kind of its value, without values; empty for a body that is not JSON."""
    try:
        return dict(_shape(json.loads(body), ""))
    except (ValueError, RecursionError):
        return {}


def _shape(value: Any, path: str) -> Iterator[tuple[str, str]]:
    match value:
        case dict() if value:
            for name, inner in value.items():
                yield from _shape(inner, f"{path}.{name}" if path else name)
        case list() if value:
            for inner in value:
                yield from _shape(inner, f"{path}[]")
        case _:
            yield path or ".", _kind(value)


def _kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "text"
        case dict():
            return "object"
        case _:
            return "list"
