"""A payload of which fields do not fit: what can still be read of it, and what it says of the rest."""

from __future__ import annotations

import copy
import json
from decimal import Decimal
from typing import Any, ClassVar

import pytest
from pydantic import Field, ValidationError, field_validator, model_validator

from ampeco.errors import FieldMisfit
from ampeco.models.fields import Anything, Flag, FreeObject, Id, Number, OptionalId, RequiredTime, Text, Time
from ampeco.models.payload import Nested, Payload, VendorObject, keep_body
from ampeco.models.reading import lacks_id, read_payload


class Price(VendorObject):
    with_tax: Number
    without_tax: Number | None = None


class Period(VendorObject):
    id: Id
    energy: Number | None = None
    price: Price | None = None


class Session(VendorObject):
    id: Id
    status: Text
    energy: Number
    started_at: RequiredTime
    last_updated_at: Time = None
    user_id: OptionalId = None
    eligible: Flag | None = None
    power: Number = 0.0
    total_amount: Nested[Price] = None
    charging_periods: tuple[Period, ...] | None = None
    tags: tuple[Text, ...] | None = None
    external: Nested[FreeObject] = None
    anything: Anything = None


class Update(Payload):
    notification_types: ClassVar[tuple[str, ...]] = ("update",)

    session: Session
    action: Text | None = Field(default=None, alias="theAction")


class Loose(Payload):
    notification_types: ClassVar[tuple[str, ...]] = ("loose",)

    session: Session

    @model_validator(mode="before")
    @classmethod
    def _bring_together(cls, data: Any) -> Any:
        return data if "session" in data else {"session": data}


FITS: dict[str, Any] = {"id": 4711, "status": "active", "energy": 1.5, "startedAt": "2026-11-24T10:00:00Z"}


def read(**fields: Any) -> tuple[Update, tuple[str, ...]]:
    return read_payload(Update, {"notification": "update", "session": {**FITS, **fields}})


def bound(model: type[Payload], text: str) -> Any:
    payload, _ = read_payload(model, json.loads(text))
    keep_body(payload, text.encode())
    return payload


def test_what_fits_has_no_misfits() -> None:
    payload, misfits = read(new={"a": [1]})
    assert misfits == ()
    assert type(payload) is Update
    assert payload == Update.model_validate(
        {"notification": "update", "session": {**FITS, "new": {"a": [1]}}}
    )


@pytest.mark.parametrize(
    ("name", "value", "misfits"),
    [
        ("lastUpdatedAt", "", ("session.lastUpdatedAt",)),
        ("userId", {"id": 1}, ("session.userId",)),
        ("eligible", "", ("session.eligible",)),
        ("tags", [None], ("session.tags",)),
        ("tags", {"0": "a", "2": "b"}, ("session.tags",)),
        ("tags", "a", ("session.tags",)),
        ("chargingPeriods", {}, ("session.chargingPeriods",)),
        ("chargingPeriods", {"1": {"id": 5}}, ("session.chargingPeriods",)),
        ("chargingPeriods", {"id": 5}, ("session.chargingPeriods",)),
        ("chargingPeriods", [None], ("session.chargingPeriods",)),
        ("chargingPeriods", [{"id": 5}, 6], ("session.chargingPeriods",)),
        ("totalAmount", "12.50", ("session.totalAmount",)),
        ("totalAmount", [{"withTax": 1}], ("session.totalAmount",)),
        ("external", "x", ("session.external",)),
    ],
)
def test_an_optional_field_that_does_not_fit_is_none(name: str, value: Any, misfits: tuple[str, ...]) -> None:
    payload, found = read(**{name: value})
    assert found == misfits
    attribute = next(key for key, field in Session.model_fields.items() if field.alias == name)
    assert getattr(payload.session, attribute) is None
    assert (payload.session.id, payload.session.status, payload.session.energy) == ("4711", "active", 1.5)


def test_a_misfit_after_a_nested_object_has_the_name_that_its_own_object_spelled() -> None:
    """The nested object is in camelCase, what is around it is not."""
    _, misfits = read(totalAmount={"withTax": ""}, tags=["a"], charging_periods=[{"id": None}, 6], user_id={})
    assert misfits == ("session.user_id", "session.totalAmount.withTax", "session.charging_periods")


