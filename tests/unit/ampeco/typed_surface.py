"""What the classes of resources promise to a type checker, read from their type arguments."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ForwardRef, Literal, TypeVar, get_args, get_origin

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
    bodies = {}
    for place in places:
        before = arguments[place - 1] if place else None
        if isinstance(before, ForwardRef) and before.__forward_arg__.startswith("bodies."):
            name = before.__forward_arg__.removeprefix("bodies.")
            bodies.update(dict.fromkeys(get_args(arguments[place]), name))
    versions = tuple(version for place in places for version in get_args(arguments[place]))
    return Typed(versions, len(arguments) - 1 - places[-1], bodies)
