"""The structure of notifications as they arrive: fields, kinds, how often, since when. It holds no values.

A place is a path such as `session.id`, in which `[]` stands for the elements of an array. `*` stands for names that
may be data: those of a map, and names that do not look like those of a field. Everything is bounded, since senders
choose names.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

KINDS: Final = ("null", "boolean", "integer", "number", "string", "array", "object")
MAP: Final = "*"

MOST_PATHS: Final = 500  # of a type; the largest payload of the contract has 161
MOST_DRIFTS: Final = 100
_MOST_UNKNOWN: Final = 16  # names at one place that the contract does not have: more of them are a map
_MOST_DEPTH: Final = 8
_MOST_ELEMENTS: Final = 20  # of an array that are looked at
_MOST_VALUES: Final = 5_000  # of a body
MOST_CHARS: Final = 200  # of a path
_FIELD = re.compile(r"[A-Za-z_][A-Za-z_-]*[0-9]{0,2}[A-Za-z_-]*")
_FIELD_CHARS: Final = 40
_KIND_OF = {
    type(None): "null",
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
}

Known = Callable[[str], bool]
"""Returns whether a name is one of the contract's, so that it is the name of a field."""


class TooManyValues(Exception):
    """The body is too large to be read as a whole, so absent fields would be unknown."""


@dataclass(slots=True)
class Place:
    """What was seen at one path.

    Attributes:
        kinds: kind of a value -> how often.
        first_ms, last_ms: when something was seen there, Unix time.
    """

    first_ms: int
    last_ms: int
    kinds: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class Drift:
    """A difference that was found, and when.

    Attributes:
        what: `new-field`, `other-kind` or `missing-field`.
        against: `contract` or `seen`.
    """

    path: str
    what: str
    against: str
    at_ms: int


@dataclass(slots=True)
class Shape:
    """What was seen of one notification type.

    Attributes:
        samples: how many bodies were looked at.
        paths: path -> what was seen there; the body itself is the empty path.
        drifts: differences that were announced.
        is_cut: whether there was more than is kept.
    """

    samples: int = 0
    first_ms: int = 0
    last_ms: int = 0
    paths: dict[str, Place] = field(default_factory=dict)
    drifts: list[Drift] = field(default_factory=list)
    is_cut: bool = False

    def is_optional(self, path: str) -> bool:
        """Return whether an object was seen that lacks this field."""
        parent, name = split(path)
        if name in ("", MAP):
            return False
        return self.paths[path].kinds.total() < self.paths[parent].kinds["object"]

    def children(self, path: str) -> Iterator[tuple[str, str]]:
        """Yield the path and name of each field of an object, and of its `*`."""
        for each in self.paths:
            parent, name = split(each)
            if name and parent == path:
                yield each, name


def split(path: str) -> tuple[str, str]:
    """Split a path into that of the object and the name in it; the name is empty for elements and for the body."""
    if path.endswith("[]") or not path:
        return path.removesuffix("[]"), ""
    parent, _, name = path.rpartition(".")
    return parent, name


def joined(parent: str, name: str) -> str:
    """Return the path of a field; the inverse of `split`."""
    return f"{parent}.{name}" if parent else name


def observed(document: Mapping[str, Any], at_ms: int, known: Known) -> Shape:
    """Return the shape of one body.

    Args:
        document: a decoded body.
        at_ms: when it arrived.

    Raises:
        TooManyValues: it holds more than 5,000 values.
    """
    shape = Shape(1, at_ms, at_ms)
    left = _MOST_VALUES
    waiting: list[tuple[str, int, Any]] = [("", 0, document)]
    while waiting:
        path, depth, value = waiting.pop()
        left -= 1
        if left < 0:
            raise TooManyValues
        place = shape.paths.get(path)
        if place is None:
            if len(path) > MOST_CHARS or len(shape.paths) >= MOST_PATHS:
                shape.is_cut = True
                continue
            place = shape.paths[path] = Place(at_ms, at_ms)
        kind = _KIND_OF[type(value)]
        place.kinds[kind] += 1
        if depth >= _MOST_DEPTH and kind in ("object", "array"):
            shape.is_cut = True
        elif kind == "object":
            fields = [(joined(path, name), depth + 1, inner) for name, inner in _named(value, known)]
            waiting += reversed(fields)
        elif kind == "array":
            waiting += [(f"{path}[]", depth + 1, inner) for inner in value[:_MOST_ELEMENTS]]
    return shape


def absorb(into: Shape, other: Shape, known: Known) -> None:
    """Add to a shape what another one has seen. Its drifts are left out."""
    into.first_ms = min(into.first_ms, other.first_ms) if into.samples else other.first_ms
    into.last_ms = max(into.last_ms, other.last_ms)
    into.samples += other.samples
    into.is_cut = into.is_cut or other.is_cut
    before = len(into.paths)
    for path, place in other.paths.items():
        _add(into, path, place)
    if len(into.paths) > before:
        _fold_maps(into, known)


def has_news(before: Shape, now: Shape) -> bool:
    """Return whether a shape has a path or a kind that was not seen before, and that there is room for."""
    known = before.paths
    has_room = len(known) < MOST_PATHS
    return any(
        not known[path].kinds.keys() >= place.kinds.keys() if path in known else has_room
        for path, place in now.paths.items()
    )


def _named(value: Mapping[str, Any], known: Known) -> Iterable[tuple[str, Any]]:
    """Yield the fields of an object; `*` stands for each name that may be data."""
    unknown = {name for name in value if not known(name)}
    if unknown and (len(unknown) > _MOST_UNKNOWN or not all(map(is_field, unknown))):
        return ((MAP if name in unknown else name, inner) for name, inner in value.items())
    return value.items()


def is_field(name: str) -> bool:
    """Return whether a name looks like that of a field: letters, and at most two digits in a row."""
    return len(name) <= _FIELD_CHARS and _FIELD.fullmatch(name) is not None


def _fold_maps(shape: Shape, known: Known) -> None:
    """Put `*` for all unknown names of an object that has many of them, or had, so that those names go."""
    while maps := _maps(shape, known):
        before, shape.paths = shape.paths, {}
        for path, place in before.items():
            _add(shape, _folded(path, maps, known), place)


def _maps(shape: Shape, known: Known) -> set[str]:
    unknown: Counter[str] = Counter()
    for path in shape.paths:
        parent, name = split(path)
        if name and name != MAP and not known(name):
            unknown[parent] += 1
    return {
        parent for parent, n in unknown.items() if n > _MOST_UNKNOWN or joined(parent, MAP) in shape.paths
    }


def _folded(path: str, maps: set[str], known: Known) -> str:
    """Return a path with `*` for each unknown name within one of these maps."""
    here, new = "", ""
    if not path:
        return path
    for step in path.replace("[]", ".[]").split("."):
        if step == "[]":
            here, new = here + step, new + step
            continue
        shown = MAP if here in maps and not known(step) else step
        here, new = joined(here, step), joined(new, shown)
    return new


def _add(shape: Shape, path: str, place: Place) -> None:
    here = shape.paths.get(path)
    if here is None:
        if len(shape.paths) >= MOST_PATHS or (path and holder_of(path) not in shape.paths):
            shape.is_cut = True
            return
        here = shape.paths[path] = Place(place.first_ms, place.last_ms)
    here.first_ms = min(here.first_ms, place.first_ms)
    here.last_ms = max(here.last_ms, place.last_ms)
    here.kinds.update(place.kinds)


def holder_of(path: str) -> str:
    """Return the path of what holds a place; that of the body is its own."""
    return split(path)[0]
