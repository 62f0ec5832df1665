"""What the classes of resources promise to a type checker, read from their type arguments."""

import types
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from typing import (
    Any,
    ForwardRef,
    Literal,
    NotRequired,
    Required,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from ampeco.operations import Operation
from ampeco.resources import bodies, synchronous

_VERBS = ("List", "Read", "Creat", "Updat", "Delet")
_NAMES = dict(zip(_VERBS, ("list", "read", "create", "update", "delete"), strict=True))


@dataclass(frozen=True)
class Typed:
    """One method of a mixin.

    Attributes:
        versions: those that the type checker accepts.
        ids: how many it asks for.
        bodies: version -> name of the type of the body.
    """

    versions: tuple[str, ...]
    ids: int
    bodies: dict[str, str]


def methods(noun: type) -> dict[str, Typed]:
    """Verb -> what is promised, of every verb that a mixin gives to the noun."""
    return dict(_of_bases(noun, {}))


def type_of_body(operation: Operation) -> Any:
    """The TypedDict that the method takes in that version."""
    *noun, verb = operation.name.replace("-", "_").split(".")[1:]
    found = reduce(getattr, noun, synchronous.Resources(None, None))  # type: ignore[arg-type]
    mixed = methods(type(found)).get(verb)
    if mixed is None:  # a method of its own
        return getattr(bodies, getattr(type(found), verb).__annotations__["body"].split(".")[1].split(" ")[0])
    return getattr(bodies, mixed.bodies[operation.version])


def hints(kind: Any) -> dict[str, Any]:
    """Key of a TypedDict -> its type, marks included."""
    return get_type_hints(kind, include_extras=True)


def required(kind: Any) -> set[str]:
    """Keys that a TypedDict requires."""
    marked = {name: get_origin(hint) for name, hint in hints(kind).items()}
    return {n for n, m in marked.items() if m is Required or (kind.__total__ and m is not NotRequired)}


def alternatives(kind: Any) -> Iterator[Any]:
    """The types of a value, without marks."""
    if get_origin(kind) in (Required, NotRequired, Union, types.UnionType):
        for part in get_args(kind):
            yield from alternatives(part)
    else:
        yield kind


def _of_bases(cls: type, given: dict[Any, tuple[Any, ...]]) -> Iterator[tuple[str, Typed]]:
    for base in getattr(cls, "__orig_bases__", ()):
        origin = get_origin(base)
        arguments = [each for argument in get_args(base) for each in _filled(argument, given)]
        stem = origin.__name__.removeprefix("Async").removeprefix("Versioned") if origin else ""
        verb = next((verb for verb in _VERBS if stem.startswith(verb)), None)
        if verb is not None:
            yield _NAMES[verb], _typed(arguments)
        elif stem in ("Records", "Archive"):
            *plain, ids = origin.__parameters__
            filled: dict[Any, tuple[Any, ...]] = {p: (a,) for p, a in zip(plain, arguments, strict=False)}
            yield from _of_bases(origin, filled | {ids: tuple(arguments[len(plain) :])})


def _filled(argument: Any, given: dict[Any, tuple[Any, ...]]) -> tuple[Any, ...]:
    if isinstance(argument, TypeVar):
        return given.get(argument, (argument,))
    inner = get_args(argument)
    return given[inner[0]] if inner and inner[0] in given else (argument,)


def _typed(arguments: list[Any]) -> Typed:
    places = [place for place, argument in enumerate(arguments) if get_origin(argument) is Literal]
    taken = {}
    for place in places:
        before = arguments[place - 1] if place else None
        if isinstance(before, ForwardRef) and before.__forward_arg__.startswith("bodies."):
            name = before.__forward_arg__.removeprefix("bodies.")
            taken.update(dict.fromkeys(get_args(arguments[place]), name))
    versions = tuple(version for place in places for version in get_args(arguments[place]))
    return Typed(versions, len(arguments) - 1 - places[-1], taken)
