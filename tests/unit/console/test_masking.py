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


def test_the_names_of_fields_may_be_personal_too() -> None:
    by_address = {"emails": {"anna@example.org": True}, "contact": {"+49 170 1234567": "x"}}
    assert masked(by_address) == {"emails": {MASK: True}, "contact": {MASK: MASK}}


@pytest.mark.parametrize(
    "body",
    [
        "[" * 500 + ",".join(["0"] * 100_000) + "]" * 500,
        "[" + ",".join(["[0]"] * 100_000) + "]",
        "{" + ",".join(f'"a{n}":{{"b":[{n}]}}' for n in range(50_000)) + "}",
    ],
    ids=["deep", "many", "fields"],
)
@pytest.mark.parametrize("personal", [True, False])
def test_only_the_beginning_of_a_large_body_is_shown(body: str, personal: bool) -> None:
    shown = readable(body.encode(), personal=personal)
    assert "(cut)" in shown
    assert len(shown.splitlines()) < 20_000
    assert max(len(line) - len(line.lstrip()) for line in shown.splitlines()) <= 2 * 101


def test_a_long_value_is_looked_at_once() -> None:
    long = "a@" + "." * 2_000_000 + " "
    began_s = time.process_time()
    assert masked({"x": long}) == {"x": long}
    assert time.process_time() - began_s < 0.5
