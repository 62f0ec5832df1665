"""Makes variants of a notification from the schema of its type: a body for each thing that may vary."""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any, NamedTuple

from ampeco.contract import published
from ampeco.contract.checks import fits
from ampeco.contract.merging import Schema, merged, types
from ampeco.contract.values import example

_Path = tuple[str | int, ...]


class Variant(NamedTuple):
    """A body that differs from the full sample in one place.

    Attributes:
        about: what differs, e.g. `session.reason absent`, `action = stopped`, `session.userId null`.
        body: the payload.
    """

    about: str
    body: dict[str, Any]


def variants(notification: str) -> Iterator[Variant]:
    """Bodies of a notification type that its schema allows.

    Each optional field is absent in one of them, and each nullable field is null in one. Each value of each enum
    occurs, and so does each alternative where the schema has several. A type without a documented payload has none.

    Args:
        notification: its name, e.g. `session.start.stop.notification`.
    """
    schema = published.payload(notification)
    if schema is None:
        return
    noun = notification.split(".")[0]
    full = example(schema, noun, full=True)
    yield Variant("full", full)
    yield Variant("minimal", example(schema, noun))
    yield from (each for each in _differing(schema, full, ()) if fits(schema, each.body, strict=True))


def _differing(schema: Schema, body: Any, path: _Path) -> Iterator[Variant]:
    """Go through the part of the schema that describes the value at `path` of the body."""
    value = _at(body, path)
    for word in ("anyOf", "oneOf"):
        base = {key: part for key, part in schema.items() if key != word}
        for number, part in enumerate(schema.get(word, ()), 1):
            either = merged(base, part)
            if fits(either, value):
                yield from _differing(either, body, path)
            elif types(either) != ("null",):
                other = _changed(body, path, example(either, _name(path), full=True))
                yield Variant(f"{_dotted(path)} alternative {number}", other)
                yield from _differing(either, other, path)
            else:
                yield Variant(f"{_dotted(path)} null", _changed(body, path, None))
        if word in schema:
            return
    if "null" in types(schema):
        yield Variant(f"{_dotted(path)} null", _changed(body, path, None))
    for known in schema.get("enum", ()):
        if known is not None and known != value:
            yield Variant(f"{_dotted(path)} = {known}", _changed(body, path, known))
    if isinstance(value, dict):
        for name, part in schema.get("properties", {}).items():
            if name not in schema.get("required", ()):
                yield Variant(f"{_dotted((*path, name))} absent", _without(body, (*path, name)))
            if name in value:
                yield from _differing(part, body, (*path, name))
    elif isinstance(value, list) and value:
        yield Variant(f"{_dotted(path)} empty", _changed(body, path, []))
        yield from _differing(schema["items"], body, (*path, 0))


def _at(body: Any, path: _Path) -> Any:
    for step in path:
        body = body[step]
    return body


def _changed(body: Any, path: _Path, value: Any) -> Any:
    if not path:
        return value
    made = deepcopy(body)
    _at(made, path[:-1])[path[-1]] = value
    return made


def _without(body: Any, path: _Path) -> Any:
    made = deepcopy(body)
    _at(made, path[:-1]).pop(path[-1], None)
    return made


def _name(path: _Path) -> str:
    return next((step for step in reversed(path) if isinstance(step, str)), "")


def _dotted(path: _Path) -> str:
    return ".".join(map(str, path))
