"""Bodies that a handler must survive: unknown fields, and fields of another kind than the contract says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

_Path = tuple[str | int, ...]

_UNKNOWN = {"newerThanThisRelease": {"any": ["thing", None, 1.5]}}


def with_unknown_fields(raw: bytes) -> bytes:
    """Return the same body with a field in each of its objects that no model knows."""
    return json.dumps(_extended(json.loads(raw))).encode()


def with_odd_fields(raw: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield bodies of which one field is of another kind, or null; each with the name of the field."""
    body = json.loads(raw)
    for path in _paths(body):
        if path == ("notification",):
            continue
        value = _at(body, path)
        for odd in (_of_another_kind(value), None):
            made = deepcopy(body)
            _at(made, path[:-1])[path[-1]] = odd
            yield f"{'.'.join(map(str, path))} = {odd!r}", json.dumps(made).encode()


def _extended(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _extended(each) for name, each in value.items()} | _UNKNOWN
    return [_extended(each) for each in value] if isinstance(value, list) else value


def _of_another_kind(value: Any) -> Any:
    return {"odd": True} if isinstance(value, str | int | float) or value is None else "odd"


def _paths(value: Any, path: _Path = ()) -> Iterator[_Path]:
    named: Any = value.items() if isinstance(value, dict) else enumerate(value)
    for name, each in named:
        yield (*path, name)
        if isinstance(each, dict | list):
            yield from _paths(each, (*path, name))


def _at(body: Any, path: _Path) -> Any:
    for step in path:
        body = body[step]
    return body
