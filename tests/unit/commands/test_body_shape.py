"""The shape of a body has names of fields and kinds of values, and nothing else of what was sent."""

from __future__ import annotations

import json
from itertools import product

from commands.body_shape import MOST_VALUES, shape


def test_each_path_has_the_kind_of_its_value_in_the_order_of_the_body() -> None:
    body = {"b": {"z": 1, "a": [True, {"n": None}]}, "a": "x", "empty": {}, "none": []}
    assert list(shape(json.dumps(body).encode()).items()) == [
        ("b.z", "number"),
        ("b.a[]", "boolean"),
        ("b.a[].n", "null"),
        ("a", "text"),
        ("empty", "object"),
        ("none", "list"),
    ]
    assert shape(b"7") == {".": "number"}
    assert shape(b"{") == shape(b"\xff") == shape(b"[" * 100_000) == {}


def test_a_name_that_may_be_data_is_not_shown() -> None:
    body = {"emails": {"anna@example.org": True}, "tags": {"04A2B6C81D2280": {"uid": "x"}}}
    assert shape(json.dumps(body).encode()) == {"emails.*": "boolean", "tags.*.uid": "text"}


def test_only_the_first_values_of_a_large_body_are_read() -> None:
    fields = ",".join(f'"{"".join(letters)}":0' for letters in product("abcdefgh", repeat=5))
    assert len(shape(f"{{{fields}}}".encode())) <= MOST_VALUES
    deep = "[" * 500 + ",".join(["0"] * 100_000) + "]" * 500
    assert shape(deep.encode()) == {"[]" * 500: "number"}
