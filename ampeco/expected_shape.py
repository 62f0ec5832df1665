"""The structure of a notification by the contract, and where it differs from what was seen."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Final

from ampeco.contract import published
from ampeco.contract.merging import types
from ampeco.observed_shape import MAP, Drift, Place, Shape, joined, split
from ampeco.paths import snake

SURE_SAMPLES: Final = 50
"""How many bodies of a type must have been seen before a new field or kind is news."""

SURE_OBJECTS: Final = 200
"""How many objects in a row must have had a field before its absence is news."""


@dataclass(frozen=True, slots=True)
class Expected:
    """The contract's description of one place.

    Attributes:
        kinds: kinds of JSON Schema; empty when any will do.
        is_required: whether an object must have this field.
        is_open: whether the contract says nothing about what is in it.
    """

    kinds: frozenset[str]
    is_required: bool
    is_open: bool


@cache
def expected(notification: str) -> Mapping[str, Expected] | None:
    """Return the contract's places of a notification type, by path; None for a type that it does not describe."""
    schema = published.payload(notification)
    if schema is None:
        return None
    found: dict[str, Expected] = {}
    _collect(schema, "", True, found)
    return found


def is_known_name(name: str) -> bool:
    """Return whether the contract has a field of this name anywhere, in either spelling."""
    return name in _known_names()


def drifts(notification: str, before: Shape, now: Shape) -> Iterator[Drift]:
    """Yield how bodies differ from the contract, or from what was seen before where the contract says nothing.

    Args:
        before: what was seen until now.
        now: of bodies that came since.
    """
    contract = expected(notification)
    for path, place in now.paths.items():
        rule = contract.get(path) if contract is not None else None
        if rule is not None:
            if not fits(place, rule):
                yield Drift(path, "other-kind", "contract", now.last_ms)
        elif contract is not None:
            above = contract.get(split(path)[0])
            if split(path)[1] and above is not None and not above.is_open:
                yield Drift(path, "new-field", "contract", now.last_ms)
        elif before.samples >= SURE_SAMPLES:
            known = before.paths.get(path)
            if known is not None:
                if not all(_fits(kind, _usual(known.kinds)) for kind in place.kinds):
                    yield Drift(path, "other-kind", "seen", now.last_ms)
            elif split(path)[0] in before.paths:
                yield Drift(path, "new-field", "seen", now.last_ms)
    yield from _missing(contract or {}, before, now)


def _missing(contract: Mapping[str, Expected], before: Shape, now: Shape) -> Iterator[Drift]:
    for path in {**dict.fromkeys(contract), **dict.fromkeys(before.paths)}:
        parent, name = split(path)
        holder = now.paths.get(parent)
        if not name or name == MAP or holder is None or now.is_cut:
            continue
        objects = holder.kinds["object"]
        place = now.paths.get(path)
        if not objects or (place is not None and place.kinds.total() >= objects):
            continue
        rule, known = contract.get(path), before.paths.get(path)
        if rule is not None and rule.is_required:
            yield Drift(path, "missing-field", "contract", now.last_ms)
        elif known is not None and not before.is_cut and _was_always_there(path, before):
            yield Drift(path, "missing-field", "seen", now.last_ms)


def _was_always_there(path: str, before: Shape) -> bool:
    objects = before.paths[split(path)[0]].kinds["object"]
    return objects >= SURE_OBJECTS and not before.is_optional(path)


def fits(place: Place, rule: Expected) -> bool:
    """Return whether the contract allows all kinds that were seen at a place."""
    return not rule.kinds or all(_fits(kind, rule.kinds) for kind in place.kinds)


def _fits(kind: str, kinds: frozenset[str]) -> bool:
    return kind in kinds or (kind == "integer" and "number" in kinds)


def _usual(seen: Iterable[str]) -> frozenset[str]:
    """Return the kinds that are not news where these were seen: null, and a number of the other kind."""
    kinds = frozenset(seen) | {"null"}
    return kinds | {"number"} if "integer" in kinds else kinds


def _collect(schema: Mapping[str, Any], path: str, required: bool, found: dict[str, Expected]) -> None:
    """Add a part of a schema. Where it has alternatives, any of them will do."""
    groups = [part for word in ("anyOf", "oneOf") for part in schema.get(word, ())]
    own = {name: value for name, value in schema.items() if name not in ("anyOf", "oneOf")}
    if groups:
        for part in groups:
            if part.keys() != {"required"}:  # one that only names what must be there says nothing of kinds
                _collect(part, path, required, found)
        if not own.keys() & {"type", "properties", "items"}:
            return
    kinds = frozenset(types(own)) or _kinds_by_words(own)
    properties, rest = own.get("properties", {}), own.get("additionalProperties")
    is_open = "object" in kinds and not properties and not rest
    before = found.get(path)
    if before is not None:
        kinds = before.kinds | kinds if before.kinds and kinds else frozenset()
        required, is_open = required and before.is_required, is_open or before.is_open
    if not kinds:
        is_open = True
    found[path] = Expected(kinds, required, is_open)
    names = set(own.get("required", ()))
    fields = {joined(path, name) for name in properties}
    if before is not None and "object" in kinds:  # what another alternative lacks is not required
        for each in [each for each in found if split(each)[0] == path and split(each)[1]]:
            if each not in fields:
                found[each] = replace(found[each], is_required=False)
        names = {name for name in names if joined(path, name) in found}
    for name, part in properties.items():
        _collect(part, joined(path, name), name in names, found)
    if isinstance(rest, Mapping) and rest:
        _collect(rest, joined(path, MAP), False, found)
    if "items" in own:
        _collect(own["items"], f"{path}[]", True, found)


def _kinds_by_words(schema: Mapping[str, Any]) -> frozenset[str]:
    """Return the kinds of a schema that names no type."""
    if "properties" in schema:
        return frozenset(("object",))
    return frozenset(("array",)) if "items" in schema else frozenset()


@cache
def _known_names() -> frozenset[str]:
    names = published.field_names()
    return names | {snake(name) for name in names}
