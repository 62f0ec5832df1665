"""Makes documents that a schema of the vendor allows, of many kinds, and some that it does not allow."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import reduce
from typing import Any

from tests.contract.vendor_document import GROUPS, Node

UNKNOWN = {"zzNewer": {"nested": [1, None, "x"]}}
"""What a later version may add to any object."""

LAX = {"examples", "unknown fields", "numbers as text", "numeric texts as numbers"}
"""Kinds of `variants` whose documents need not be valid by the letter."""

_FIRST = datetime(2020, 1, 1, tzinfo=UTC)
_MINUTES = 5 * 365 * 24 * 60
_BY_PATTERN = {
    "^[A-Z]{2}$": "BG",
    r"^\d{2}:\d{2}$": "10:30",
    r"^\d{2}:\d{2}:\d{2}$": "10:30:15",
    "^([01]?[0-9]|2[0-3]):[0-5][0-9]$": "10:30",
}
_BY_FORMAT = {
    "email": "driver@example.com",
    "uri": "https://example.com/a?b=c",
    "url": "https://example.com/a?b=c",
    "uuid": "3f1c8c1e-7a35-4a3e-9d42-0b8ff0f5d1aa",
    "decimal": "12.50",
    "float": "12.5",
    "number": "12.5",
    "boolean": "true",
    "time": "10:30",
}

MOMENTS: Mapping[str, Callable[[datetime], str]] = {
    "seconds": lambda at: f"{at:%Y-%m-%dT%H:%M:%S}Z",
    "with a space": lambda at: f"{at:%Y-%m-%d %H:%M:%S}",
    "microseconds": lambda at: f"{at:%Y-%m-%dT%H:%M:%S.%f}Z",
    "milliseconds": lambda at: f"{at:%Y-%m-%dT%H:%M:%S}.250Z",
    "zero offset": lambda at: f"{at:%Y-%m-%dT%H:%M:%S}+00:00",
    "other offset": lambda at: f"{at + timedelta(hours=2):%Y-%m-%dT%H:%M:%S}+02:00",
    "no zone": lambda at: f"{at:%Y-%m-%dT%H:%M:%S}",
}
"""The ways to write a moment that the document's examples show, or that ISO 8601 has."""


@dataclass(frozen=True)
class How:
    """How a document is made.

    Attributes:
        optional: share of the optional fields that are there.
        null: share of the nullable fields that are null.
        turn: which value of an enum, and which alternative of a group, is taken; counted round.
        moment: how a moment is written.
        numbers: writes a number.
        texts: writes a text that is only a number, such as an id.
        unknown: every object has a field that the document does not know.
        examples: the document's own example is taken where it has one.
        without: a mark; fields that have it are left out: `readOnly` in a request, `writeOnly` in an answer.
    """

    dice: random.Random
    optional: float = 1.0
    null: float = 0.0
    turn: int = 0
    moment: Callable[[datetime], str] = MOMENTS["seconds"]
    numbers: Callable[[Any], Any] = lambda number: number
    texts: Callable[[str], Any] = lambda text: text
    unknown: bool = False
    examples: bool = False
    without: str = ""


def variants(
    node: Node, seed: str, *, by_chance: int, without: str = "", most: int | None = None
) -> Iterator[tuple[str, Any]]:
    """Documents of every kind, each with the name of its kind.

    Args:
        by_chance: number of documents with chance in every field.
        without: as in `How`.
        most: of the ways to write a moment, and of the turns; without it all, and some enums have 250 values.
    """
    how = How(random.Random(seed), without=without)
    yield "required only", made(node, replace(how, optional=0.0))
    yield "everything", made(node, how)
    yield "every null", made(node, replace(how, null=1.0))
    yield "unknown fields", made(node, replace(how, unknown=True))
    yield "examples", made(node, replace(how, examples=True))
    yield "numbers as text", made(node, replace(how, numbers=str))
    yield "numeric texts as numbers", made(node, replace(how, texts=int))
    for name, moment in list(MOMENTS.items())[:most]:
        yield f"moments: {name}", made(node, replace(how, moment=moment))
    for turn in range(1, _turns(node))[:most]:
        yield "enum and alternatives", made(node, replace(how, turn=turn))
    for _ in range(by_chance):
        moment = how.dice.choice(list(MOMENTS.values()))
        turn = how.dice.randrange(1000)
        yield "by chance", made(node, replace(how, optional=0.6, null=0.3, turn=turn, moment=moment))


def made(node: Node, how: How, name: str = "") -> Any:
    """A value that the schema allows.

    Args:
        name: of the field, for ids.
    """
    node = flat(node, how.turn)
    if node.get("nullable") and how.dice.random() < how.null:
        return None
    if how.examples and _is_one_value(node):
        return node["example"]
    if "enum" in node:
        known = [value for value in node["enum"] if value is not None]
        return known[how.turn % len(known)]
    match kind_of(node):
        case "object":
            return _object(node, how)
        case "array":
            count = max(node.get("minItems", 0), min(node.get("maxItems", 2), 2))
            return [made(node["items"], how, name) for _ in range(count)]
        case "boolean":
            return how.dice.random() < 0.5
        case "integer":
            low = int(node.get("minimum", 1))
            return how.numbers(how.dice.randint(low, int(node.get("maximum", low + 10**6))))
        case "number" if name == "id" or name.endswith("Id"):
            return how.numbers(how.dice.randint(1, 10**6))
        case "number":
            low = node.get("minimum", 1)
            return how.numbers(round(how.dice.uniform(low, node.get("maximum", low + 10**4)), 1))
    return _text(node, how, name)


