"""Rewrites a notification into another spelling that AMPECO might use; knows nothing of who gets it."""

import json
import re
from typing import Any

from ampeco.simulator.fleet import encode
from ampeco.simulator.habits import Habits

_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def dressed(body: bytes, habits: Habits) -> bytes:
    """The notification in the spelling these habits ask for."""
    document = _spelt(json.loads(body), habits)
    return encode({"data": document} if habits.wrapped_payloads else document)


def _spelt(value: Any, habits: Habits) -> Any:
    if isinstance(value, list):
        return [_spelt(element, habits) for element in value]
    if not isinstance(value, dict):
        return value
    spelt = {}
    for name, inner in value.items():
        inner = _id(inner, habits) if name == "id" or name.endswith(("Id", "_id")) else _spelt(inner, habits)
        spelt[_HUMP.sub("_", name).lower() if habits.payload_case == "snake" else name] = inner
    return spelt


def _id(value: Any, habits: Habits) -> Any:
    if habits.payload_ids == "text" and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if habits.payload_ids == "number" and isinstance(value, str) and value.isascii() and value.isdecimal():
        return int(value)
    return value
