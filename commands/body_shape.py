"""The shape of a body: its fields and their kinds, without values, which may be personal."""

from __future__ import annotations

import json
from itertools import islice
from typing import Any, Final

from ampeco.observed_shape import MAP, is_field, joined

MOST_VALUES: Final = 20_000  # a console must not be busy for long with one body

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
    """Map the path of each field to the kind of its value; empty for a body that is not JSON.

    A name that may be data, such as an address, is `*`. Of a large body only the first values are read.
    """
    try:
        waiting: list[tuple[str, Any]] = [("", json.loads(body))]
    except (ValueError, RecursionError):
        return {}
    found: dict[str, str] = {}
    left = MOST_VALUES
    while waiting:
        path, value = waiting.pop()
        inner: list[tuple[str, Any]] = []
        if isinstance(value, dict):
            inner = [(joined(path, _name(name)), one) for name, one in islice(value.items(), left)]
        elif isinstance(value, list):
            element = f"{path}[]"
            inner = [(element, one) for one in value[:left]]
        if not inner:
            found[path or "."] = _KINDS[type(value)]
        left -= len(inner)
        waiting += reversed(inner)
    return found


def _name(name: str) -> str:
    return name if is_field(name) else MAP
