"""The notification types AMPECO is known to send, as data: how sure we are of each, its entity, its own time.

Entities are tried in order and, for each, its paths: the first id found is the key. Everything of a charge
point is keyed by the charge point, its EVSEs included, because that is what order is promised for. What
belongs to a customer (payment methods, subscriptions, balance) is keyed by the user. For most types only the
type string is certain and every path is a candidate: `confidence` says what was seen.

Source: the enum of Subscribe at v3.96.4 (42 strings) and the callback list of v3.56.0 (the 43rd). Payloads:
confirmed = names seen in a consumer or in the index of the specification; partial = some of them; unknown =
nothing but the type string.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Entity = tuple[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class KnownType:
    """One notification type.

    Attributes:
        confidence: how much of the payload is known.
        entities: (entity, paths of its id), in the order to try them. `a.b` is field b of object a.
        noun: key of the resource in the payload, whose time of change is the notification's own time.
        times: further paths of that time; `[]` after a name means each element, the newest counts.
    """

    confidence: Literal["confirmed", "partial", "unknown"]
    entities: tuple[Entity, ...]
    noun: str | None = None
    times: tuple[str, ...] = ()


_TIMES = ("lastUpdatedAt", "updatedAt", "timestamp")
_CHARGE_POINT: Entity = ("charge-point", ("chargePointId", "chargePoint.id"))
_EVSE: Entity = ("evse", ("evseId", "evse.id"))
_USER: Entity = ("user", ("userId", "user.id"))


def _resource(noun: str, entity: str) -> KnownType:
    """Only the string is known: the resource is nested under its noun, or flat, or just its id is there."""
    return KnownType("unknown", ((entity, (f"{noun}.id", f"{noun}Id", "id")),), noun)


def _partly(known: KnownType) -> KnownType:
    return KnownType("partial", known.entities, known.noun, known.times)


def _of_user(noun: str, entity: str) -> KnownType:
    user: Entity = ("user", ("userId", f"{noun}.userId", "user.id"))
    return KnownType("unknown", (user, (entity, (f"{noun}.id", f"{noun}Id", "id"))), noun)


_SESSION: tuple[Entity, ...] = (
    ("session", ("session.id", "sessionId")),
    ("charge-point", ("session.chargePointId", "chargePointId")),
)
_CHARGE_POINT_CHANGED: tuple[Entity, ...] = (("charge-point", ("chargePoint.id", "chargePointId", "id")),)
_PARTNER_INVITE = _resource("partnerInvite", "partner-invite")
_RESERVATION = _resource("reservation", "reservation")
_AUTHORIZATION = _resource("authorization", "authorization")
_PARTNER = _resource("partner", "partner")

KNOWN_TYPES: Mapping[str, KnownType] = MappingProxyType(
    {
        "AuthorizationNotification": _AUTHORIZATION,
        "authorization.changed": _AUTHORIZATION,
        "BootNotification": KnownType("partial", (_CHARGE_POINT,)),
        "ChargePointChangedNotification": KnownType("partial", _CHARGE_POINT_CHANGED, "chargePoint"),
        "chargePoint.changed": KnownType("unknown", _CHARGE_POINT_CHANGED, "chargePoint"),
        "evse.changed": KnownType(
            "unknown",
            (
                ("charge-point", ("evse.chargePointId", "chargePointId", "chargePoint.id")),
                ("evse", ("evse.id", "evseId", "id")),
            ),
            "evse",
        ),
        "ChargePointSyncConfigurationNotification": KnownType("partial", (_CHARGE_POINT,)),
        "CircuitConsumptionNotification": KnownType(
            "partial",
            (("circuit", ("circuitId", "circuit.id", "id")),),
            times=("consumption[].lastUpdatedAt",),
        ),
        "circuit.changed": _resource("circuit", "circuit"),
        "DiagnosticsStatusNotification": KnownType("unknown", (_CHARGE_POINT,)),
        "HardwareStatusNotification": KnownType("partial", (_CHARGE_POINT, _EVSE)),
        "LocationChangedNotification": _partly(_resource("location", "location")),
        "NetworkStatusNotification": KnownType("unknown", (_CHARGE_POINT,)),
        "SecurityEventNotification": KnownType(
            "unknown",
            (
                (
                    "charge-point",
                    ("chargePointId", "chargePoint", "chargePoint.id", "securityEvent.chargePoint"),
                ),
            ),
            times=("securityEvent.timestamp",),
        ),
        "SessionMeterValuesNotification": KnownType(
            "confirmed",
            (("session", ("sessionId", "session.id")), _CHARGE_POINT),
            times=("meterValues[].timestamp",),
        ),
        "SessionStartStopNotification": KnownType("partial", _SESSION, "session"),
        "session.start.stop.notification": KnownType(
            "unknown", (("session", ("session.id", "sessionId", "id")), _SESSION[1]), "session"
        ),
        "SessionUpdateNotification": KnownType("partial", _SESSION, "session"),
        "UserChangedNotification": _partly(_resource("user", "user")),
        "SubOperatorChangedNotification": _partly(_resource("subOperator", "sub-operator")),
        "TariffChangedNotification": _partly(_resource("tariff", "tariff")),
        "user.subscriptionChanged": _of_user("subscription", "subscription"),
        "user.subscription.changed": _of_user("subscription", "subscription"),
        "ReservationChangedNotification": _RESERVATION,
        "PaymentMethodChangedNotification": _of_user("paymentMethod", "payment-method"),
        "PartnerInviteChangedNotification": _PARTNER_INVITE,
        "reservation.changed": _RESERVATION,
        "user.paymentMethod.changed": _of_user("paymentMethod", "payment-method"),
        "userBalance.changed": KnownType("unknown", (_USER,)),
        "partnerInvite.changed": _PARTNER_INVITE,
        "roamingPlatform.changed": KnownType(
            "unknown",
            (("roaming-platform", ("roamingPlatform.id", "roamingConnection.id", "id")),),
            "roamingPlatform",
        ),
        "parkingSpace.occupancyStatus.changed": _resource("parkingSpace", "parking-space"),
        "partner.changed": _PARTNER,
        "PartnerChangedNotification": _PARTNER,
        "transaction.changed": _resource("transaction", "transaction"),
        "settlementReport.created": KnownType(
            "unknown",
            (
                (
                    "settlement-report",
                    ("settlementReport.id", "settlementReportId", "partnerSettlementReport.id", "id"),
                ),
            ),
            "settlementReport",
        ),
        "idTag.changed": _resource("idTag", "id-tag"),
        "chargePoint.dataTransferReceived": KnownType("unknown", (_CHARGE_POINT,)),
        "subscriptionPlan.changed": _resource("subscriptionPlan", "subscription-plan"),
        "user.invoiceDetails.changed": KnownType("unknown", (_USER,), "invoiceDetails"),
        "cdr.received": _resource("cdr", "cdr"),
        "chargingProfile.applied": KnownType(
            "partial",
            (_CHARGE_POINT, _EVSE, ("charging-profile", ("chargingProfile.id",))),
            "chargingProfile",
        ),
        "installerJob.changed": _partly(_resource("installerJob", "installer-job")),
    }
)

# For a type that is not listed, and for a listed one whose own paths find nothing. A bare `id` is not among
# them: of an unknown object it might as well be the id of the announcement.
FALLBACK = KnownType(
    "unknown",
    (
        ("session", ("session.id", "sessionId")),
        ("charge-point", ("chargePointId", "chargePoint.id", "evse.chargePointId", "session.chargePointId")),
        ("evse", ("evseId", "evse.id")),
        ("circuit", ("circuitId", "circuit.id")),
        ("location", ("locationId", "location.id")),
        ("user", ("userId", "user.id")),
        ("partner", ("partnerId", "partner.id")),
        ("issue", ("issueId", "issue.id")),
    ),
    "session",
    ("meterValues[].timestamp",),
)


def time_paths(known: KnownType) -> tuple[str, ...]:
    """Paths of a notification's own time, in the order to try them."""
    nested = (f"{known.noun}.lastUpdatedAt", f"{known.noun}.updatedAt") if known.noun else ()
    return (*nested, *_TIMES, *known.times)