@pytest.mark.parametrize("value", ["", "12,5", "NaN", "1_0", True, None, [], {}, float("inf")])
def test_reading_a_required_field_that_does_not_fit_raises(value: Any) -> None:
    payload, misfits = read(energy=value)
    assert misfits == ("session.energy",)
    with pytest.raises(FieldMisfit) as raised:
        _ = payload.session.energy
    assert raised.value.field == "session.energy"
    assert payload.session.status == "active"
    assert "energy" not in payload.session.model_fields_set
    assert "energy" not in repr(payload.session)
    with pytest.raises(FieldMisfit):
        getattr(payload.session, "energy", None)


def test_a_required_field_that_is_missing_raises_too() -> None:
    payload, misfits = read_payload(Update, {"session": {"id": 1}})
    assert misfits == ("session.status", "session.energy", "session.startedAt")
    assert payload.session.id == "1"
    with pytest.raises(FieldMisfit, match=r"^session\.startedAt: "):
        _ = payload.session.started_at


def test_a_field_that_cannot_be_none_raises_instead_of_its_default() -> None:
    payload, misfits = read(power="much")
    assert misfits == ("session.power",)
    with pytest.raises(FieldMisfit):
        _ = payload.session.power


def test_objects_in_objects_and_in_arrays_keep_what_fits() -> None:
    periods = [{"id": 1, "energy": "x", "price": {"withTax": ""}}, {"id": 0, "energy": 2}, {"id": 3}]
    payload, misfits = read(chargingPeriods=periods, totalAmount={"withoutTax": 3})
    assert misfits == (
        "session.totalAmount.withTax",
        "session.chargingPeriods[].energy",
        "session.chargingPeriods[].price.withTax",
        "session.chargingPeriods[].id",
    )
    first, second, third = payload.session.charging_periods or ()
    assert (first.id, first.energy, second.energy, third.id) == ("1", None, 2.0, "3")
    assert first.price is not None
    for of, name in ((first.price, "with_tax"), (second, "id"), (payload.session.total_amount, "with_tax")):
        with pytest.raises(FieldMisfit):
            getattr(of, name)
    assert payload.session.total_amount is not None
    assert payload.session.total_amount.without_tax == 3.0


def test_either_spelling_and_unknown_fields_survive_a_misfit() -> None:
    fields = {"started_at": "2026-11-24T10:00:00Z", "charging_periods": "x", "brandNew": {"deep": [1]}}
    payload, misfits = read_payload(
        Update, {"session": {"id": 1, "status": 5, "energy": 1, **fields}, "theAction": 7}
    )
    assert misfits == ("session.charging_periods",)  # as it was sent
    assert (payload.action, payload.session.status, payload.session.started_at.year) == ("7", "5", 2026)
    assert payload.session.model_extra == {"brandNew": {"deep": (1,)}}


def test_a_payload_with_misfits_is_written_copied_and_compared_like_any_other() -> None:
    payload, _ = read(energy="", tags=[None])
    assert payload.model_dump(mode="json")["session"]["status"] == "active"
    assert "energy" not in json.loads(payload.model_dump_json())["session"]
    assert copy.deepcopy(payload) == payload == read(energy="", tags=[None])[0]
    assert payload != read(tags=[None])[0]
    with pytest.raises(FieldMisfit, match="energy"):
        _ = payload.session.model_copy().energy


def test_a_name_that_is_no_field_is_an_attribute_error_as_ever() -> None:
    payload, _ = read(energy="", _unset={"x": 1})
    assert not hasattr(payload.session, "no_such_field")
    with pytest.raises(FieldMisfit, match=r"session\.energy"):
        _ = payload.session.energy


@pytest.mark.parametrize(
    ("data", "lacks"),
    [
        ({"session": {"id": 0}}, True),
        ({"session": {"status": "active"}}, True),
        ({"session": "4711"}, True),
        ({"session": []}, True),
        ({}, True),
        ({"session": {"id": 1}}, False),
        ({"session": {"id": 1, "chargingPeriods": [{"id": 0}]}}, False),
    ],
)
def test_whether_the_id_of_what_it_is_about_fits(data: dict[str, Any], lacks: bool) -> None:
    assert lacks_id(read_payload(Update, data)[0]) is lacks


