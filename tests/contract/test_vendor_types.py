"""What our client lets a caller write, against the vendor's own document: names, kinds, values, what is required."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin, is_typeddict

from ampeco.operations import Field
from tests.contract.vendor_bodies import flat, kind_of
from tests.contract.vendor_document import GROUPS, Node, needs_the_document, operations
from tests.contract.vendor_stand_in import table
from tests.unit.ampeco.typed_surface import alternatives, hints, required, type_of_body

pytestmark = needs_the_document

MOST_VALUES = 30
"""A longer set (countries, currencies) is plain text in our types."""
KINDS = {"integer": {int}, "number": {float, int}, "boolean": {bool}, "string": {str}}


class Described:
    """What the document says of a field in any alternative of its object."""

    def __init__(self, nodes: list[Node]) -> None:
        self.node: Node = {"anyOf": nodes}
        flats = [flat(node, turn) for node in nodes for turn in range(_alternatives(node))]
        self.kinds = {kind_of(each) for each in flats}
        self.nullable = any(each.get("nullable") for each in flats)
        values = [each["enum"] for each in flats if "enum" in each]
        self.values = {value for each in values for value in each if value is not None}
        self.open = len(values) < len(flats)
        self.items: Node = {"anyOf": [each["items"] for each in flats if "items" in each]}
        self.read_only = any(_is_read_only(node) for node in nodes)


def fields(node: Node) -> dict[str, Described]:
    """Every field that a request may have, in any part or alternative."""
    found: dict[str, list[Node]] = {}

    def gather(part: Node) -> None:
        for name, inner in part.get("properties", {}).items():
            found.setdefault(name, []).append(inner)
        for group in GROUPS:
            for inner in part.get(group, ()):
                gather(inner)

    gather(node)
    described = {name: Described(nodes) for name, nodes in found.items()}
    return {name: each for name, each in described.items() if not each.read_only}


def always_due(node: Node) -> set[str]:
    """Fields that every alternative requires."""
    return set.intersection(
        *(set(flat(node, turn).get("required", ())) for turn in range(_alternatives(node)))
    )


def test_the_arguments_of_actions_are_those_of_the_document() -> None:
    count, faults = 0, []
    for each in operations():
        ours = table()[each.method, each.path]
        if ours.kind == "action" and each.body is not None:
            node = each.body["items"] if ours.takes == "array" else each.body
            given = ours.fields or ()
            count += 1
            faults += _unlike_fields(ours.name, node, given[0].fields if ours.takes == "array" else given)
    assert count > 40
    assert faults == []


def _unlike_fields(where: str, node: Node, given: tuple[Field, ...]) -> Iterator[str]:
    ours, theirs = {field.name: field for field in given}, fields(node)
    for name, said in theirs.items():
        place, field = f"{where}.{name}", ours.get(name)
        if field is None:
            yield f"{place}: not there"
            continue
        if field.required != (name in always_due(node)):
            yield f"{place}: required {field.required}"
        if field.nullable != said.nullable:
            yield f"{place}: nullable {field.nullable}"
        if {field.type} != said.kinds:
            yield f"{place}: {field.type}, not {said.kinds}"
        if not said.open and set(field.values) != said.values and len(said.values) <= MOST_VALUES:
            yield f"{place}: values {field.values}"
        if field.type == "array" and field.items not in Described([said.items]).kinds:
            yield f"{place}: array of {field.items}"
        inner = said.items if field.type == "array" else said.node
        yield from _unlike_fields(f"{place}[]" if field.type == "array" else place, inner, field.fields)


def test_the_types_of_bodies_are_those_of_the_document() -> None:
    count, faults = 0, []
    for each in operations():
        ours = table()[each.method, each.path]
        if ours.kind == "write" and ours.name.startswith("resources.") and each.body is not None:
            kind = type_of_body(ours)
            if fields(each.body):
                count += 1
                faults += _unlike_type(f"{ours.name} {ours.version}", each.body, kind)
    assert count > 100
    assert faults == []


def _unlike_type(where: str, node: Node, kind: Any) -> Iterator[str]:
    if not is_typeddict(kind):
        yield f"{where}: no type of its own"
        return
    ours, theirs = hints(kind), fields(node)
    if ours.keys() != theirs.keys():
        yield f"{where}: fields {ours.keys() ^ theirs.keys()}"
    for name in ours.keys() & theirs.keys():
        said, parts = theirs[name], list(alternatives(ours[name]))
        if (name in required(kind)) > (name in always_due(node)):
            yield f"{where}.{name}: required"
        literals = {value for part in parts if get_origin(part) is Literal for value in get_args(part)}
        if (type(None) in parts) < said.nullable and Any not in parts:
            yield f"{where}.{name}: takes no null"
        if literals != said.values and len(said.values) <= MOST_VALUES and not said.open:
            yield f"{where}.{name}: values {literals ^ said.values}"
        expected = set.union(*(KINDS.get(each, set()) for each in said.kinds))
        if expected and not literals and Any not in parts and not expected & set(parts):
            yield f"{where}.{name}: {parts} for {said.kinds}"
        objects = [part for part in parts if is_typeddict(part)]
        objects += [
            one
            for part in parts
            for each in get_args(part)
            for one in alternatives(each)
            if is_typeddict(one)
        ]
        inner = said.items if "array" in said.kinds else said.node
        if fields(inner):
            yield from _unlike_type(f"{where}.{name}", inner, objects[0] if objects else None)


def _alternatives(node: Node) -> int:
    """How many turns `flat` takes to show each alternative."""
    counts = [len(node[group]) for group in ("anyOf", "oneOf") if group in node]
    inner = [part for group in GROUPS for part in node.get(group, ())]
    return max([1, *counts, *map(_alternatives, inner)])


def _is_read_only(node: Node) -> bool:
    return bool(node.get("readOnly")) or any(map(_is_read_only, node.get("allOf", ())))
