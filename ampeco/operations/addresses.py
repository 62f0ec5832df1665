"""Operations by method and path: for endpoints that are newer than the table. Knows no transport."""

import re
from collections.abc import Collection
from functools import cache
from typing import get_args
from urllib.parse import quote, unquote

from ampeco.operations.table import OPERATIONS, VERSIONS, Method, Operation

_ROOT = "/public-api/"
_METHODS: tuple[Method, ...] = get_args(Method)
_PLACE = re.compile(r"\{\w+\}")
_VERSION = re.compile(r"v(\d+\.\d+)")
_REPEATABLE = frozenset({"GET", "PUT", "DELETE"})  # by RFC 9110; AMPECO promises nothing

Segments = tuple[str, ...]


def operation_at(method: str, path: str) -> Operation:
    """The operation that a method and a path call: that of the table, else one made for this path.

    One that the table does not have is named `POST /public-api/...`. It changes something unless it is a GET outside
    of `/public-api/actions`, and may be repeated unless it is a POST or a PATCH.

    Args:
        path: below `/public-api/`, with its ids, without a query.

    Raises:
        ValueError: the method or the path is none of AMPECO's API.
    """
    known = _method(method)
    segments = _segments(path)
    candidates = [
        (sum(map(str.__eq__, template, segments)), key)
        for template, key in _templates().get((method, len(segments)), ())
        if _fits(template, segments)
    ]
    if candidates:
        return VERSIONS[max(candidates)[1]]
    plain = normal_path(path)
    version = next((found[1] for segment in segments if (found := _VERSION.fullmatch(segment))), "")
    return Operation(
        name=f"{method} {plain}",
        title="",
        group="",
        method=known,
        path=plain,
        kind="action" if segments[1] == "actions" else "read" if method == "GET" else "write",
        idempotent=method in _REPEATABLE,
        version=version,
        fields=None,
    )


def operation_named(name: str) -> Operation | None:
    """The operation with the name that errors and gates give; None when there is no such operation."""
    if name in OPERATIONS:
        return OPERATIONS[name]
    method, _, path = name.partition(" ")
    try:
        return operation_at(method, path)
    except ValueError:
        return None


def normal_path(path: str) -> str:
    """The path with each segment percent-encoded in one way.

    Raises:
        ValueError: it is not below `/public-api/`, or a segment could be read as more than one.
    """
    return "/" + "/".join(_segments(path))


def is_declared(calls: Collection[str], operation: Operation, path: str) -> bool:
    """Whether `calls` names the operation, by its name or by method and path.

    Args:
        calls: names like `charge-point.reset`, and addresses like `POST /public-api/actions/.../{id}/...`.
        path: of the request.
    """
    if operation.name in calls:
        return True
    segments = tuple(path.removeprefix("/").split("/"))
    return any(
        method == operation.method and _fits(_segments(template, places=True), segments)
        for method, _, template in (entry.partition(" ") for entry in calls)
        if template
    )


def check_address(entry: str) -> None:
    """Check an entry of `calls` that names an operation by method and path.

    Raises:
        ValueError: it is no such address.
    """
    method, _, template = entry.partition(" ")
    _method(method)
    _segments(template, places=True)


@cache
def _templates() -> dict[tuple[str, int], list[tuple[Segments, tuple[str, str]]]]:
    found: dict[tuple[str, int], list[tuple[Segments, tuple[str, str]]]] = {}
    for key, operation in VERSIONS.items():
        segments = tuple(operation.path.removeprefix("/").split("/"))
        found.setdefault((operation.method, len(segments)), []).append((segments, key))
    return found


def _fits(template: Segments, segments: Segments) -> bool:
    return len(template) == len(segments) and all(
        wanted == segment or _PLACE.fullmatch(wanted) is not None
        for wanted, segment in zip(template, segments, strict=True)
    )


def _method(text: str) -> Method:
    for method in _METHODS:
        if method == text:
            return method
    raise ValueError(f"the method must be one of {', '.join(_METHODS)}")


def _segments(path: str, *, places: bool = False) -> Segments:
    """Segments of a path, percent-encoded in one way.

    Args:
        places: `{name}` may be in the place of a segment.
    """
    if not path.startswith(_ROOT):
        raise ValueError(f"the path must begin with {_ROOT}")
    return tuple(
        segment if places and _PLACE.fullmatch(segment) else _encoded(segment)
        for segment in path.removeprefix("/").split("/")
    )


def _encoded(segment: str) -> str:
    if "?" in segment or "#" in segment:
        raise ValueError("the path must have no query and no fragment; use the argument query")
    if "{" in segment or "}" in segment:
        raise ValueError("the path has a {name} in it; put the id in its place")
    text = unquote(segment, errors="strict")
    if text in ("", ".", "..") or not text.isprintable() or any(sign in text for sign in "/\\?#%"):
        raise ValueError("a segment of the path is not a plain name or id")
    return quote(text, safe="")
