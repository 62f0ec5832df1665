"""Changes fields of one notification that is sent by hand.

It knows JSON only.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

_DEEPEST = 50  # a body may not be deeper than what JSON writers take


class PathError(Exception):
    """A path=value that cannot be applied; the message says why."""


def charge_point_of(body: dict[str, Any]) -> int | None:
    """Return the id of the charge point whose order the delivery has to keep; None without one."""
    inner = body.get("session")
    for fields in (body, inner if isinstance(inner, dict) else {}):
        if isinstance(fields.get("chargePointId"), int):
            return int(fields["chargePointId"])
    return None


def change(body: dict[str, Any], changes: Iterable[str]) -> None:
    """Apply `path=value` to a body. A path is names and list positions with dots; a value is JSON, else a text.

    Raises:
        PathError: the text is not a path=value, or the path leads through something that has no fields.
    """
    for text in changes:
        path, equals, value = text.partition("=")
        if not equals or not all(path.split(".")) or path.count(".") > _DEEPEST:
            raise PathError(f"{text!r} is not path=value, as in session.status=finished")
        *way, last = path.split(".")
        place: Any = body
        for name in way:
            place = _inside(place, name, path)
        if isinstance(place, dict):
            place[last] = _value(value)
        elif isinstance(place, list) and last in map(str, range(len(place))):
            place[int(last)] = _value(value)
        else:
            raise PathError(f"{path!r} leads nowhere")


def _inside(place: Any, name: str, path: str) -> Any:
    if isinstance(place, dict):
        return place.setdefault(name, {})
    if isinstance(place, list) and name in map(str, range(len(place))):
        return place[int(name)]
    raise PathError(f"{path!r} leads nowhere")


def _value(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_json)
    except (ValueError, RecursionError):
        return text


def _no_json(name: str) -> None:
    """Refuse NaN and Infinity: Python reads them, and no message may hold them."""
    raise ValueError(name)
