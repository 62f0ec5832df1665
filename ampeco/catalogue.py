"""The notification types AMPECO is known to send, as data: how sure we are of each, its entity, its own time.

Entities are tried in order and, for each, its paths: the first id found is the key. Everything of a charge
point is keyed by the charge point, its EVSEs included, because that is what order is promised for. What
belongs to a customer (payment methods, subscriptions, balance) is keyed by the user. For most types only the
type string is certain and every path is a candidate: `confidence` and `embedding` say what was seen.

Source: the enum of Subscribe at v3.96.4 (42 strings) and the callback list of v3.56.0 (the 43rd, and what is
deprecated). Components of the index of v3.251.8 in their order: what is marked inferred.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

Entity = tuple[str, tuple[str, ...]]
Confidence = Literal["confirmed", "partial", "unknown"]
Embedding = Literal["confirmed", "inferred", "guess", "unknown"]


@dataclass(frozen=True, slots=True)
class KnownType:
    """One notification type.

    Attributes:
        confidence: how much of the payload is known. confirmed = names seen in a consumer or in the index of
            the specification; partial = some of them; unknown = nothing but the type string.
        entities: (entity, paths of its id), in the order to try them. `a.b` is field b of object a.
        noun: key of the resource in the payload, whose time of change is the notification's own time.
        times: further paths of that time; `a[].b` means b of each element, the newest counts.
        model: module in `ampeco.models` and class of the payload.
        embedded: the object in the payload, by the title of its schema (`ampeco.models.objects`).
        embedding: why we think so. guess = the REST resource of that name, nothing more.
        superseded_by: types that replace this one; inferred from names and flags, AMPECO does not say so.
        deprecated: flagged where the type is listed; None where no page that was seen shows the flag.
        subscribable: whether Subscribe accepted it at v3.96.4.
    """

    confidence: Confidence
    entities: tuple[Entity, ...]
    noun: str | None = None
    times: tuple[str, ...] = ()
    model: str = ""
    embedded: str | None = None
    embedding: Embedding = "unknown"
    superseded_by: tuple[str, ...] = ()
    deprecated: bool | None = None
    subscribable: bool = True


_TIMES = ("lastUpdatedAt", "updatedAt", "timestamp")
_CHARGE_POINT: Entity = ("charge-point", ("chargePointId", "chargePoint.id"))
_EVSE: Entity = ("evse", ("evseId", "evse.id"))
_USER: Entity = ("user", ("userId", "user.id"))
_CHARGE_POINT_CHANGED: Entity = ("charge-point", ("chargePoint.id", "chargePointId", "id"))


def _resource(
    noun: str,
    entity: str,
    model: str,
    embedded: str,
    embedding: Embedding = "guess",
    *,
    deprecated: bool | None = False,
    superseded_by: str | None = None,
) -> KnownType:
    """The resource is nested under its noun, or flat, or just its id is there."""
    return KnownType(
        "partial" if embedding == "inferred" else "unknown",
        ((entity, (f"{noun}.id", f"{noun}Id", "id")),),
        noun,
        model=model,
        embedded=embedded or None,
        embedding=embedding,
        superseded_by=(superseded_by,) if superseded_by else (),
        deprecated=deprecated,
    )


def _of_user(noun: str, entity: str, known: KnownType) -> KnownType:
    user: Entity = ("user", ("userId", f"{noun}.userId", "user.id"))
    return replace(known, entities=(user, (entity, (f"{noun}.id", f"{noun}Id", "id"))))


def _subscription(model: str, deprecated: bool | None, superseded_by: str | None = None) -> KnownType:
    noun = "subscription"
    known = _resource(noun, noun, model, "Subscription", deprecated=deprecated, superseded_by=superseded_by)
    return _of_user(noun, noun, known)


def _payment_method(model: str, deprecated: bool | None, superseded_by: str | None = None) -> KnownType:
    noun, entity = "paymentMethod", "payment-method"
    known = _resource(
        noun, entity, model, "PaymentMethod", deprecated=deprecated, superseded_by=superseded_by
    )
    return _of_user(noun, entity, known)


_SESSION: tuple[Entity, ...] = (
    ("session", ("session.id", "sessionId")),
    ("charge-point", ("session.chargePointId", "chargePointId")),
)

KNOWN_TYPES: Mapping[str, KnownType] = MappingProxyType(
    {
        "AuthorizationNotification": _resource(
            "authorization",
            "authorization",
            "authorization.LegacyAuthorizationChanged",
            "AuthorizationLegacy",
            deprecated=True,
            superseded_by="authorization.changed",
        ),
        "authorization.changed": _resource(
            "authorization", "authorization", "authorization.AuthorizationChanged", "Authorization"
        ),
        "BootNotification": KnownType(
            "partial",
            (_CHARGE_POINT,),
            model="boot.Boot",
            embedded="BootNotification",
            embedding="inferred",
            deprecated=False,
        ),
        "ChargePointChangedNotification": KnownType(
            "partial",
            (_CHARGE_POINT_CHANGED,),
            "chargePoint",
            model="charge_point.LegacyChargePointChanged",
            embedded="ChargePointV1",
            embedding="inferred",
            superseded_by=("chargePoint.changed", "evse.changed"),
            deprecated=False,
        ),
        "chargePoint.changed": KnownType(
            "unknown",
            (_CHARGE_POINT_CHANGED,),
            "chargePoint",
            model="charge_point.ChargePointChanged",
            embedded="ChargePoint",
            embedding="guess",
        ),
        "evse.changed": KnownType(
            "unknown",
            (
                ("charge-point", ("evse.chargePointId", "chargePointId", "chargePoint.id")),
                ("evse", ("evse.id", "evseId", "id")),
            ),
            "evse",
            model="charge_point.EvseChanged",
            embedded="EVSE",
            embedding="guess",
        ),
        "ChargePointSyncConfigurationNotification": KnownType(
            "partial",
            (_CHARGE_POINT,),
            model="charge_point.ChargePointSyncConfiguration",
            embedded="ChargePointConfiguration",
            embedding="inferred",
            deprecated=False,
        ),
        "CircuitConsumptionNotification": KnownType(
            "partial",
            (("circuit", ("circuitId", "circuit.id", "id")),),
            times=("consumption[].lastUpdatedAt",),
            model="circuit.CircuitConsumptionReported",
            embedded="CircuitConsumption",
            embedding="inferred",
            deprecated=False,
        ),
        "circuit.changed": _resource("circuit", "circuit", "circuit.CircuitChanged", "Circuit"),
        "DiagnosticsStatusNotification": KnownType(
            "unknown", (_CHARGE_POINT,), model="status.DiagnosticsStatus", deprecated=False
        ),
        "HardwareStatusNotification": KnownType(
            "partial",
            (_CHARGE_POINT, _EVSE),
            model="status.HardwareStatus",
            embedding="confirmed",
            deprecated=False,
        ),
        "LocationChangedNotification": _resource(
            "location", "location", "location.LocationChanged", "LocationV1", "inferred"
        ),
        "NetworkStatusNotification": KnownType(
            "unknown", (_CHARGE_POINT,), model="status.NetworkStatus", deprecated=False
        ),
        "SecurityEventNotification": KnownType(
            "unknown",
            (
                (
                    "charge-point",
                    ("chargePointId", "chargePoint", "chargePoint.id", "securityEvent.chargePoint"),
                ),
            ),
            times=("securityEvent.timestamp",),
            model="charge_point.SecurityEventReported",
            embedded="SecurityEvent",
            embedding="guess",
            deprecated=False,
        ),
        "SessionMeterValuesNotification": KnownType(
            "confirmed",
            (("session", ("sessionId", "session.id")), _CHARGE_POINT),
            times=("meterValues[].timestamp",),
            model="meter_values.SessionMeterValues",
            embedded="MeterValue",
            embedding="confirmed",
            deprecated=False,
        ),
        "SessionStartStopNotification": KnownType(
            "partial",
            _SESSION,
            "session",
            model="session.SessionStartStop",
            embedded="Session",
            embedding="confirmed",
            superseded_by=("session.start.stop.notification",),
            deprecated=True,
        ),
        "session.start.stop.notification": KnownType(
            "unknown",
            (("session", ("session.id", "sessionId", "id")), _SESSION[1]),
            "session",
            model="session.SessionStartStop",
            embedded="Session",
            embedding="guess",
        ),
        "SessionUpdateNotification": KnownType(
            "partial",
            _SESSION,
            "session",
            model="session.SessionUpdate",
            embedded="Session",
            embedding="confirmed",
            deprecated=False,
        ),
        "UserChangedNotification": _resource("user", "user", "user.UserChanged", "User", "inferred"),
        "SubOperatorChangedNotification": _resource(
            "subOperator", "sub-operator", "partner.SubOperatorChanged", "", "inferred"
        ),
        "TariffChangedNotification": _resource(
            "tariff", "tariff", "tariff.TariffChanged", "Tariff", "inferred"
        ),
        "user.subscriptionChanged": _subscription(
            "user.LegacyUserSubscriptionChanged", False, "user.subscription.changed"
        ),
        "user.subscription.changed": _subscription("user.UserSubscriptionChanged", None),
        "ReservationChangedNotification": _resource(
            "reservation",
            "reservation",
            "reservation.LegacyReservationChanged",
            "Reservation",
            deprecated=None,
            superseded_by="reservation.changed",
        ),
        "PaymentMethodChangedNotification": _payment_method(
            "user.LegacyPaymentMethodChanged", None, "user.paymentMethod.changed"
        ),
        "PartnerInviteChangedNotification": _resource(
            "partnerInvite",
            "partner-invite",
            "partner.LegacyPartnerInviteChanged",
            "PartnerInvite",
            deprecated=None,
            superseded_by="partnerInvite.changed",
        ),
        "reservation.changed": _resource(
            "reservation", "reservation", "reservation.ReservationChanged", "Reservation"
        ),
        "user.paymentMethod.changed": _payment_method("user.UserPaymentMethodChanged", False),
        "userBalance.changed": KnownType(
            "unknown", (_USER,), model="user.UserBalanceChanged", deprecated=False
        ),
        "partnerInvite.changed": _resource(
            "partnerInvite", "partner-invite", "partner.PartnerInviteChanged", "PartnerInvite"
        ),
        "roamingPlatform.changed": KnownType(
            "unknown",
            (("roaming-platform", ("roamingPlatform.id", "roamingConnection.id", "id")),),
            "roamingPlatform",
            model="roaming.RoamingPlatformChanged",
            embedded="RoamingPlatform",
            embedding="guess",
            deprecated=False,
        ),
        "parkingSpace.occupancyStatus.changed": _resource(
            "parkingSpace", "parking-space", "location.ParkingSpaceOccupancyStatusChanged", "ParkingSpace"
        ),
        "partner.changed": _resource("partner", "partner", "partner.PartnerChanged", "Partner"),
        "PartnerChangedNotification": replace(
            _resource(
                "partner",
                "partner",
                "partner.LegacyPartnerChanged",
                "Partner",
                deprecated=True,
                superseded_by="partner.changed",
            ),
            subscribable=False,
        ),
        "transaction.changed": _resource(
            "transaction", "transaction", "transaction.TransactionChanged", "Transaction"
        ),
        "settlementReport.created": KnownType(
            "unknown",
            (
                (
                    "settlement-report",
                    ("settlementReport.id", "settlementReportId", "partnerSettlementReport.id", "id"),
                ),
            ),
            "settlementReport",
            model="partner.SettlementReportCreated",
            embedded="PartnerSettlementReport",
            embedding="guess",
            deprecated=False,
        ),
        "idTag.changed": _resource("idTag", "id-tag", "user.IdTagChanged", "IdTag"),
        "chargePoint.dataTransferReceived": KnownType(
            "unknown",
            (_CHARGE_POINT,),
            model="charge_point.ChargePointDataTransferReceived",
            deprecated=False,
        ),
        "subscriptionPlan.changed": _resource(
            "subscriptionPlan",
            "subscription-plan",
            "tariff.SubscriptionPlanChanged",
            "SubscriptionPlan",
            deprecated=None,
        ),
        "user.invoiceDetails.changed": KnownType(
            "unknown",
            (_USER,),
            "invoiceDetails",
            model="user.UserInvoiceDetailsChanged",
            embedded="InvoiceDetails",
            embedding="inferred",
            deprecated=False,
        ),
        "cdr.received": _resource("cdr", "cdr", "roaming.CdrReceived", "Cdr"),
        "chargingProfile.applied": KnownType(
            "partial",
            (_CHARGE_POINT, _EVSE, ("charging-profile", ("chargingProfile.id",))),
            "chargingProfile",
            model="charge_point.ChargingProfileApplied",
            embedded="ChargingProfile",
            embedding="inferred",
        ),
        "installerJob.changed": _resource(
            "installerJob",
            "installer-job",
            "installer_job.InstallerJobChanged",
            "InstallerJob",
            "inferred",
            deprecated=None,
        ),
    }
)

SUBSCRIBABLE = frozenset(name for name, known in KNOWN_TYPES.items() if known.subscribable)
"""What Subscribe accepted at v3.96.4; later versions may accept more."""

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

_ISSUE = KnownType(
    "confirmed",
    (("issue", ("issueId", "issue.id")),),
    model="issue.IssueChanged",
    embedded="Issue",
    embedding="confirmed",
    subscribable=False,
)

# Payloads that the index of the specification describes without saying which string announces them: the
# strings are likely ones, Subscribe is not known to accept them, and entity and time are found by FALLBACK.
# A third component, about a partner's corporate billing policy, has neither a string nor a shape: it is
# left out.
UNCONFIRMED_TYPES: Mapping[str, KnownType] = MappingProxyType(
    {
        "issue.changed": _ISSUE,
        "IssueChangedNotification": _ISSUE,
        "FirmwareStatusNotification": KnownType(
            "confirmed",
            (_CHARGE_POINT,),
            model="status.FirmwareStatus",
            embedding="confirmed",
            subscribable=False,
        ),
    }
)


def time_paths(known: KnownType) -> tuple[str, ...]:
    """Paths of a notification's own time, in the order to try them."""
    nested = (f"{known.noun}.lastUpdatedAt", f"{known.noun}.updatedAt") if known.noun else ()
    return (*nested, *_TIMES, *known.times)
