"""The contract and the catalogue -> `ampeco/NOTIFICATIONS.md`, a page for people about every notification type."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ampeco.catalogue import KNOWN_TYPES, UNCONFIRMED_TYPES, spellings
from ampeco.entity_parts import PARTS
from ampeco.generator.classes import plain, snake
from ampeco.generator.facts import GENERATED, PACKAGE, wrapped
from ampeco.generator.objects import CARRIED, callback
from ampeco.generator.payload_words import PAYLOADS
from ampeco.known_type import Entity, KnownType, time_paths

PAGE = PACKAGE / "NOTIFICATIONS.md"

_VALUES_SHOWN = 12

_INTRODUCTION = """# Notification types

What AMPECO announces, from its published contract v3.110.0 and `ampeco/catalogue.py`. The models are importable from
`ampeco.notifications`; each type has its fields further down.

- *Preferred*: the type to subscribe to when two types announce the same fact. The model of the preferred type reads
  both, so a handler of it accepts both.
- *Entity key*: the first id that is there. *Own time*: the first time that is there. A time before 2000, or more than
  48 h after arrival, counts as none.
- *Part*: what of the entity it is about, where that is not all of it. `order="latest"` compares events of one part.
- An id of 0, a negative one, 2^63-1 and empty text mean "none", in the key and in the payload.
- Keys, times and models also find snake_case names, a nested noun (`{"session": {"id": 4711}}`) and an id under its
  noun (`{"chargePoint": 12}`).

AMPECO's 42 types for Subscribe are all here; `PartnerChangedNotification` is the 43rd and not among them."""

_UNDOCUMENTED = """## Not in the contract

Subscribe takes the first four of these types, and the contract does not describe their payloads: the models look for
the matching object wherever it may be. An index of a later specification describes issues and firmware status, and
names no type strings: these are likely ones, and Subscribe is not known to take them."""

_SHAPES = """## Fields

`*` = the contract requires it. Reading one that is missing raises `FieldMisfit`, except where null or an older
spelling of the type leaves it out: then it is None.
Everything else is None when it is absent. Ids are text in Python, even where they are numbers on the wire. Every
payload has `notification`, the type; it is left out here."""


def outputs() -> dict[Path, str]:
    """The page."""
    contract = {name: known for name, known in KNOWN_TYPES.items() if known.confidence == "confirmed"}
    others = {
        **{name: known for name, known in KNOWN_TYPES.items() if name not in contract},
        **UNCONFIRMED_TYPES,
    }
    pieces = [f"<!-- {GENERATED} -->", _INTRODUCTION, "", *_table(contract), "", _UNDOCUMENTED, ""]
    pieces += [*_table(others), "", _SHAPES]
    for name in sorted(contract, key=str.lower):
        pieces += ["", *_shape(name, contract[name])]
    return {PAGE: wrapped("\n".join([*pieces, ""]))}


def _table(types: Mapping[str, KnownType]) -> Iterator[str]:
    yield "| Type | Model | Preferred | Entity key | Part | Own time |"
    yield "|---|---|---|---|---|---|"
    for name in sorted(types, key=str.lower):
        known = types[name]
        preferred = spellings(name)[0]
        keys = "; ".join(_keys(name, known, known.entities))
        parts = "; ".join(_keys(name, known, PARTS.get(name, ())))
        cells = [
            f"`{name}`{' (deprecated)' if known.deprecated else ''}",
            f"`{known.model.rpartition('.')[2]}`",
            "" if preferred == name else f"`{preferred}`",
            keys,
            parts,
            _own_time(name, known),
        ]
        yield f"| {' | '.join(cells)} |"


def _keys(name: str, known: KnownType, entities: tuple[Entity, ...]) -> Iterator[str]:
    """The contract's own place of each id; of an undocumented type the likeliest."""
    for entity, paths in entities:
        if known.confidence != "confirmed":
            yield f"{entity}: `{paths[0]}`"
            continue
        yield from [f"{entity}: `{path}`" for path in paths if _has(callback(name), path)][:1]


def _own_time(name: str, known: KnownType) -> str:
    """The contract's own places of a time; of a type without one nothing."""
    if known.confidence != "confirmed":
        return ", ".join(f"`{path}`" for path in time_paths(known)[:1])
    return ", ".join(f"`{path}`" for path in time_paths(known) if _has(callback(name), path))


def _has(schema: Mapping[str, Any], path: str) -> bool:
    here = plain(schema)
    for step in path.split("."):
        here = plain(here).get("properties", {}).get(step.removesuffix("[]"))
        if here is None:
            return False
        here = plain(here["items"]) if step.endswith("[]") else here
    return True


def _shape(name: str, known: KnownType) -> Iterator[str]:
    words = PAYLOADS[name] if PAYLOADS[name].summary else PAYLOADS[spellings(name)[0]]
    yield f"### {name}"
    yield ""
    yield f"`{known.model.rpartition('.')[2]}`: {words.summary}"
    if words.more:
        yield words.more
    yield ""
    yield "| field | attribute | type |"
    yield "|---|---|---|"
    schema = callback(name)
    carried = {field: title for title, (carrier, field) in CARRIED.items() if carrier == name}
    for wire, value in schema["properties"].items():
        if wire == "notification":
            continue
        attribute = words.attributes.get(wire, snake(wire))
        star = "*" if wire in schema.get("required", ()) else ""
        shown = f"`{carried[wire]}`" if wire in carried else _type(value)
        yield f"| `{wire}`{star} | `{attribute}` | {shown} |"


def _type(schema: Mapping[str, Any]) -> str:
    schema = plain(schema)
    kinds = schema.get("type", "string")
    kind = next((each for each in kinds if each != "null"), "") if isinstance(kinds, list) else kinds
    if kind == "array":
        return f"array of {_type(schema['items'])}"
    if kind == "object":
        names = ", ".join(f"`{name}`" for name in schema.get("properties", {}))
        return f"object: {names}" if names else "object, any"
    values = [str(value) for value in schema.get("enum", ()) if value is not None]
    shown = "time" if schema.get("format") in ("date-time", "datetime") else kind
    null = " or null" if isinstance(kinds, list) and "null" in kinds else ""
    if not values:
        return shown + null
    listed = ", ".join(f"`{value}`" for value in values[:_VALUES_SHOWN])
    more = f" and {len(values) - _VALUES_SHOWN} more" if len(values) > _VALUES_SHOWN else ""
    return f"{shown}{null}: {listed}{more}"
