"""The types of bodies against the contract: what a type checker lets through is what AMPECO documents."""

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, is_typeddict

import pytest
from jsonschema import Draft202012Validator

from ampeco.facts.shapes import Shape, field_name, schema_of
from ampeco.newer import Newer, NewerNumber
from ampeco.operations import VERSIONS, Operation
from ampeco.resources import bodies
from tests.unit.ampeco.typed_surface import alternatives, hints, required, type_of_body

CONTRACT = json.loads((Path(__file__).parents[3] / "ampeco" / "facts" / "contract.json").read_text())
SHARED = CONTRACT["shared"]
WRITES = {
    f"{operation.method} {operation.path}": operation
    for operation in VERSIONS.values()
    if operation.kind == "write" and operation.name.startswith("resources.")
}
WITH_BODY = [
    (WRITES[name], found["body"])
    for name, found in CONTRACT["operations"].items()
    if name in WRITES and found.get("body") is not None
]
by_body = pytest.mark.parametrize(
    ("operation", "shape"),
    WITH_BODY,
    ids=[f"{operation.name} {operation.version}" for operation, _ in WITH_BODY],
)


def resolved(shape: Shape) -> Any:
    return resolved(SHARED[shape[1:]]) if isinstance(shape, str) and shape.startswith("@") else shape


def names(shape: Shape) -> set[str]:
    """Fields that a request may have."""
    shape = resolved(shape)
    if "fields" in shape:
        written = map(field_name, shape["fields"])
        return {name for name, marks in written if "ro" not in marks}
    parts = next(shape[group] for group in ("all", "any", "one") if group in shape)
    return set().union(*map(names, parts))


def is_one_object(shape: Shape) -> bool:
    shape = resolved(shape)
    return "fields" in shape or ("all" in shape and all(map(is_one_object, shape["all"])))


def sample(kind: Any, *, full: bool) -> Any:
    """A value of a type: the first of several, and for an object all its members or only the required ones."""
    kind = next(each for each in alternatives(kind) if each not in (Newer, NewerNumber, datetime))
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return arguments[0]
    if is_typeddict(kind):
        members = hints(kind)
        return {name: sample(members[name], full=full) for name in (members if full else required(kind))}
    if origin is not None:  # Sequence, Mapping
        return {} if len(arguments) == 2 else [sample(arguments[0], full=full)]
    return {str: "2026-11-24T10:00:00Z", int: 1, float: 1.5, bool: True}.get(kind, "anything")


def complaints(shape: Shape, value: Any) -> Iterator[str]:
    schema = schema_of(shape, SHARED, without="ro")
    for error in Draft202012Validator(schema).iter_errors(value):
        is_a_code = error.validator == "enum" and len(error.validator_value) > 30  # plain text in the types
        if error.validator in ("type", "required", "enum", "additionalProperties") and not is_a_code:
            yield f"{error.json_path}: {error.message}"


@by_body
def test_a_type_has_the_fields_of_the_contract_and_no_read_only_ones(
    operation: Operation, shape: Shape
) -> None:
    expected = names(shape)
    if expected:
        assert set(type_of_body(operation).__annotations__) == expected


@by_body
@pytest.mark.parametrize("full", [True, False])
def test_what_the_type_allows_the_contract_allows(operation: Operation, shape: Shape, full: bool) -> None:
    """Of bodies that are one object; one that may be one of several objects has a type with all their fields."""
    if names(shape) and is_one_object(shape):
        assert list(complaints(shape, sample(type_of_body(operation), full=full))) == []


def test_no_body_of_the_contract_is_left_out() -> None:
    assert len(WITH_BODY) > 110
    untyped = [
        operation.name
        for operation, shape in WITH_BODY
        if names(shape) and not is_typeddict(type_of_body(operation))
    ]
    assert untyped == []


def test_an_object_of_several_alternatives_requires_only_what_each_of_them_does() -> None:
    kind = bodies.ChargePointPersonalSmartChargingPreferencePreferences
    assert {"startTime", "solarStableTime", "postCode"} <= hints(kind).keys()  # of three modes
    assert required(kind) == set()


def test_types_of_bodies_cost_a_running_client_nothing() -> None:
    used = """
import sys
from ampeco.client import Client
client = Client("https://tenant.example", "token")
client.resources.users, client.actions.charge_point
assert not [name for name in sys.modules if name.endswith(".bodies")], "the types of bodies were imported"
assert "ampeco.models.objects.user" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", used], check=True)
