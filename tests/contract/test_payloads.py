"""Bodies made from the vendor's contract reach typed handlers whole, through a real endpoint and a real log.

Nothing here is derived from our models: the schemas come from `contract.json`; which entity a type is about, and
which field is its own time, is written down below from the contract's field names.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import BaseModel

from ampeco.notifications import MODELS
from eventlog.connection.embedded import EmbeddedServer
from handlers import Context, Event, handler
from tests.contract.arrival import arrived
from tests.contract.bodies import CALLBACKS, bodies, fields_of, items_of, merged, payload_schema, validator

SEED = 20261128
EACH = 200

ENTITIES: Mapping[str, tuple[str, str]] = {
    "AuthorizationNotification": ("authorization", "authorizationId"),
    "authorization.changed": ("authorization", "authorizationId"),
    "BootNotification": ("charge-point", "chargePointId"),
    "ChargePointChangedNotification": ("charge-point", "chargePoint.id"),
    "chargePoint.changed": ("charge-point", "chargePointId"),
    "evse.changed": ("evse", "evseId"),
    "ChargePointSyncConfigurationNotification": ("charge-point", "chargePointId"),
    "CircuitConsumptionNotification": ("circuit", "circuitId"),
    "circuit.changed": ("circuit", "circuitId"),
    "DiagnosticsStatusNotification": ("charge-point", "chargePointId"),
    "HardwareStatusNotification": ("charge-point", "chargePointId"),
    "LocationChangedNotification": ("location", "location.id"),
    "NetworkStatusNotification": ("charge-point", "chargePointId"),
    "SecurityEventNotification": ("charge-point", "chargePointId"),
    "SessionMeterValuesNotification": ("session", "sessionId"),
    "SessionStartStopNotification": ("session", "sessionId"),
    "session.start.stop.notification": ("session", "sessionId"),
    "SessionUpdateNotification": ("session", "session.id"),
    "UserChangedNotification": ("user", "user.id"),
    "user.invoiceDetails.changed": ("user", "userId"),
    "user.paymentMethod.changed": ("user", "userId"),
    "user.subscriptionChanged": ("user", "userId"),
    "user.subscription.changed": ("user", "userId"),
    "userBalance.changed": ("user", "userId"),
    "PartnerChangedNotification": ("partner", "user.id"),
    "partner.changed": ("partner", "partnerId"),
    "partnerInvite.changed": ("partner-invite", "partnerInviteId"),
    "SubOperatorChangedNotification": ("sub-operator", "subOperator.id"),
    "TariffChangedNotification": ("tariff", "tariff.id"),
    "reservation.changed": ("reservation", "reservationId"),
    "idTag.changed": ("id-tag", "idTagsId"),
    "roamingPlatform.changed": ("roaming-platform", "roamingPlatformId"),
    "parkingSpace.occupancyStatus.changed": ("parking-space", "parkingSpaceId"),
    "transaction.changed": ("transaction", "transactionId"),
    "settlementReport.created": ("settlement-report", "id"),
    "chargePoint.dataTransferReceived": ("charge-point", "chargePointId"),
    "cdr.received": ("cdr", "id"),
    "chargingProfile.applied": ("charge-point", "chargePointId"),
    "installerJob.changed": ("installer-job", "id"),
}
"""Type -> the entity it is about, and where the body names its id."""

OWN_TIMES = ("lastUpdatedAt", "timestamp", "appliedAt", "createdAt")
"""Names under which a body says when it happened; the first one there is the most telling."""
OWN_TIMES_WITHIN = {
    "CircuitConsumptionNotification": ("currentConsumption", "lastUpdatedAt"),
    "ChargePointSyncConfigurationNotification": ("configuration", "lastUpdatedAt"),
    "SessionMeterValuesNotification": ("meterValues", "timestamp"),
}


def test_every_callback_of_the_contract_is_examined() -> None:
    assert set(ENTITIES) == set(CALLBACKS)


def test_every_body_of_the_contract_reaches_its_typed_handler_whole(
    valkey: EmbeddedServer, prefix: str
) -> None:
    made = {name: list(bodies(name, EACH, seed=SEED)) for name in CALLBACKS}
    for name, several in made.items():
        assert [error.message for body in several for error in validator(name).iter_errors(body)] == []
    sent = {json.dumps(body): body for several in made.values() for body in several}
    assert len(sent) > EACH * len(CALLBACKS) * 0.9

    nameless = sum(
        body["notification"] == "PartnerChangedNotification" and "id" not in body["user"]
        for body in sent.values()
    )
    faults: Counter[str] = Counter()
    seen: Counter[str] = Counter()

    def judge(event: Event[Any], model: type[Any]) -> None:
        if MODELS[event.type] is model:
            seen[event.type] += 1
            faults.update(_faults(event, sent[event.raw.decode()]))
        elif event.misfits:  # a model that reads the older spelling of its type, too
            faults[f"{event.type} as {model.__name__}: misfits {event.misfits}"] += 1

    judges = [_typed_handler(model, judge) for model in set(MODELS.values())]

    def settled(found: Any) -> None:
        # The contract requires no partner id of the older spelling, the model of the newer one does.
        dead = nameless if found.name == "judge.partnerchanged" else 0
        assert (found.open, found.dead) == (0, dead), found.name

    arrived(valkey.url, prefix, judges, sent, settled)
    assert faults == {}
    assert seen == Counter(body["notification"] for body in sent.values())


def _typed_handler(model: type[Any], judge: Any) -> Any:
    async def judging(event: Any, ctx: Any) -> None:
        judge(event, model)

    judging.__annotations__ = {"event": Event[model], "ctx": Context, "return": None}
    return handler(f"judge.{model.__name__.lower()}", start="oldest", concurrency=256)(judging)


def _faults(event: Event[Any], body: dict[str, Any]) -> Iterator[str]:
    name = event.type
    if event.misfits:
        yield f"{name}: misfits {event.misfits}"
    entity, path = ENTITIES[name]
    named = _at(body, path)
    if named is not None and event.key != f"{entity}:{named}":
        yield f"{name}: key of {entity} is {event.key and event.key.partition(':')[0]}"
    times = _own_times(name, body)
    if times and event.occurred_at not in times:
        yield f"{name}: own time not found"
    yield from _missing(name, event.payload, body, payload_schema(name))


def _missing(where: str, found: Any, body: dict[str, Any], schema: Mapping[str, Any]) -> Iterator[str]:
    """Documented fields that are no declared attribute, or whose value was lost."""
    declared = {field.alias or name: name for name, field in type(found).model_fields.items()}
    declared |= {name: name for name in type(found).model_fields}  # some objects are in snake_case
    fields = fields_of(schema)
    for wire in fields:
        if wire not in declared:
            yield f"{where}.{wire}: no attribute"
    for wire, value in body.items():
        if wire not in declared or wire not in fields:
            continue
        attribute = getattr(found, declared[wire])
        if isinstance(value, dict) and isinstance(attribute, BaseModel):
            yield from _missing(f"{where}.{wire}", attribute, value, fields[wire])
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            if attribute is None or len(attribute) != len(value):
                yield f"{where}.{wire}: elements lost"
            elif isinstance(attribute[0], BaseModel):
                for one, other in zip(attribute, value, strict=True):
                    yield from _missing(f"{where}.{wire}[]", one, other, items_of(fields[wire]))
        elif not _same(attribute, value):
            yield f"{where}.{wire}: {type(value).__name__} read as {type(attribute).__name__}"


def _same(attribute: Any, value: Any) -> bool:
    if isinstance(attribute, datetime):
        return _moment(str(value)) == attribute
    if isinstance(value, list):
        return attribute is not None and all(map(_same, attribute, value)) and len(attribute) == len(value)
    if isinstance(value, dict) or value is None or isinstance(value, bool):
        return bool(attribute == value)
    if isinstance(attribute, float | int):
        return float(value) == attribute
    return bool(attribute == str(value))


def _own_times(name: str, body: dict[str, Any]) -> set[datetime]:
    """The first own time of the body; for elements the newest of theirs."""
    for field in OWN_TIMES:
        if body.get(field):
            return {_moment(body[field])}
    if name in OWN_TIMES_WITHIN:
        elements, field = OWN_TIMES_WITHIN[name]
        times = [_moment(each[field]) for each in body.get(elements) or () if each.get(field)]
        return {max(times)} if times else set()
    return set()


def _at(body: Any, path: str) -> Any:
    for step in path.split("."):
        body = body.get(step) if isinstance(body, dict) else None
    return body


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


@pytest.mark.parametrize("name", sorted(CALLBACKS))
def test_the_generator_varies_what_it_makes(name: str) -> None:
    """Each optional field is absent at least once and there at least once, each enum value is used."""
    several = list(bodies(name, EACH, seed=SEED))
    schema = payload_schema(name)
    required = (merged(schema) if "allOf" in schema else schema).get("required", ())
    for field, part in fields_of(schema).items():
        there = [field in body for body in several]
        assert any(there), field
        assert field == "notification" or field in required or not all(there), field
        if len(part.get("enum", ())) in range(2, 20):
            assert {body[field] for body in several if field in body} == set(part["enum"]), field
