"""What is kept of the structure of bodies: paths and kinds, never a value, and a bounded number of them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampeco.expected_shape import is_known_name
from ampeco.observed_shape import (
    MOST_CHARS,
    MOST_PATHS,
    Drift,
    Shape,
    TooManyValues,
    absorb,
    has_news,
    holder_of,
    observed,
)
from ampeco.shape_record import MOST_BYTES, decode_shape, encode_shape

SECRET = "Erika Mustermann"


def look(document: dict[str, Any], at_ms: int = 1_000) -> Shape:
    return observed(document, at_ms, is_known_name)


def of_all(*documents: dict[str, Any]) -> Shape:
    shape = Shape()
    for number, document in enumerate(documents):
        absorb(shape, look(document, 1_000 + number), is_known_name)
    return shape


def kinds(shape: Shape) -> dict[str, dict[str, int]]:
    return {path: dict(place.kinds) for path, place in shape.paths.items()}


def test_paths_kinds_and_counts_in_the_order_of_the_body() -> None:
    shape = look(
        {"notification": "x", "session": {"id": 7, "energy": 1.5, "tags": ["a", None]}, "open": True}
    )
    assert kinds(shape) == {
        "": {"object": 1},
        "notification": {"string": 1},
        "session": {"object": 1},
        "session.id": {"integer": 1},
        "session.energy": {"number": 1},
        "session.tags": {"array": 1},
        "session.tags[]": {"string": 1, "null": 1},
        "open": {"boolean": 1},
    }
    assert list(shape.paths)[:3] == ["", "notification", "session"]


def test_optional_is_what_some_object_lacks() -> None:
    shape = of_all({"a": {"b": 1}}, {"a": {"b": 1, "c": 2}}, {"list": [{"d": 1}, {"d": 2, "e": 3}]})
    assert {path for path in shape.paths if path and shape.is_optional(path)} == {
        "a",
        "a.c",
        "list",
        "list[].e",
    }


def test_first_and_last_seen_of_each_place() -> None:
    shape = of_all({"a": 1}, {"a": 1, "b": 2}, {"a": 1})
    assert (shape.samples, shape.first_ms, shape.last_ms) == (3, 1_000, 1_002)
    assert (shape.paths["b"].first_ms, shape.paths["b"].last_ms) == (1_001, 1_001)


@pytest.mark.parametrize(
    "name",
    [
        "4711", "u4711", "a3f9bc01d2", "erika@example.org", "Erika Mustermann", "2026-11-29", "a.b", "a[]", "*", "",
        "x" * 41, "\x1b[2J", "ключ", "550e8400-e29b-41d4-a716-446655440000", "DE*ABC*E1", "+49301234567",
    ],
)  # fmt: skip
def test_a_name_that_may_be_data_is_not_kept(name: str) -> None:
    shape = look({"users": {name: {"balance": 1}}})
    assert list(shape.paths) == ["", "users", "users.*", "users.*.balance"]
    assert name == "*" or name == "" or name not in encode_shape(shape).decode()


@pytest.mark.parametrize("name", ["newField", "new_field", "x-y", "currentL1", "line2Total", "last4"])
def test_the_name_of_a_field_is_kept(name: str) -> None:
    assert name in look({name: 1}).paths


def test_many_unknown_names_in_one_object_are_a_map() -> None:
    names = ["".join(chr(97 + (n // 26**i) % 26) for i in range(3)) for n in range(17)]
    shape = look({"users": {name: {"id": 1} for name in names}, "session": {"id": 1}})
    assert list(shape.paths) == ["", "users", "users.*", "users.*.id", "session", "session.id"]
    assert kinds(shape)["users.*"] == {"object": 17}


def test_many_unknown_names_over_time_are_a_map_and_the_names_go() -> None:
    people = ["".join(chr(97 + (n // 26**i) % 26) for i in range(5)) for n in range(17)]
    shape = of_all(*({"users": {person: {"id": 1, "more": [{person: 1}]}}} for person in people))
    assert not any(person in encode_shape(shape).decode() for person in people)
    assert kinds(shape)["users.*"] == {"object": 17}
    assert kinds(shape)["users.*.more[].*"] == {"integer": 17}
    absorb(shape, look({"users": {"anna": {"id": 1}}}), is_known_name)
    assert "users.anna" not in shape.paths, "it stays a map"


def test_names_of_the_contract_are_fields_however_many_there_are() -> None:
    from ampeco.contract import published

    names = sorted(published.field_names())[:100]
    assert len(look(dict.fromkeys(names, 1)).paths) == 101


def test_a_body_with_too_many_values_is_not_looked_at() -> None:
    with pytest.raises(TooManyValues):
        look({"a": {"b": dict.fromkeys(map(str, range(5_001)), 1)}})


def test_paths_depth_and_elements_are_bounded() -> None:
    wide = look({"x" * n: {"y" * m: 1 for m in range(1, 16)} for n in range(1, 16)})
    assert len(wide.paths) <= MOST_PATHS
    shape = Shape()
    for group in range(40):
        nested = {f"{chr(97 + group % 26)}{'q' * (group // 26)}": {"k" * n: {"id": 1} for n in range(1, 16)}}
        absorb(shape, look({"session": nested}), is_known_name)
    assert len(shape.paths) <= MOST_PATHS
    deep: dict[str, Any] = {}
    for _ in range(100):
        deep = {"a": deep}
    assert look(deep).is_cut
    assert max(path.count(".") for path in look(deep).paths) < 9
    assert kinds(look({"a": [1] * 1000}))["a[]"] == {"integer": 20}
    assert all(
        len(path) <= MOST_CHARS
        for path in look({"n" * 40: {"n" * 40: {"n" * 40: {"n" * 40: {"n" * 40: 1}}}}}).paths
    )


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=5),
    max_leaves=20,
)
DOCUMENTS = st.dictionaries(st.sampled_from(["session", "id", "more", "x1", "1"]), JSON, max_size=5)


@given(DOCUMENTS)
def test_no_value_is_kept(document: dict[str, Any]) -> None:
    record = encode_shape(look({**document, "session": {"userName": SECRET, "energy": 123454321.5}})).decode()
    assert SECRET not in record
    assert "123454321" not in record


@given(st.lists(DOCUMENTS, max_size=6))
def test_any_shape_is_stored_and_read_back(documents: list[dict[str, Any]]) -> None:
    shape = of_all(*documents)
    shape.drifts = [Drift("session.id", "other-kind", "contract", 5)]
    assert decode_shape(encode_shape(shape)) == shape
    assert all(holder_of(path) in shape.paths for path in shape.paths)
    assert not has_news(shape, shape)


@given(st.lists(DOCUMENTS, min_size=2, max_size=6))
def test_two_receivers_learn_what_one_would(documents: list[dict[str, Any]]) -> None:
    one, other = of_all(*documents[::2]), of_all(*documents[1::2])
    absorb(one, other, is_known_name)
    alone = of_all(*documents)
    assert kinds(one) == kinds(alone)
    assert one.samples == alone.samples


@pytest.mark.parametrize(
    "record",
    [
        b"", b"{", b"[]", b"null", b'{"v":2}', b'{"v":1}', b"[" * 100_000, b" " * (MOST_BYTES + 1),
        b'{"v":1,"n":1,"first":-1,"last":1,"cut":false,"paths":{},"drifts":[]}',
        b'{"v":1,"n":1,"first":1,"last":9e99,"cut":false,"paths":{},"drifts":[]}',
        b'{"v":1,"n":1,"first":1,"last":1,"cut":false,"paths":{"a":[1,1,{}]},"drifts":[]}',
        b'{"v":1,"n":1,"first":1,"last":1,"cut":false,"paths":{"":[1,1,{"secret":1}]},"drifts":[]}',
        b'{"v":1,"n":1,"first":1,"last":1,"cut":false,"paths":{"":[1]},"drifts":[]}',
        b'{"v":1,"n":1,"first":1,"last":1,"cut":false,"paths":{},"drifts":[["%s","a","b",1]]}' % (b"x" * 300),
    ],
)  # fmt: skip
def test_a_record_that_is_damaged_or_newer_is_refused(record: bytes) -> None:
    with pytest.raises(ValueError):
        decode_shape(record)


def test_the_largest_record_can_be_read() -> None:
    shape = Shape()
    for group in range(40):
        holder = {
            chr(97 + group % 26) + "q" * (group // 26) + "z" * 36: {"k" * (25 + n): 1 for n in range(15)}
        }
        absorb(shape, look({"session": holder, "user": holder}), is_known_name)
    shape.drifts = [Drift("x" * MOST_CHARS, "missing-field", "contract", 10**13)] * 100
    assert decode_shape(encode_shape(shape)) == shape
    assert json.loads(encode_shape(shape))["v"] == 1
