"""Payloads are read-only to the bottom: nothing that attributes and operators reach can change."""

from __future__ import annotations

import copy
import json
import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from pydantic import BaseModel

from ampeco.models.frozen import FreeObject, freeze
from ampeco.models.payload import VendorObject, unset_fields
from ampeco.models.reading import read_payload
from ampeco.notifications import MODELS, read
from handlers import Raw
from tests.bodies import BODIES

UNKNOWN = {"brandNew": {"deep": [1, {"deeper": [{}]}], "empty": {}}, "brand_list": [{"a": [1]}, []]}

_DICT: tuple[Callable[[Any], object], ...] = (
    lambda each: operator.setitem(each, "x", 1),
    lambda each: operator.delitem(each, next(iter(each), "x")),
    lambda each: operator.ior(each, {"x": 1}),
    lambda each: each.update(x=1),
    lambda each: each.update({"x": 1}),
    lambda each: each.setdefault("x", 1),
    lambda each: each.pop(next(iter(each), "x")),
    lambda each: each.pop("none", None),
    lambda each: each.popitem(),
    lambda each: each.clear(),
    lambda each: setattr(each, "x", 1),
)
_OBJECT: tuple[Callable[[Any], object], ...] = (
    lambda each: setattr(each, _name(each), 1),
    lambda each: delattr(each, _name(each)),
    lambda each: setattr(each, "brand_new", 1),
    lambda each: setattr(each, "model_extra", {}),
    lambda each: setattr(each, "data", {}),
)
_REFUSALS = (TypeError, ValueError, AttributeError)  # a ValidationError is a ValueError


def _name(each: Any) -> str:
    return "data" if isinstance(each, Raw) else next(iter(type(each).model_fields))


def reached(value: Any) -> Iterator[Any]:
    """Everything that public attributes, items and iteration of a payload lead to."""
    yield value
    if isinstance(value, Raw):
        yield from reached(value.data)
    elif isinstance(value, BaseModel):
        unset = unset_fields(value) if isinstance(value, VendorObject) else {}
        names = [*sorted(type(value).model_fields.keys() - unset), *(value.model_extra or {})]
        for inner in (*(getattr(value, name) for name in names), value.model_extra, value.model_fields_set):
            yield from reached(inner)
        for _, inner in value:
            yield from reached(inner)
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from reached(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from reached(inner)


def assert_nothing_changes(payload: Any) -> None:
    before = repr(list(reached(payload)))
    for each in reached(payload):
        assert not isinstance(each, list | bytearray)
        if isinstance(each, Mapping):
            assert isinstance(each, dict)
            for change in _DICT:
                with pytest.raises(_REFUSALS):
                    change(each)
        elif isinstance(each, BaseModel | Raw):
            for change in _OBJECT:
                with pytest.raises(_REFUSALS):
                    change(each)
        elif isinstance(each, set):
            each.add("notification_of_mine")  # a copy: nothing of it is the payload's
            each.clear()
    assert repr(list(reached(payload))) == before


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_nothing_of_a_payload_can_be_changed(body: bytes) -> None:
    data = read(body)
    for value in data.values():
        if isinstance(value, dict):
            value.update(copy.deepcopy(UNKNOWN))
    data.update(copy.deepcopy(UNKNOWN))
    assert_nothing_changes(Raw(data))
    if model := MODELS.get(data["notification"]):
        payload, _ = read_payload(model, data)
        assert payload.model_extra is not None
        assert payload.model_extra["brandNew"] == {"deep": (1, {"deeper": ({},)}), "empty": {}}
        assert_nothing_changes(payload)


def test_every_type_with_a_model_has_a_sample() -> None:
    assert set(MODELS) <= {name.partition("/")[0] for name in BODIES}


def test_raw_data_is_a_dict_that_json_and_copies_understand() -> None:
    data = {"notification": "x", "a": [1, {"b": [None, True, 1.5, "é"]}]}
    raw = Raw(data)
    assert json.loads(json.dumps(raw.data)) == data
    assert copy.deepcopy(raw) == copy.copy(raw) == raw == Raw(data)
    assert raw != Raw({})
    assert raw.data is raw.data
    assert repr(raw) == "Raw(data={'notification': 'x', 'a': (1, {'b': (None, True, 1.5, 'é')})})"
    assert {**raw.data, "c": 1}["c"] == 1
    assert type(raw.data | {"c": 1}) is dict
    assert type(raw.data.copy()) is dict  # type: ignore[attr-defined]


def test_a_frozen_object_is_a_dict_in_every_other_way() -> None:
    frozen = freeze({"a": [{"b": 1}]})
    assert isinstance(frozen, FreeObject)
    assert frozen == {"a": ({"b": 1},)}
    assert copy.copy(frozen) is copy.deepcopy(frozen) is freeze(frozen)
    assert (list(frozen), frozen.get("a"), "a" in frozen, len(frozen)) == (["a"], ({"b": 1},), True, 1)
    match frozen:
        case {"a": [{"b": found}]}:
            assert found == 1
        case _:
            raise AssertionError
