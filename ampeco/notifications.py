"""The notifications part of this package for its users: `parse`, `read`, and the class of each payload.

The classes are imported when they are used. `notification_reader.py` reads the bytes.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ampeco.catalogue import KNOWN_TYPES, UNCONFIRMED_TYPES, spellings
from ampeco.entity_keys import DEFAULT_RULES, EntityKeyRules
from ampeco.errors import FieldMisfit
from ampeco.models.lazy import LazyModels
from ampeco.models.payload import Payload, VendorObject
from ampeco.notification_reader import MODELS, UNTYPED, Notification, Recognized, parse, read, recognize

if TYPE_CHECKING:
    from ampeco.models.authorization import AuthorizationChanged, LegacyAuthorizationChanged
    from ampeco.models.boot import Boot, BootDetails
    from ampeco.models.charge_point import (
        AppliedChargingProfile,
        ChargePointChanged,
        ChargePointDataTransferReceived,
        ChargePointSyncConfiguration,
        ChargingProfileApplied,
        ConfigurationKey,
        EvseChanged,
        LegacyChargePointChanged,
        SecurityEventReported,
    )
    from ampeco.models.circuit import CircuitChanged, CircuitConsumptionReported, CircuitPhaseLoad
    from ampeco.models.installer_job import InstallerJobChanged
    from ampeco.models.location import LocationChanged, ParkingSpaceOccupancyStatusChanged
    from ampeco.models.meter_values import MeterValue, SessionMeterValues
    from ampeco.models.objects import ChargePointV1, LocationV1, Session, Tariff, User
    from ampeco.models.partner import (
        LegacyPartnerChanged,
        PartnerChanged,
        PartnerInviteChanged,
        SettlementReportCreated,
        SubOperatorChanged,
    )
    from ampeco.models.reservation import ReservationChanged
    from ampeco.models.roaming import CdrReceived, RoamingPlatformChanged
    from ampeco.models.session import SessionStartStop, SessionUpdate
    from ampeco.models.status import DiagnosticsStatus, HardwareStatus, NetworkStatus
    from ampeco.models.tariff import TariffChanged
    from ampeco.models.transaction import TransactionChanged
    from ampeco.models.undocumented import (
        FirmwareStatus,
        IssueChanged,
        LegacyPartnerInviteChanged,
        LegacyPaymentMethodChanged,
        LegacyReservationChanged,
        SubscriptionPlanChanged,
    )
    from ampeco.models.user import (
        IdTagChanged,
        LegacyUserSubscriptionChanged,
        UserBalanceChanged,
        UserChanged,
        UserInvoiceDetailsChanged,
        UserPaymentMethodChanged,
        UserSubscriptionChanged,
    )

__all__ = [
    "DEFAULT_RULES",
    "KNOWN_TYPES",
    "MODELS",
    "UNCONFIRMED_TYPES",
    "UNTYPED",
    "AppliedChargingProfile",
    "AuthorizationChanged",
    "Boot",
    "BootDetails",
    "CdrReceived",
    "ChargePointChanged",
    "ChargePointDataTransferReceived",
    "ChargePointSyncConfiguration",
    "ChargePointV1",
    "ChargingProfileApplied",
    "CircuitChanged",
    "CircuitConsumptionReported",
    "CircuitPhaseLoad",
    "ConfigurationKey",
    "DiagnosticsStatus",
    "EntityKeyRules",
    "EvseChanged",
    "FieldMisfit",
    "FirmwareStatus",
    "HardwareStatus",
    "IdTagChanged",
    "InstallerJobChanged",
    "IssueChanged",
    "LegacyAuthorizationChanged",
    "LegacyChargePointChanged",
    "LegacyPartnerChanged",
    "LegacyPartnerInviteChanged",
    "LegacyPaymentMethodChanged",
    "LegacyReservationChanged",
    "LegacyUserSubscriptionChanged",
    "LocationChanged",
    "LocationV1",
    "MeterValue",
    "NetworkStatus",
    "Notification",
    "ParkingSpaceOccupancyStatusChanged",
    "PartnerChanged",
    "PartnerInviteChanged",
    "Payload",
    "Recognized",
    "ReservationChanged",
    "RoamingPlatformChanged",
    "SecurityEventReported",
    "Session",
    "SessionMeterValues",
    "SessionStartStop",
    "SessionUpdate",
    "SettlementReportCreated",
    "SubOperatorChanged",
    "SubscriptionPlanChanged",
    "Tariff",
    "TariffChanged",
    "TransactionChanged",
    "User",
    "UserBalanceChanged",
    "UserChanged",
    "UserInvoiceDetailsChanged",
    "UserPaymentMethodChanged",
    "UserSubscriptionChanged",
    "parse",
    "read",
    "recognize",
    "spellings",
]

_EXPORTED: Mapping[str, type[VendorObject]] = LazyModels(
    VendorObject,
    {
        "AppliedChargingProfile": "ampeco.models.charge_point",
        "BootDetails": "ampeco.models.boot",
        "ChargePointV1": "ampeco.models.objects.charge_point_v1",
        "CircuitPhaseLoad": "ampeco.models.circuit",
        "ConfigurationKey": "ampeco.models.charge_point",
        "LocationV1": "ampeco.models.objects.location_v1",
        "MeterValue": "ampeco.models.meter_values",
        "Session": "ampeco.models.objects.session",
        "Tariff": "ampeco.models.objects.tariff",
        "User": "ampeco.models.objects.user",
        **{
            name: f"ampeco.models.{module}"
            for module, _, name in (
                known.model.partition(".") for known in (*KNOWN_TYPES.values(), *UNCONFIRMED_TYPES.values())
            )
        },
    },
)

if not TYPE_CHECKING:  # a type checker would take every name for an existing one

    def __getattr__(name: str) -> type[VendorObject]:
        if name in _EXPORTED:
            return _EXPORTED[name]
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
