"""Checks and values of the contract's schemas agree with a JSON Schema library, and with each other."""

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from ampeco.contract import published
from ampeco.contract.checks import Fault, faults, fits
from ampeco.contract.merging import flattened
from ampeco.contract.values import completed, example
from tests.unit.ampeco_simulator.contract_rules import FORMATS, OPERATIONS

PERSON: dict[str, Any] = flattened(
    {
        "allOf": [
            {"type": "object", "properties": {"id": {"type": "integer"}, "kind": {"type": "string"}}},
            {
                "type": "object",
                "properties": {"kind": {"type": "string", "enum": ["a", "b"]}, "at": {"type": "string"}},
                "required": ["kind"],
            },
        ],
        "required": ["id"],
    }
)


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "integer"}, True),
        ({"type": "integer"}, 1.0),
        ({"type": "integer"}, 1.5),
        ({"type": "number", "minimum": 1, "maximum": 5}, 0),
        ({"type": "number", "minimum": 1, "maximum": 5}, 5),
        ({"type": ["string", "null"]}, None),
        ({"type": "string", "enum": ["a"]}, "b"),
        ({"type": "string", "minLength": 2, "maxLength": 3}, "a"),
        ({"type": "string", "minLength": 2, "maxLength": 3}, "abcd"),
        ({"type": "string", "pattern": "^[A-Z]{2}$"}, "bg"),
        ({"type": "string", "format": "date-time"}, "2026-11-24T08:15:30Z"),
        ({"type": "string", "format": "date-time"}, "2026-11-24"),
        ({"type": "string", "format": "date"}, "2026-11-24"),
        ({"type": "string", "format": "date"}, "24.11.2026"),
        ({"type": "string", "format": "email"}, "driver"),
        ({"type": "array", "items": {"type": "integer"}}, [1, "2"]),
        ({"type": "object", "properties": {}, "additionalProperties": False}, {"x": 1}),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, {"x": "1"}),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "x"),
        ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, 1),
        ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, 1.5),
        ({}, {"any": "thing"}),
        (PERSON, {"id": 1, "kind": "a"}),
        (PERSON, {"id": 1, "kind": "c"}),
        (PERSON, {"kind": "a"}),
    ],
)
def test_a_check_agrees_with_the_library(schema: dict[str, Any], value: Any) -> None:
    judged = Draft202012Validator(schema, format_checker=FORMATS).is_valid(value)
    assert fits(schema, value, strict=True) is judged


def test_faults_say_where_and_what() -> None:
    found = list(faults(PERSON, {"id": "1", "kind": "c"}))
    assert found == [Fault("id", "must be an integer"), Fault("kind", "must be one of a, b")]
    assert list(faults({"type": "array", "items": PERSON}, [{"id": 1}])) == [Fault("0.kind", "is required")]


def test_alternatives_that_overlap_are_a_fault_only_where_strictness_is_asked_for() -> None:
    overlapping = {"oneOf": [{"type": "object"}, {"type": "object"}]}
    assert fits(overlapping, {})
    assert not fits(overlapping, {}, strict=True)


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ({"id": 7, "kind": "b", "new": 1}, {"id": 7, "kind": "b", "new": 1}),
        ({"id": "7", "kind": "b"}, {"id": 7, "kind": "b"}),
        ({"kind": "z", "at": 5.5}, {"kind": "a", "id": 1}),
        ("no object", {"id": 1, "kind": "a"}),
    ],
)
def test_a_value_is_completed_and_keeps_what_fits(given: Any, made: Any) -> None:
    assert completed(PERSON, given) == made


def test_what_is_made_for_every_operation_fits() -> None:
    for key in OPERATIONS:
        known = published.operation(*key.split(" "))
        assert known is not None
        for schema in (known.body, *known.answers.values()):
            if schema is not None:
                assert fits(schema, example(schema)), key
                assert fits(schema, completed(schema, {"id": 1, "data": {"id": "1"}})), key


def test_an_operation_that_is_newer_than_the_contract_has_no_answers() -> None:
    newer = published.operation("POST", "/public-api/actions/charge-point/v1.0/{chargePoint}/no-such")
    assert newer is None
    assert published.payload("new.type") is None
