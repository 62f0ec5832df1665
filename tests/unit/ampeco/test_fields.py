"""Single values: what is read, and what is refused because it could be misread."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from ampeco.models.fields import (
    Anything,
    Flag,
    FreeObject,
    Id,
    Number,
    OptionalId,
    RequiredTime,
    Text,
    Time,
    Whole,
    read_id,
    read_time,
)
from ampeco.models.payload import Nested, VendorObject

NO_IDS = (0, -1, -7, 2**63 - 1, 0.0, -3.0, "", "0", "-1", "-12", str(2**63 - 1), None)
MOMENT = datetime(2026, 11, 24, 10, tzinfo=UTC)
REFUSED: dict[str, tuple[Any, ...]] = {
    "number": ("", "12,5", "1_0", "NaN", "inf", "1e400", " 1", "1\n", "12.5 kWh", "٣", "9" * 400, True, False,
               float("inf"), 10**400, [], {}, [1], [None]),
    "whole": ("", "12.5", "1_0", "1e3", 5.5, True, float("inf"), [], {}),
    "flag": ("", "yes", "on", "x", 2, -1, 0.5, [], {}),
    "text": (True, float("inf"), [], {}, ["a"]),
    "free": ("", "x", 1, True, [1], [{}]),
    "numbers": ({}, {"0": 1, "2": 3}, 1, "1", [None], ["x"], [1, None]),
    "texts": ({}, {"0": "a"}, "a", [None], [[]]),
    "time": ("", "yesterday", "2026-11-24", 1764000000, True, [], {}),
    "optional_id": (True, 1.5, 1e400, [], {}, [1], {"id": 1}),
}  # fmt: skip
READ: tuple[tuple[str, Any, Any], ...] = (
    ("number", 7, 7.0), ("number", "12.5", 12.5), ("number", "-0.25", -0.25), ("number", "1.5E-5", 1.5e-5),
    ("whole", 7, 7), ("whole", 7.0, 7), ("whole", "7", 7), ("whole", -7, -7),
    ("flag", True, True), ("flag", 0, False), ("flag", "1", True), ("flag", "false", False),
    ("text", "", ""), ("text", 7, "7"), ("text", 1.5, "1.5"),
    ("free", [], None), ("free", {"a": [1]}, {"a": (1,)}),
    ("numbers", [], ()), ("numbers", [1, "2"], (1.0, 2.0)), ("texts", ["a", 1], ("a", "1")),
    ("time", "2026-11-24T11:00:00+01:00", MOMENT), ("time", "0001-01-01T00:00:00Z", datetime.min.replace(tzinfo=UTC)),
    ("optional_id", 7, "7"), ("optional_id", "a-1", "a-1"), ("optional_id", 7.0, "7"),
    ("anything", {"a": [{"b": []}]}, {"a": ({"b": ()},)}),
)  # fmt: skip


class Values(VendorObject):
    number: Number | None = None
    whole: Whole | None = None
    flag: Flag | None = None
    text: Text | None = None
    free: Nested[FreeObject] = None
    numbers: tuple[Number, ...] | None = None
    texts: tuple[Text, ...] | None = None
    time: Time = None
    optional_id: OptionalId = None
    anything: Anything = None


class Required(VendorObject):
    id: Id = "none"
    at: RequiredTime = MOMENT


@pytest.mark.parametrize(("name", "value"), [(name, each) for name, odd in REFUSED.items() for each in odd])
def test_what_could_be_misread_is_refused(name: str, value: Any) -> None:
    with pytest.raises(ValidationError):
        Values.model_validate({name: value})


@pytest.mark.parametrize(("name", "value", "read"), READ)
def test_what_is_meant_is_read(name: str, value: Any, read: Any) -> None:
    found = getattr(Values.model_validate({name: value}), name)
    assert found == read
    assert isinstance(found, type(read))


@pytest.mark.parametrize("name", Values.model_fields)
def test_null_is_none_everywhere(name: str) -> None:
    assert getattr(Values.model_validate({name: None}), name) is None


@pytest.mark.parametrize("value", NO_IDS)
def test_ids_that_mean_none_are_none(value: Any) -> None:
    assert read_id(value) is None
    assert Values.model_validate({"optionalId": value}).optional_id is None
    with pytest.raises(ValidationError):
        Required.model_validate({"id": value})


@pytest.mark.parametrize(
    "value", ["x", "00", "0-1", "-", "-a", "#7", " 7", "007", 1, 2**63, 2**63 - 2, 5.0, "1_0"]
)
def test_any_other_text_or_whole_number_is_an_id(value: Any) -> None:
    text = str(int(value)) if isinstance(value, float) else str(value)
    assert read_id(value) == text
    assert Required.model_validate({"id": value}).id == text
    assert Values.model_validate({"optional_id": value}).optional_id == text


@pytest.mark.parametrize("value", ["", "soon", "2026-11-24", 5, None, {}])
def test_a_required_time_is_a_moment(value: Any) -> None:
    assert read_time(value) is None
    with pytest.raises(ValidationError):
        Required.model_validate({"at": value})


@given(st.floats(allow_nan=False, allow_infinity=False))
@settings(derandomize=True)
def test_numbers_keep_their_value_as_numbers_and_as_text(number: float) -> None:
    assert Values.model_validate({"number": number}).number == number
    assert Values.model_validate({"number": repr(number)}).number == number


@given(st.text() | st.from_regex(r"[-+0-9.eE_, ]{1,8}"))
@settings(derandomize=True)
def test_text_is_a_number_only_when_it_is_plainly_one(text: str) -> None:
    try:
        found = Values.model_validate({"number": text}).number
    except ValidationError:
        return
    assert text.isascii()
    assert set(text) <= set("-+.0123456789eE")
    assert found == float(text)
