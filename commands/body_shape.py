"""The shape of a body: its fields and their kinds, without values, which may be personal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

_KINDS = {
    type(None): "null",
    bool: "boolean",
    int: "number",
    float: "number",
    str: "text",
    dict: "object",
    list: "list",
}


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
            yield path or ".", _KINDS[type(value)]
