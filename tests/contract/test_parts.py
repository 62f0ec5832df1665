"""With `order="latest"` nothing takes the place of what it does not replace, for every type of the contract."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ampeco.entity_keys import DEFAULT_RULES, KEY_MAX_BYTES
from ampeco.entity_parts import PARTS, part_of
from eventlog.record import StoredEvent
from tests.contract.bodies import CALLBACKS, fields_of, full, payload_schema
from workers.drain.entry import tie_of

OF_THE_ENTITY = {
    "authorization.changed": {"chargePointId"},
    "AuthorizationNotification": {"chargePointId"},
    "SessionMeterValuesNotification": {"chargePointId", "evseId", "externalSessionId"},
    "SessionStartStopNotification": {"chargePointId", "evseId", "userId", "externalSessionId"},
    "session.start.stop.notification": {"chargePointId", "evseId", "userId", "externalSessionId"},
    "partner.changed": {"externalId"},
    "partnerInvite.changed": {"userId"},
    "installerJob.changed": {"installationAndMaintenanceCompanyId", "locationId", "installerAdminId"},
    "settlementReport.created": {"partnerId"},
    "HardwareStatusNotification": {"vendorId"},
}
"""Ids that say more about the entity, which is announced as a whole."""
NO_STATES = {
    "userBalance.changed": {"transactionId"},  # what changed the one balance of a user
    "chargePoint.dataTransferReceived": {"vendorId", "messageId"},  # a message of its own each time
    "chargingProfile.applied": {"sessionId"},  # the profile says what it is for
}
IDS_OF_PARTS = {
    "HardwareStatusNotification": {"evseId"},
    "chargingProfile.applied": {"evseId", "chargingProfile.id"},
    "DiagnosticsStatusNotification": {"requestId"},
    "ChargePointSyncConfigurationNotification": {"requestId"},
    "user.paymentMethod.changed": {"paymentMethodId"},
    "user.subscription.changed": {"planId"},
    "user.subscriptionChanged": {"planId"},
}


def key_of(body: dict[str, Any]) -> str | None:
    return DEFAULT_RULES.key(body["notification"], body)


def tie(body: dict[str, Any], order: Any = "latest") -> str | None:
    name = body["notification"]
    return tie_of(order, StoredEvent(0, "1-0", name, key_of(body), json.dumps(body).encode(), 1))


def with_another(body: dict[str, Any], path: str) -> dict[str, Any]:
    head, _, rest = path.partition(".")
    return {**body, head: with_another(body[head], rest) if rest else 9}


def full_body(name: str) -> dict[str, Any]:
    return full(name) | {"notification": name}


@pytest.mark.parametrize("name", sorted(CALLBACKS))
def test_each_id_of_a_payload_is_that_of_the_entity_or_of_a_part_or_no_state(name: str) -> None:
    body = full_body(name)
    ids = {field for field in fields_of(payload_schema(name)) if field == "id" or field.endswith("Id")}
    keys = {field for field in ids if key_of(with_another(body, field)) != key_of(body)}
    assert ids - keys == {
        *OF_THE_ENTITY.get(name, ()),
        *NO_STATES.get(name, ()),
        *(path for path in IDS_OF_PARTS.get(name, ()) if "." not in path),
    }


@pytest.mark.parametrize(
    ("name", "path"), [(n, p) for n, paths in IDS_OF_PARTS.items() for p in sorted(paths)]
)
def test_the_newest_of_one_part_does_not_take_the_place_of_another(name: str, path: str) -> None:
    body = full_body(name)
    other = with_another(body, path)
    assert tie(body) == tie(dict(body))
    assert tie(body) != tie(other)
    assert tie(body, "entity") == tie(other, "entity") == key_of(body)


def test_an_undocumented_type_is_told_apart_like_a_documented_one() -> None:
    assert PARTS.keys() - IDS_OF_PARTS == {"PaymentMethodChangedNotification", "FirmwareStatusNotification"}
    one = {"notification": "PaymentMethodChangedNotification", "paymentMethod": {"id": "a", "userId": 1}}
    other = {**one, "paymentMethod": {"id": "b", "userId": 1}}
    assert tie(one, "entity") == tie(other, "entity") == "user:1"
    assert tie(one) != tie(other)


def test_a_part_is_named_once_and_its_name_is_bounded() -> None:
    data = {"subscription": {"planId": 7}, "planId": 7}
    assert part_of("user.subscription.changed", data) == "plan:7"
    long = part_of("HardwareStatusNotification", {"evseId": "x" * 100_000})
    assert long is not None
    assert len(long) <= KEY_MAX_BYTES