def spoiled(node: Node, value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Each place of a document, and the document with a value of another kind there; `[]` is a place in a list."""
    node = flat(node, 0)
    match kind_of(node):
        case "object" if isinstance(value, dict):
            for name, part in node.get("properties", {}).items():
                if name in value:
                    below = f"{place}.{name}" if place else name
                    yield below, {**value, name: _wrong(flat(part, 0))}
                    yield from ((at, {**value, name: odd}) for at, odd in spoiled(part, value[name], below))
        case "array" if value:
            found = spoiled(node["items"], value[0], f"{place}[]")
            yield from ((at, [odd, *value[1:]]) for at, odd in found)


def flat(node: Node, turn: int) -> dict[str, Any]:
    """A schema without groups: the parts of an `allOf` joined, one alternative of the others taken."""
    own = {word: value for word, value in node.items() if word not in GROUPS}
    parts = [flat(part, turn) for part in node.get("allOf", ())]
    chosen = (node[group] for group in ("anyOf", "oneOf") if group in node)
    parts += [flat(each[turn % len(each)], turn) for each in chosen]
    if not parts:
        return own
    joined = reduce(_joined, parts)
    return _joined(joined, own) | {"nullable": own.get("nullable", joined.get("nullable", False))}


def kind_of(node: Node) -> str:
    """The type, also where only the words of one are there."""
    if "type" in node:
        return str(node["type"])
    return "object" if "properties" in node else "array" if "items" in node else "string"


def _joined(one: Node, other: Node) -> dict[str, Any]:
    joined = {**one, **other, "nullable": bool(one.get("nullable")) and bool(other.get("nullable"))}
    if "properties" in one and "properties" in other:
        shared = one["properties"].keys() & other["properties"].keys()
        both = {name: {"allOf": [one["properties"][name], other["properties"][name]]} for name in shared}
        joined["properties"] = {**one["properties"], **other["properties"], **both}
    joined["required"] = [*one.get("required", ()), *other.get("required", ())]
    if "items" in one and "items" in other and one["items"] != other["items"]:
        joined["items"] = {"allOf": [one["items"], other["items"]]}
    if "enum" in one and "enum" in other:
        joined["enum"] = [value for value in one["enum"] if value in other["enum"]]
    return joined


def _object(node: Node, how: How) -> dict[str, Any]:
    required = {"chargePoint" if name == "charge-point" else name for name in node.get("required", ())}
    made_of = {
        name: made(part, how, name)
        for name, part in node.get("properties", {}).items()
        if not (how.without and part.get(how.without))
        and (name in required or _is_needed(name, part) or how.dice.random() < how.optional)
    }
    rest = node.get("additionalProperties")
    if isinstance(rest, Mapping) and how.optional:
        made_of["anyName"] = made(rest, how)
    return made_of | (UNKNOWN if how.unknown and "properties" in node else {})


def _text(node: Node, how: How, name: str) -> Any:
    at = _FIRST + timedelta(minutes=how.dice.randrange(_MINUTES))
    form = node.get("format", "")
    if form in ("date-time", "datetime", "datatime"):
        return how.moment(at)
    if form == "date":
        return at.date().isoformat()
    if "pattern" in node:
        return _BY_PATTERN[node["pattern"]]
    if form in _BY_FORMAT:
        return _BY_FORMAT[form]
    if form in ("integer", "int64") or name == "id" or name.endswith(("Id", "_id")):
        digits = min(9, node.get("maxLength", 9))
        return how.texts(str(how.dice.randint(10 ** (digits - 1), 10**digits - 1)))
    low = node.get("minLength", 1)
    high = min(node.get("maxLength", low + 12), low + 12)
    return "".join(how.dice.choice("abcxyzäß漢 -_./") for _ in range(how.dice.randint(low, high)))


def _is_needed(name: str, node: Node) -> bool:
    """The document seldom requires an id, or the envelope of an answer."""
    return name in ("id", "webhookId", "roamingId") or (name == "data" and kind_of(flat(node, 0)) != "string")


def _is_one_value(node: Node) -> bool:
    """Some examples list all values of a text, or show one element of a list."""
    kinds = {"array": list, "object": dict}
    expected: Any = kinds.get(kind_of(node), str | int | float)
    return "example" in node and isinstance(node["example"], expected)


def _wrong(node: Node) -> Any:
    return "a text" if kind_of(node) in ("object", "array") else {"odd": [1]}


def _turns(node: Node) -> int:
    """How many turns it takes until each value and each alternative was taken."""
    found = [1, *(len(node.get(word, ())) for word in ("enum", "anyOf", "oneOf"))]
    inner = [*node.get("properties", {}).values(), *(part for word in GROUPS for part in node.get(word, ()))]
    inner += [node["items"]] if "items" in node else []
    return max([*found, *map(_turns, inner)])
