"""Which notification shows what a call has done."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ampeco import reflections
from ampeco.catalogue import KNOWN_TYPES
from ampeco.notifications import parse
from ampeco.operations import OPERATIONS, operation_at
from ampeco.reflections import CHANGED, RULES, entities_of, reflects, rule_of, word_of
from ampeco.wire import build

AVAILABILITY, OCCUPANCY = "charge-point.change-availability", "parking-space.update-occupancy-status"


def test_every_rule_is_about_an_operation_and_types_that_exist():
    for name, rule in RULES.items():
        assert OPERATIONS[name].kind == "action"
        for effect in rule.effects:
            assert set(effect.types) <= KNOWN_TYPES.keys(), name
    for noun, types in CHANGED.items():
        assert any(operation.startswith(f"{noun}.") for operation in OPERATIONS)
        assert set(types) <= KNOWN_TYPES.keys()


@pytest.mark.parametrize("name", sorted(name for name, rule in RULES.items() if rule.member))
def test_a_word_is_one_of_a_set_that_the_contract_names(name: str):
    """So nothing personal is ever kept, and no word is misspelt."""
    (field,) = (field for field in OPERATIONS[name].fields or () if field.name == RULES[name].member)
    assert field.values
    for effect in RULES[name].effects:
        assert set(effect.words or field.values) <= set(map(str, field.values))


@pytest.mark.parametrize(
    ("operation", "word", "type_", "data", "shown"),
    [
        (AVAILABILITY, "Inoperative", "HardwareStatusNotification", {"hardwareStatus": "unavailable"}, True),
        (AVAILABILITY, "Inoperative", "HardwareStatusNotification", {"hardwareStatus": "faulted"}, False),
        (AVAILABILITY, "Operative", "HardwareStatusNotification", {"hardwareStatus": "available"}, True),
        (AVAILABILITY, "Operative", "HardwareStatusNotification", {"hardwareStatus": "unavailable"}, False),
        (AVAILABILITY, "Operative", "HardwareStatusNotification", {"hardwareStatus": None}, False),
        (AVAILABILITY, "", "HardwareStatusNotification", {"hardwareStatus": "unavailable"}, False),
        (AVAILABILITY, "Inoperative", "BootNotification", {"hardwareStatus": "unavailable"}, False),
        (
            OCCUPANCY,
            "occupied",
            "parkingSpace.occupancyStatus.changed",
            {"occupancyStatus": "occupied"},
            True,
        ),
        (
            OCCUPANCY,
            "occupied",
            "parkingSpace.occupancyStatus.changed",
            {"occupancy_status": "available"},
            False,
        ),
        ("reservation.cancel", "", "reservation.changed", {"status": "canceled"}, True),
        ("reservation.cancel", "", "reservation.changed", {"status": "done"}, False),
        ("user.change-status", "disabled", "UserChangedNotification", {"user": {"status": "disabled"}}, True),
        ("user.change-status", "disabled", "UserChangedNotification", {"user": ["odd"]}, False),
        ("charge-point.trigger-message", "BootNotification", "BootNotification", {}, True),
        ("charge-point.trigger-message", "Heartbeat", "BootNotification", {}, False),
        ("charge-point.reset", "", "BootNotification", {}, True),
        ("resources.users.update", "", "UserChangedNotification", {"action": "updated"}, True),
        ("resources.users.update", "", "UserChangedNotification", {"action": "deleted"}, False),
        ("resources.charge-points.evses.connectors.create", "", "evse.changed", {"action": "updated"}, True),
        ("charge-point.clear-cache", "", "HardwareStatusNotification", {}, False),
        ("POST /public-api/actions/newer/v1.0/1", "", "BootNotification", {}, False),
    ],
)
def test_an_effect_is_recognized(operation: str, word: str, type_: str, data: dict[str, Any], shown: bool):
    assert reflects(operation, word, type_, data) is shown


def test_a_call_is_about_the_entities_in_its_path():
    stop = build(OPERATIONS["charge-point.stop"], {"chargePoint": 12, "session": "4711"}, {})
    assert entities_of(stop.operation, stop.path) == ("charge-point:12", "session:4711")
    create = build(OPERATIONS["resources.users.create"], {}, {})
    assert entities_of(create.operation, create.path) == ()
    newer = operation_at("POST", "/public-api/actions/session/v9.0/12/move")
    assert entities_of(newer, "/public-api/actions/session/v9.0/12/move") == ()
    assert entities_of(stop.operation, stop.path.replace("4711", "9" * 500)) == ("charge-point:12",)


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({"type": "Inoperative", "evseNetworkId": 1}, "Inoperative"),
        ({"type": 7}, ""),
        ({}, ""),
        ({"type": "x" * 500}, "x" * 60),
        (None, ""),
    ],
)
def test_the_word_of_a_call_is_short(body: Any, word: str):
    assert word_of(build(OPERATIONS[AVAILABILITY], {"chargePoint": 1}, body)) == word


def test_a_free_text_is_no_word():
    request = build(OPERATIONS["user.add-balance"], {"user": 1}, {"amount": 5, "reason": "for Jane Doe"})
    assert word_of(request) == ""


def test_keys_are_those_of_notifications():
    body = {
        "notification": "HardwareStatusNotification",
        "chargePointId": 12,
        "timestamp": "2026-11-29T08:00:00Z",
    }
    key = parse(json.dumps({**body, "hardwareStatus": "available"}).encode()).key
    request = build(OPERATIONS[AVAILABILITY], {"chargePoint": 12}, {"type": "Operative"})
    assert entities_of(request.operation, request.path) == (key,)


def test_writes_of_what_announces_nothing_have_no_rule():
    assert rule_of("resources.users.notes.create") is None
    assert rule_of("resources.users.read") is None
    assert rule_of("") is None


def test_the_table_names_every_rule():
    table = reflections.markdown_table()
    assert table.count("\n") == 2 + len(RULES) + len(CHANGED)
    assert (
        "`charge-point.change-availability` | `HardwareStatusNotification` whose `hardwareStatus` is" in table
    )