@pytest.mark.parametrize("data", [[], "x", None, 5])
def test_what_is_no_object_is_refused(data: Any) -> None:
    with pytest.raises(ValidationError):
        read_payload(Update, data)


def test_a_payload_that_brings_its_data_together_does_so_before_its_fields_are_read() -> None:
    flat, misfits = read_payload(Loose, {**FITS, "energy": "", "notification": "loose"})
    assert misfits == ("session.energy",)
    assert flat.session.status == "active"


def test_a_model_whose_own_validators_see_more_than_a_field_is_read_as_a_whole() -> None:
    class Checked(Update):
        @model_validator(mode="after")
        def _check(self) -> Checked:
            return self

    class Shouting(Update):
        @field_validator("action")
        @classmethod
        def _shout(cls, value: str | None) -> str | None:
            return value and value.upper()

    for model in (Checked, Shouting):
        assert read_payload(model, {"session": FITS, "theAction": "x"})[1] == ()
        with pytest.raises(ValidationError):
            read_payload(model, {"session": {**FITS, "energy": ""}})


@pytest.mark.parametrize(
    ("text", "digits"),
    [
        ("12.5", "12.5"),
        ('"12.50"', "12.50"),
        ('"0.10000000000000000000000001"', "0.10000000000000000000000001"),
        ("123456789012345678.123456789", "123456789012345678.123456789"),
        ("7", "7"),
        ("1e400", "1E+400"),
        ('"-3"', "-3"),
    ],
)
def test_exact_has_all_the_digits_that_were_sent(text: str, digits: str) -> None:
    payload = bound(
        Update, f'{{"session": {{"id": 1, "energy": {text}, "totalAmount": {{"withTax": {text}}}}}}}'
    )
    for path in ("session.energy", "session.total_amount.with_tax", "session.totalAmount.withTax"):
        assert str(payload.exact(path)) == digits
        assert isinstance(payload.exact(path), Decimal)


@pytest.mark.parametrize(
    "text", ['""', '"12,5"', '"1_0"', "true", "[1]", "{}", '"NaN"', "1e99999999999999999999"]
)
def test_exact_refuses_what_is_no_number(text: str) -> None:
    payload = bound(Update, f'{{"session": {{"id": 1, "energy": {text}}}}}')
    with pytest.raises(FieldMisfit, match=r"session\.energy"):
        payload.exact("session.energy")


def test_a_number_beyond_all_numbers_spoils_no_other_field() -> None:
    body = '{"session": {"id": 1, "energy": 1.50, "other": -1e99999999999999999999}}'
    assert str(bound(Update, body).exact("session.energy")) == "1.50"


def test_what_was_sent_for_a_field_can_be_read_as_it_was_sent() -> None:
    payload = bound(
        Update,
        '{"session": {"id": 7, "energy": "12,5", "charging_periods": [{"id": 1, "energy": [true]}],'
        ' "brandNew": {"a": [1]}}}',
    )
    assert payload.raw_value("session.energy") == "12,5"
    assert payload.raw_value("session.chargingPeriods.0.energy") == (True,)
    assert payload.raw_value("session.charging_periods.0.energy") == (True,)
    assert payload.raw_value("session.brandNew.a.0") == 1
    assert payload.raw_value("session.id") == 7
    for nowhere in ("session.no.such", "session.charging_periods.9", "session.energy.x", "else"):
        assert payload.raw_value(nowhere) is None
        assert payload.exact(nowhere) is None
    with pytest.raises(TypeError):
        payload.raw_value("session")["id"] = 8


def test_the_path_follows_the_payload_where_the_bytes_are_wrapped_or_flat() -> None:
    inside = '{"notification": "loose", "id": 7, "status": "x", "energy": "1.50"}'
    for text in (inside, f'{{"data": {inside}}}'):
        payload = Loose.model_validate(json.loads(inside) | {"energy": 1.5, "startedAt": FITS["startedAt"]})
        keep_body(payload, text.encode())
        assert str(payload.exact("session.energy")) == "1.50"


def test_a_payload_without_its_bytes_says_so() -> None:
    with pytest.raises(LookupError, match="Event"):
        read()[0].exact("session.energy")
    with pytest.raises(LookupError):
        read()[0].raw_value("session.energy")
