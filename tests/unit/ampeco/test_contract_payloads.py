"""Bodies that the contract's schemas describe are read whole: key, own time, every field."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from ampeco.catalogue import KNOWN_TYPES, SUBSCRIBABLE, UNCONFIRMED_TYPES, spellings
from ampeco.errors import FieldMisfit
from ampeco.models.payload import Payload, VendorObject
from ampeco.models.reading import read_payload
from ampeco.notifications import DEFAULT_RULES, MODELS, CdrReceived, SessionStartStop, parse
from tests.contract.bodies import (
    AT,
    CALLBACKS,
    CONTRACT,
    ID,
    fields_of,
    full,
    items_of,
    minimal,
    payload_schema,
)

MOMENT = datetime(2026, 11, 24, 3, 50, 0, 123456, tzinfo=UTC)
KEYS = {
    "AuthorizationNotification": "authorization",
    "authorization.changed": "authorization",
    "evse.changed": "evse",
    "CircuitConsumptionNotification": "circuit",
    "circuit.changed": "circuit",
    "LocationChangedNotification": "location",
    "SessionMeterValuesNotification": "session",
    "SessionStartStopNotification": "session",
    "session.start.stop.notification": "session",
    "SessionUpdateNotification": "session",
    "UserChangedNotification": "user",
    "user.invoiceDetails.changed": "user",
    "user.paymentMethod.changed": "user",
    "user.subscriptionChanged": "user",
    "user.subscription.changed": "user",
    "userBalance.changed": "user",
    "PartnerChangedNotification": "partner",
    "partner.changed": "partner",
    "partnerInvite.changed": "partner-invite",
    "SubOperatorChangedNotification": "sub-operator",
    "TariffChangedNotification": "tariff",
    "reservation.changed": "reservation",
    "idTag.changed": "id-tag",
    "roamingPlatform.changed": "roaming-platform",
    "parkingSpace.occupancyStatus.changed": "parking-space",
    "transaction.changed": "transaction",
    "settlementReport.created": "settlement-report",
    "cdr.received": "cdr",
    "installerJob.changed": "installer-job",
}
"""Entity of the key; every other type is about a charge point."""

# The contract gives these no time at all, or requires none and the minimal body has none.
UNDATED = {"PartnerChangedNotification", "chargePoint.dataTransferReceived"}
UNDATED_MINIMAL = UNDATED | {
    "BootNotification",
    "ChargePointSyncConfigurationNotification",
    "CircuitConsumptionNotification",
    "SessionMeterValuesNotification",
    "SessionUpdateNotification",
    "idTag.changed",
    "transaction.changed",
}
# The contract requires neither an id at the top nor one in the object that is carried.
UNKEYED_MINIMAL = {
    "BootNotification",
    "CircuitConsumptionNotification",
    "LocationChangedNotification",
    "PartnerChangedNotification",
    "SubOperatorChangedNotification",
    "UserChangedNotification",
}

every_callback = pytest.mark.parametrize("name", CALLBACKS)


def attributes(model: type[VendorObject]) -> dict[str, str]:
    return {field.alias or name: name for name, field in model.model_fields.items()}


def missing(found: VendorObject, of: dict[str, Any], where: str) -> Iterator[str]:
    """Documented fields without an attribute or without a value."""
    if found.model_extra:
        yield from (f"{where}.{name}" for name in found.model_extra)
    spelled = attributes(type(found))
    for wire, field in fields_of(of).items():
        place = f"{where}.{wire}"
        camel = re.sub("_([a-z])", lambda hit: hit[1].upper(), wire)
        attribute = spelled.get(wire) or spelled.get(camel)
        value = getattr(found, attribute) if attribute else None
        if value is None:
            yield place
        elif isinstance(value, VendorObject):
            yield from missing(value, field, place)
        elif isinstance(value, tuple) and isinstance(value[0], VendorObject):
            yield from missing(value[0], items_of(field), place)


def test_every_callback_of_the_contract_has_a_model() -> None:
    assert len(CALLBACKS) == 39
    confirmed = {name for name, known in KNOWN_TYPES.items() if known.confidence == "confirmed"}
    assert confirmed == CALLBACKS.keys()
    assert frozenset(CONTRACT["subscribable"]) == SUBSCRIBABLE
    assert {name: known.deprecated for name, known in KNOWN_TYPES.items() if name in CALLBACKS} == {
        name: callback["deprecated"] for name, callback in CALLBACKS.items()
    }


@every_callback
def test_a_full_body_is_read_whole(name: str) -> None:
    found = parse(json.dumps(full(name)).encode())
    assert found.misfits == ()
    assert found.key == f"{KEYS.get(name, 'charge-point')}:{ID}"
    assert found.occurred_at == (None if name in UNDATED else MOMENT)
    assert found.payload is not None
    assert list(missing(found.payload, payload_schema(name), name)) == []


@every_callback
def test_a_minimal_body_is_read_whole(name: str) -> None:
    body = minimal(name)
    body["notification"] = name
    found = parse(json.dumps(body).encode())
    assert found.misfits == ()
    assert isinstance(found.payload, Payload)
    assert found.key == (None if name in UNKEYED_MINIMAL else f"{KEYS.get(name, 'charge-point')}:{ID}")
    assert found.occurred_at == (None if name in UNDATED_MINIMAL else MOMENT)


@every_callback
def test_what_the_contract_requires_is_required_by_the_model(name: str) -> None:
    """So a type checker knows that it is there."""
    model, of = MODELS[name], payload_schema(name)
    if len(model.notification_types) > 1:
        return  # has fields of several types
    required = {wire for part in (of, *of.get("allOf", ())) for wire in part.get("required", ())}
    fields = {field.alias or attribute: field for attribute, field in model.model_fields.items()}
    for wire, field in fields_of(of).items():
        nullable = isinstance(field.get("type"), list)
        if wire != "notification":
            assert fields[wire].is_required() == (wire in required and not nullable) or wire == "chargePoint"


@every_callback
def test_the_preferred_model_reads_the_deprecated_type(name: str) -> None:
    """Subscribing to one spelling of a fact is enough, whichever the tenant has."""
    preferred = spellings(name)[0]
    model = MODELS[preferred]
    assert set(spellings(name)) == set(model.notification_types)
    payload, misfits = read_payload(model, full(name))
    assert (payload.notification, misfits) == (name, ())
    required = [each for each, field in model.model_fields.items() if field.is_required()]
    assert all(getattr(payload, each) is not None for each in required)


def test_pairs_are_known_from_either_side() -> None:
    pair = ("session.start.stop.notification", "SessionStartStopNotification")
    assert spellings(pair[0]) == spellings(pair[1]) == pair
    assert spellings("evse.changed") == ("evse.changed",)
    assert spellings("never.seen") == ("never.seen",)


def test_a_start_or_stop_reads_the_same_in_every_shape() -> None:
    """Flat in both spellings, nested as a session, in snake_case, and wrapped."""
    flat = {
        "notification": "session.start.stop.notification",
        "sessionId": 4711,
        "chargePointId": 12,
        "evseId": 34,
        "action": "stop",
        "startedAtTimestamp": AT,
        "stoppedAtTimestamp": AT,
        "energyConsumed": 12500.0,
        "meterStart": 1,
        "meterStop": 2,
        "lastUpdatedAt": AT,
    }
    session = {"id": "4711", "chargePointId": 12, "evseId": 34, "startedAt": AT, "stoppedAt": AT}
    session |= {"energy": 12500, "meterStart": 1, "meterStop": 2, "lastUpdatedAt": AT}
    without_action = {name: value for name, value in flat.items() if name != "action"}
    shapes: list[dict[str, Any]] = [
        flat,
        without_action | {"notification": "SessionStartStopNotification"},
        {"notification": "SessionStartStopNotification", "session": session},
        {"notification": "session.start.stop.notification", **session},
        {re.sub("([A-Z])", r"_\1", name).lower(): value for name, value in flat.items()},
        {"data": flat},
    ]
    seen = set()
    for shape in shapes:
        found = parse(json.dumps(shape).encode())
        payload = found.payload
        assert isinstance(payload, SessionStartStop)
        assert (found.key, found.occurred_at, found.misfits) == ("session:4711", MOMENT, ())
        fields = set(SessionStartStop.model_fields) - {"notification"}
        seen.add(repr({field: getattr(payload, field) for field in sorted(fields)}))
    assert len(seen) == 1
    assert "'energy_consumed_wh': 12500.0" in seen.pop()


def test_a_start_has_no_time_of_the_stop() -> None:
    body = {"notification": "SessionStartStopNotification", "session": {"id": 1, "startedAt": AT}}
    payload = parse(json.dumps(body).encode()).payload
    assert isinstance(payload, SessionStartStop)
    assert (payload.action, payload.stopped_at) == ("start", None)


def test_a_record_is_found_by_its_roaming_id() -> None:
    payload = parse(
        json.dumps({"notification": "cdr.received", "id": "NL-1", "createdAt": AT}).encode()
    ).payload
    assert isinstance(payload, CdrReceived)
    assert payload.roaming_id == "NL-1"
    listing = CONTRACT["operations"]["GET /public-api/resources/cdrs/v2.0"]
    assert "roamingId" in listing["parameters"]["query filter"]["fields"]


# --- one rule for ids

NONE = (0, -1, "0", "-7", 2**63 - 1, str(2**63 - 1), "", None)


def shapes_of(name: str, path: str, identity: Any) -> Iterator[dict[str, Any]]:
    """A body with an id at that place: as it is, in snake_case, and wrapped."""
    for spelled in (path, re.sub("([A-Z])", r"_\1", path).lower()):
        body: Any = identity
        for step in reversed(spelled.split(".")):
            body = {step: body}
        yield {"notification": name, **body}
        yield {"data": {"notification": name, **body}}


def typed_id(payload: Any, model: type[VendorObject], paths: tuple[str, ...]) -> str | None:
    """The id in the attribute that a handler would read."""
    spelled = attributes(model)
    target = next(path for path in paths if path.partition(".")[0] in spelled)
    here = payload
    for step in target.split("."):
        known = attributes(type(here))
        try:
            here = getattr(here, known[step])
        except FieldMisfit:
            return None
        if here is None:
            return None
    assert isinstance(here, str)
    return here


def pairs(name: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each entity of a type that has an attribute, and all paths of its id."""
    spelled = attributes(MODELS[name])
    for entity, paths in {**KNOWN_TYPES, **UNCONFIRMED_TYPES}[name].entities:
        if any(path.partition(".")[0] in spelled for path in paths):
            yield entity, paths


@pytest.mark.parametrize("name", MODELS)
def test_model_and_key_read_an_id_by_one_rule(name: str) -> None:
    """A typed id is there exactly where the key is, and is the same."""
    walked = 0
    for entity, paths in pairs(name):
        for path in paths:
            for identity in (77, "77", *NONE):
                for body in shapes_of(name, path, identity):
                    found = parse(json.dumps(body).encode())
                    payload, _ = read_payload(MODELS[name], found.data)
                    typed = typed_id(payload, MODELS[name], paths)
                    assert typed == (None if identity in NONE else "77"), body
                    assert found.key == (None if typed is None else f"{entity}:{typed}"), body
                    walked += 1
    assert walked


@pytest.mark.parametrize("none", NONE)
def test_an_id_that_means_none_leaves_the_key_to_the_next_entity(none: Any) -> None:
    body = {"notification": "SessionMeterValuesNotification", "sessionId": none, "chargePointId": 12}
    assert DEFAULT_RULES.key(body["notification"], body) == "charge-point:12"
    body = {"notification": "session.start.stop.notification", "session": {"id": none, "chargePointId": 12}}
    assert DEFAULT_RULES.key(str(body["notification"]), body) == "charge-point:12"
