"""Personal values are hidden by the names of fields and by their form; the rest stays readable."""

from __future__ import annotations

import json
import time

import pytest

from console.masking import MASK, masked, readable


@pytest.mark.parametrize(
    "name",
    [
        "email", "userEmail", "phone_number", "firstName", "last_name", "lastname", "idTag", "id_tag", "licensePlate",
        "address", "billingAddress", "postCode", "individualPersonalId", "individualName", "ipAddress", "RFID", "vin",
        "cardNumber", "token", "IBAN",
    ],
)  # fmt: skip
def test_personal_fields_are_hidden(name: str) -> None:
    assert masked({name: "x"}) == {name: MASK}
    assert masked({"list": [{name: 7}]}) == {"list": [{name: MASK}]}


@pytest.mark.parametrize(
    "name",
    ["id", "status", "energy", "maxCapacity", "electricity", "template", "userId", "name", "company", "type"],
)
def test_other_fields_stay(name: str) -> None:
    assert masked({name: "x"}) == {name: "x"}


def test_the_name_of_a_person_is_hidden_and_all_within_a_personal_field() -> None:
    assert masked({"user": {"id": 5, "name": "Anna"}}) == {"user": {"id": 5, "name": MASK}}
    assert masked({"address": {"lines": ["a", "b"], "ok": True, "none": None}}) == {
        "address": {"lines": [MASK, MASK], "ok": True, "none": None}
    }


@pytest.mark.parametrize("value", ["anna@example.org", "+49 170 1234567", "DE89370400440532013000"])
def test_what_looks_personal_is_hidden_under_any_name(value: str) -> None:
    assert masked({"x": value}) == {"x": MASK}


def test_a_body_is_shown_as_json_and_one_that_is_not_json_only_as_a_whole() -> None:
    body = json.dumps({"email": "a@b.cd", "n": 1}).encode()
    assert "a@b.cd" not in readable(body, personal=False)
    assert '"n": 1' in readable(body, personal=False)
    assert "a@b.cd" in readable(body, personal=True)
    assert readable(b"a@b.cd\xff", personal=False) == ""
    assert "a@b.cd" in readable(b"a@b.cd\xff", personal=True)
    assert readable(b"[" * 100_000, personal=False) == ""


def test_a_long_value_is_looked_at_once() -> None:
    long = "a@" + "." * 2_000_000 + " "
    began_s = time.process_time()
    assert masked({"x": long}) == {"x": long}
    assert time.process_time() - began_s < 0.5


def test_the_text_of_a_body_is_bounded_however_many_levels_it_has() -> None:
    body = b"[" + b",".join([b"[" * 300 + b"]" * 300] * 1_700) + b"]"
    for personal in (True, False):
        assert 60_000 <= len(readable(body, personal=personal)) < 62_000
