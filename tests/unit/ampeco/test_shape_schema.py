"""What was seen, as JSON Schema: valid, and true of everything that was looked at."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from jsonschema import Draft202012Validator

from ampeco.contract import published
from ampeco.contract.variants import variants
from ampeco.observed_shape import Shape
from ampeco.shape_schema import DRAFT, schema_of_all
from tests.unit.ampeco.test_observed_shape import DOCUMENTS, of_all


def valid(shapes: dict[str, Shape]) -> dict[str, Any]:
    schema = schema_of_all(shapes)
    assert schema["$schema"] == DRAFT
    Draft202012Validator.check_schema(schema)
    json.dumps(schema)
    return schema


def fits(schema: dict[str, Any], body: dict[str, Any]) -> bool:
    return Draft202012Validator(schema).is_valid(body)


@pytest.mark.parametrize("notification", sorted(published.notifications()))
def test_every_body_that_was_seen_fits_the_schema(notification: str) -> None:
    bodies = [variant.body for variant in variants(notification)]
    schema = valid({notification: of_all(*bodies)})
    assert all(fits(schema, body) for body in bodies)
    assert not fits(schema, {**bodies[0], "notification": "another"})


@given(DOCUMENTS)
def test_any_body_fits_its_own_schema(document: dict[str, Any]) -> None:
    shape = of_all(document)
    if not shape.is_cut:
        assert fits(valid({"x": shape}), document)


def test_all_types_together_are_alternatives_and_none_is_a_schema_too() -> None:
    one, other = {"notification": "a", "id": 1}, {"notification": "b/~%", "users": {"x@y.z": {"n": 1}}}
    schema = valid({"b/~%": of_all(other), "a": of_all(one)})
    assert [each["title"] for each in schema["anyOf"]] == ["a", "b/~%"]
    assert fits(schema, one)
    assert fits(schema, {**other, "users": {"any@name": {"n": 2}}})
    assert not fits(schema, {**other, "users": {"any@name": {"n": "text"}}})
    assert not fits(schema, {"notification": "a"})
    assert valid({}) == {"$schema": DRAFT}


def test_a_field_that_was_not_always_there_is_not_required() -> None:
    schema = valid({"x": of_all({"notification": "x", "a": 1}, {"notification": "x"})})
    assert schema["required"] == ["notification"]
    assert schema["description"] == "2 samples"
