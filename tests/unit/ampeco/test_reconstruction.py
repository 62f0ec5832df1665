"""Notifications made from resources: they fit their models, and say no more than a resource can know."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from ampeco.listed_types import LISTED_TYPES
from ampeco.notifications import parse
from ampeco.reconstruction import SOURCES, reconstructed
from tests.meta.repository import ROOT

SINCE = datetime(2026, 11, 24, 10, tzinfo=UTC)
AT = "2026-11-24T10:05:00Z"
RESOURCES: dict[str, dict[str, Any]] = {
    "SessionUpdateNotification": {
        "id": 4711,
        "chargePointId": 12,
        "evseId": 121,
        "status": "active",
        "startedAt": "2026-11-24T09:00:00Z",
        "energy": 12_000,
        "energyConsumption": {"total": 12_000, "grid": 12_000},
        "lastUpdatedAt": AT,
    },
    "UserChangedNotification": {"id": 5, "firstName": "Erika", "lastUpdatedAt": AT},
    "cdr.received": {"id": 9, "roamingId": "NL-1", "receivedAt": AT},
    "chargePoint.changed": {"id": 12, "name": "Gate", "lastUpdatedAt": AT},
    "evse.changed": {"id": 121, "lastUpdatedAt": AT},
    "idTag.changed": {"id": 3, "lastUpdatedAt": AT},
    "partner.changed": {"id": "8", "lastUpdatedAt": AT},
    "transaction.changed": {"id": 77, "lastUpdatedAt": AT},
}
KEYS = {
    "SessionUpdateNotification": "session:4711",
    "UserChangedNotification": "user:5",
    "cdr.received": "cdr:NL-1",
    "chargePoint.changed": "charge-point:12",
    "evse.changed": "evse:121",
    "idTag.changed": "id-tag:3",
    "partner.changed": "partner:8",
    "transaction.changed": "transaction:77",
}


CONTRACT = json.loads((ROOT / "ampeco" / "facts" / "contract.json").read_text())


def resolved(shape: Any) -> Any:
    """A shape of the contract, or the shared one that it refers to."""
    return CONTRACT["shared"][shape.removeprefix("@")] if isinstance(shape, str) else shape


def made(name: str, **changes: Any) -> dict[str, Any]:
    body = reconstructed(name, {**RESOURCES[name], **changes}, SINCE)
    assert body is not None
    document: dict[str, Any] = json.loads(body)
    return document


def test_the_setting_names_what_can_be_made() -> None:
    assert {*SOURCES} == {*LISTED_TYPES} == {*RESOURCES}


def test_no_start_stop_status_or_meter_value_is_ever_made() -> None:
    assert not [name for name in SOURCES if "StartStop" in name or "start.stop" in name]
    assert not [name for name in SOURCES if "Status" in name or "Meter" in name]


@pytest.mark.parametrize("name", LISTED_TYPES)
def test_what_is_made_is_read_like_what_ampeco_sends(name: str) -> None:
    body = reconstructed(name, RESOURCES[name], SINCE)
    assert body is not None
    found = parse(body)
    assert (found.type, found.key, found.misfits) == (name, KEYS[name], ())
    assert found.payload is not None
    assert found.occurred_at == datetime(2026, 11, 24, 10, 5, tzinfo=UTC)


@pytest.mark.parametrize("name", LISTED_TYPES)
def test_the_contract_has_the_listing_and_its_filters(name: str) -> None:
    source = SOURCES[name]
    listing = CONTRACT["operations"][f"GET {source.listing.path}"]
    filters = resolved(listing["parameters"]["query filter"])["fields"]
    window = dict(source.window(SINCE, SINCE))
    assert set(window.values()) == {"2026-11-24T10:00:00Z"}
    chosen = {parameter.removeprefix("filter[").removesuffix("]") for parameter in window}
    assert {each[-5:] for each in chosen} == {"After", "efore"}
    assert {filters.get(each) for each in chosen} == {"string:date-time"}


@pytest.mark.parametrize("name", LISTED_TYPES)
def test_what_is_made_has_the_fields_that_the_contract_publishes(name: str) -> None:
    """All that it requires; and of what it does not name, nothing."""
    published = CONTRACT["callbacks"][name]["payload"]["fields"]
    required = {field.split()[0] for field in published if "*" in field.split()}
    document = made(name)
    assert required <= document.keys() <= {field.split()[0] for field in published}
    for field, shape in published.items():
        if isinstance(shape, dict) and "enum" in shape:
            assert document[field.split()[0]] in shape["enum"]


@pytest.mark.parametrize(
    ("name", "field"),
    [("chargePoint.changed", "chargePointId"), ("idTag.changed", "idTagsId"), ("evse.changed", "evseId")],
)
def test_what_names_only_an_id_names_nothing_else(name: str, field: str) -> None:
    assert made(name).keys() == {"notification", field, "action", "lastUpdatedAt"}


def test_what_was_created_since_counts_as_created() -> None:
    assert made("chargePoint.changed", createdAt="2026-11-24T10:01:00Z")["action"] == "created"
    assert made("chargePoint.changed", createdAt="2026-11-24T09:59:00Z")["action"] == "updated"
    assert made("UserChangedNotification")["action"] == "updated"


@pytest.mark.parametrize("name", LISTED_TYPES)
@pytest.mark.parametrize("document", [None, [], "x", {}, {"id": 0, "roamingId": ""}, {"id": [1]}])
def test_an_entry_without_identity_makes_nothing(name: str, document: object) -> None:
    assert reconstructed(name, document, SINCE) is None


def test_an_id_of_thousands_of_digits_or_with_leading_zeros_stays_text() -> None:
    for odd in ("9" * 5_000, "007"):
        made = reconstructed("evse.changed", {"id": odd}, SINCE)
        assert made is not None
        assert json.loads(made)["evseId"] == odd
