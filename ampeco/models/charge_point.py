"""Charge points and their EVSEs, and what happens on them.

Source: the enum of Subscribe at v3.96.4 (type strings: confirmed), index of the specification v3.251.8 in its
order (inferred: v1.0 charge point, configuration, charging profile). The keys these sit under, and everything
else here, are guesses by the matching resource.
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator

from ampeco.models.fields import OptionalId
from ampeco.models.objects.charge_point import ChargePoint
from ampeco.models.objects.charge_point_configuration import ChargePointConfiguration
from ampeco.models.objects.charge_point_v1 import ChargePointV1
from ampeco.models.objects.charging_profile import ChargingProfile
from ampeco.models.objects.evse import EVSE
from ampeco.models.objects.security_event import SecurityEvent
from ampeco.models.payload import LoosePayload, Nested

_CHARGE_POINT_ID = ("chargePoint.id", "chargePoint")


def _listed(value: object) -> object:
    return [value] if isinstance(value, dict) else value


class ChargePointChanged(LoosePayload):
    """A charge point changed; that it comes in the v2.0 shape is a guess."""

    notification_types: ClassVar[tuple[str, ...]] = ("chargePoint.changed",)
    noun: ClassVar[str] = "chargePoint"
    found_at: ClassVar[Mapping[str, tuple[str, ...]]] = {"chargePointId": ("chargePoint.id",)}

    charge_point: Nested[ChargePoint] = None
    charge_point_id: OptionalId = None


class LegacyChargePointChanged(LoosePayload):
    """A charge point changed, in the v1.0 shape (inferred)."""

    notification_types: ClassVar[tuple[str, ...]] = ("ChargePointChangedNotification",)
    noun: ClassVar[str] = "chargePoint"
    found_at: ClassVar[Mapping[str, tuple[str, ...]]] = {"chargePointId": ("chargePoint.id",)}

    charge_point: Nested[ChargePointV1] = None
    charge_point_id: OptionalId = None


class EvseChanged(LoosePayload):
    """An EVSE changed; that it comes in the v2.1 shape is a guess."""

    notification_types: ClassVar[tuple[str, ...]] = ("evse.changed",)
    noun: ClassVar[str] = "evse"
    found_at: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "evseId": ("evse.id",),
        "chargePointId": ("evse.chargePointId", "chargePoint.id", "chargePoint"),
    }

    evse: Nested[EVSE] = None
    evse_id: OptionalId = None
    charge_point_id: OptionalId = None


class ChargePointSyncConfiguration(LoosePayload):
    """The configuration of a charge point was read, presumably because an action asked for it.

    All names are guesses; that there is a status and a configuration is inferred.
    """

    notification_types: ClassVar[tuple[str, ...]] = ("ChargePointSyncConfigurationNotification",)
    found_at: ClassVar[Mapping[str, tuple[str, ...]]] = {"chargePointId": _CHARGE_POINT_ID}

    charge_point_id: OptionalId = None
    request_id: OptionalId = None
    status: str | None = None
    configuration: Annotated[list[ChargePointConfiguration] | None, BeforeValidator(_listed)] = None


class ChargePointDataTransferReceived(LoosePayload):
    """A charge point sent something of its vendor's own. The names are OCPP's and a guess.

    Attributes:
        data: whatever the vendor puts there, often text.
    """

    notification_types: ClassVar[tuple[str, ...]] = ("chargePoint.dataTransferReceived",)
    found_at: ClassVar[Mapping[str, tuple[str, ...]]] = {"chargePointId": _CHARGE_POINT_ID}

    charge_point_id: OptionalId = None
    vendor_id: OptionalId = None
    message_id: OptionalId = None
    data: Any = None


class ChargingProfileApplied(LoosePayload):
    """A charging profile is in force now."""

    notification_types: ClassVar[tuple[str, ...]] = ("chargingProfile.applied",)
    noun: ClassVar[str] = "chargingProfile"
    found_at: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "chargePointId": _CHARGE_POINT_ID,
        "evseId": ("evse.id", "evse"),
    }

    charging_profile: Nested[ChargingProfile] = None
    charge_point_id: OptionalId = None
    evse_id: OptionalId = None


class SecurityEventReported(LoosePayload):
    """A charge point reports an event that bears on its security."""

    notification_types: ClassVar[tuple[str, ...]] = ("SecurityEventNotification",)
    noun: ClassVar[str] = "securityEvent"
    found_at: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "chargePointId": ("chargePoint.id", "chargePoint", "securityEvent.chargePoint")
    }

    security_event: Nested[SecurityEvent] = None
    charge_point_id: OptionalId = None
