"""What part of its entity a notification is about, where the entity key is coarser than what is announced.

A status of one EVSE is keyed by its charge point, and a payment method by its user: order is promised for those.
With `order="latest"` one part must not take the place of another, so they are told apart here.

Source: published contract v3.110.0: the ids that these payloads have apart from that of their entity.
"""

from collections.abc import Mapping
from typing import Any

from ampeco.entity_keys import bounded, compiled
from ampeco.known_type import Entity, id_of
from ampeco.models.fields import read_id
from ampeco.paths import at

_REQUEST = (id_of("request"),)
_PAYMENT_METHOD = (id_of("paymentMethod", "payment-method"),)
_PLAN = (id_of("plan", "", "subscription.planId"),)  # the contract names no subscription

PARTS: Mapping[str, tuple[Entity, ...]] = {
    "HardwareStatusNotification": (id_of("evse"),),
    "chargingProfile.applied": (id_of("evse"), id_of("chargingProfile", "charging-profile")),
    "DiagnosticsStatusNotification": _REQUEST,
    "ChargePointSyncConfigurationNotification": _REQUEST,  # one that asks for some keys answers these alone
    "FirmwareStatusNotification": (id_of("firmwareUpdateExecution", "firmware-update"),),  # a guess
    "user.paymentMethod.changed": _PAYMENT_METHOD,
    "PaymentMethodChangedNotification": _PAYMENT_METHOD,
    "user.subscription.changed": _PLAN,
    "user.subscriptionChanged": _PLAN,
}
"""Type -> what a part is called, and the paths of its id; all that are found count."""

_COMPILED = {name: tuple(compiled((entity,)) for entity in parts) for name, parts in PARTS.items()}


def part_of(notification_type: str, data: Mapping[str, Any]) -> str | None:
    """Return the part of its entity that a payload is about, e.g. `evse:3`; None for the entity itself."""
    found = []
    for places in _COMPILED.get(notification_type, ()):
        for prefix, steps in places:
            named = read_id(at(data, steps))
            if named is not None:
                found.append(bounded(prefix, named))
                break
    return " ".join(found) or None
