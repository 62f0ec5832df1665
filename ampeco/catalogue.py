"""The notification types AMPECO is known to send, as data: model, entity, own time, deprecation.

Entities are tried in order and, for each, its paths: the first id found is the key. Everything of a charge
point is keyed by the charge point, where the payload names it, because that is what order is promised for. What
belongs to a customer (payment methods, subscriptions, balance) is keyed by the user. The contract's own field comes
first among the paths; the others are shapes that clients and older documents show.

Source: published contract v3.110.0 (39 callbacks, and the 42 strings that Subscribe takes).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

Entity = tuple[str, tuple[str, ...]]
Confidence = Literal["confirmed", "unknown"]


@dataclass(frozen=True, slots=True)
class KnownType:
    """One notification type.

    Attributes:
        model: module in `ampeco.models` and class of the payload.
        entities: (entity, paths of its id), in the order to try them. `a.b` is field b of object a.
        times: paths of the notification's own time, tried before the general ones; `a[].b` means b of each
            element, the newest counts.
        confidence: confirmed = the contract has the payload; unknown = only the type string is certain.
        deprecated: the contract says so; None where it does not describe the type.
        superseded_by: the type that replaces this one; at most one.
        subscribable: whether Subscribe accepts it.
    """

    model: str
    entities: tuple[Entity, ...]
    times: tuple[str, ...] = ()
    confidence: Confidence = "confirmed"
    deprecated: bool | None = False
    superseded_by: tuple[str, ...] = ()
    subscribable: bool = True


_TIMES = ("lastUpdatedAt", "updatedAt", "timestamp")


def _id_of(noun: str, entity: str = "", *others: str) -> Entity:
    """A related entity in the payload: by its id, as a nested object, or as a bare id under its noun."""
    return (entity or noun, (f"{noun}Id", f"{noun}.id", noun, *others))


def _own(noun: str, entity: str = "", *others: str) -> Entity:
    """The entity that the payload is about: its id may also lie at the top."""
    return _id_of(noun, entity, "id", *others)


def _carried(noun: str, entity: str = "") -> Entity:
    """The entity whose object the payload carries."""
    return (entity or noun, (f"{noun}.id", noun, f"{noun}Id", "id"))


def _flat(noun: str, entity: str, *others: str) -> Entity:
    """The entity whose fields lie at the top of the payload."""
    return (entity, ("id", f"{noun}Id", f"{noun}.id", noun, *others))


def _since(noun: str) -> tuple[str, ...]:
    """The time of a payload that carries an object: its own, else the object's."""
    return ("lastUpdatedAt", f"{noun}.lastUpdatedAt", f"{noun}.updatedAt")


def _deprecated(known: KnownType, *superseded_by: str) -> KnownType:
    return replace(known, deprecated=True, superseded_by=superseded_by)


def _undocumented(known: KnownType, *superseded_by: str) -> KnownType:
    return replace(known, confidence="unknown", deprecated=None, superseded_by=superseded_by)


_CHARGE_POINT = _id_of("chargePoint", "charge-point")
_EVSE = _id_of("evse")
_SESSION = _id_of("session")
_START_STOP = (_own("session"), _id_of("chargePoint", "charge-point", "session.chargePointId"))
_START_STOP_TIMES = (
    "lastUpdatedAt",
    "session.lastUpdatedAt",
    "session.updatedAt",
    *("stoppedAtTimestamp", "session.stoppedAt"),
    *("startedAtTimestamp", "session.startedAt"),
)
_SUBSCRIPTION = (
    _id_of("user", "user", "subscription.userId"),
    ("subscription", ("subscriptionId", "subscription.id", "id")),
)
_PAYMENT_METHOD = (
    _id_of("user", "user", "paymentMethod.userId"),
    _own("paymentMethod", "payment-method"),
)

KNOWN_TYPES: Mapping[str, KnownType] = MappingProxyType(
    {
        "AuthorizationNotification": _deprecated(
            KnownType(
                "authorization.LegacyAuthorizationChanged",
                (_own("authorization"), _CHARGE_POINT),
                _since("authorization"),
            ),
            "authorization.changed",
        ),
        "authorization.changed": KnownType(
            "authorization.AuthorizationChanged",
            (_own("authorization"), _CHARGE_POINT),
            _since("authorization"),
        ),
        "BootNotification": KnownType("boot.Boot", (_CHARGE_POINT,), ("timestamp",)),
        "ChargePointChangedNotification": _deprecated(
            KnownType(
                "charge_point.LegacyChargePointChanged",
                (("charge-point", (*_carried("chargePoint")[1], "charge-point.id")),),
                _since("chargePoint"),
            ),
            "chargePoint.changed",  # edits of an EVSE alone: `evse.changed`
        ),
        "chargePoint.changed": KnownType(
            "charge_point.ChargePointChanged", (_own("chargePoint", "charge-point"),), _since("chargePoint")
        ),
        "evse.changed": KnownType(
            "charge_point.EvseChanged",
            (_own("evse"), _id_of("chargePoint", "charge-point", "evse.chargePointId")),
            _since("evse"),
        ),
        "ChargePointSyncConfigurationNotification": KnownType(
            "charge_point.ChargePointSyncConfiguration",
            (_CHARGE_POINT,),
            ("configuration[].lastUpdatedAt", "configuration[].timestamp"),
        ),
        "CircuitConsumptionNotification": KnownType(
            "circuit.CircuitConsumptionReported",
            (_own("circuit"),),
            (
                "currentConsumption[].lastUpdatedAt",
                "consumption[].lastUpdatedAt",
                "circuit.currentConsumption[].lastUpdatedAt",
            ),
        ),
        "circuit.changed": KnownType("circuit.CircuitChanged", (_own("circuit"),), _since("circuit")),
        "DiagnosticsStatusNotification": KnownType("status.DiagnosticsStatus", (_CHARGE_POINT,)),
        "HardwareStatusNotification": KnownType(
            "status.HardwareStatus", (_CHARGE_POINT, _EVSE), ("timestamp",)
        ),
        "LocationChangedNotification": KnownType(
            "location.LocationChanged", (_carried("location"),), _since("location")
        ),
        "NetworkStatusNotification": KnownType("status.NetworkStatus", (_CHARGE_POINT,), ("timestamp",)),
        "SecurityEventNotification": KnownType(
            "charge_point.SecurityEventReported",
            (
                _id_of(
                    "chargePoint", "charge-point", "securityEvent.chargePointId", "securityEvent.chargePoint"
                ),
            ),
            ("timestamp", "securityEvent.timestamp"),
        ),
        "SessionMeterValuesNotification": KnownType(
            "meter_values.SessionMeterValues", (_SESSION, _CHARGE_POINT), ("meterValues[].timestamp",)
        ),
        "SessionStartStopNotification": _deprecated(
            KnownType("session.SessionStartStop", _START_STOP, _START_STOP_TIMES),
            "session.start.stop.notification",
        ),
        "session.start.stop.notification": KnownType(
            "session.SessionStartStop", _START_STOP, _START_STOP_TIMES
        ),
        "SessionUpdateNotification": KnownType(
            "session.SessionUpdate",
            (_carried("session"), _id_of("chargePoint", "charge-point", "session.chargePointId")),
            ("session.lastUpdatedAt", "session.updatedAt"),
        ),
        "UserChangedNotification": KnownType("user.UserChanged", (_carried("user"),), _since("user")),
        "SubOperatorChangedNotification": KnownType(
            "partner.SubOperatorChanged", (_carried("subOperator", "sub-operator"),), _since("subOperator")
        ),
        "TariffChangedNotification": KnownType(
            "tariff.TariffChanged", (_carried("tariff"),), _since("tariff")
        ),
        "user.subscriptionChanged": _deprecated(
            KnownType("user.LegacyUserSubscriptionChanged", _SUBSCRIPTION, _since("subscription")),
            "user.subscription.changed",
        ),
        "user.subscription.changed": KnownType(
            "user.UserSubscriptionChanged", _SUBSCRIPTION, _since("subscription")
        ),
        "ReservationChangedNotification": _undocumented(
            KnownType("undocumented.LegacyReservationChanged", (_own("reservation"),), _since("reservation")),
            "reservation.changed",
        ),
        "PaymentMethodChangedNotification": _undocumented(
            KnownType("undocumented.LegacyPaymentMethodChanged", _PAYMENT_METHOD, _since("paymentMethod")),
            "user.paymentMethod.changed",
        ),
        "PartnerInviteChangedNotification": _undocumented(
            KnownType(
                "undocumented.LegacyPartnerInviteChanged",
                (_own("partnerInvite", "partner-invite"),),
                _since("partnerInvite"),
            ),
            "partnerInvite.changed",
        ),
        "reservation.changed": KnownType(
            "reservation.ReservationChanged", (_own("reservation"),), _since("reservation")
        ),
        "user.paymentMethod.changed": KnownType(
            "user.UserPaymentMethodChanged", _PAYMENT_METHOD, _since("paymentMethod")
        ),
        "userBalance.changed": KnownType(
            "user.UserBalanceChanged", (_id_of("user", "user", "userBalance.userId"),)
        ),
        "partnerInvite.changed": KnownType(
            "partner.PartnerInviteChanged",
            (_own("partnerInvite", "partner-invite"),),
            _since("partnerInvite"),
        ),
        "roamingPlatform.changed": KnownType(
            "roaming.RoamingPlatformChanged",
            (
                _own(
                    "roamingPlatform",
                    "roaming-platform",
                    "roamingConnectionId",
                    "roamingConnection.id",
                    "roamingConnection",
                ),
            ),
            _since("roamingPlatform"),
        ),
        "parkingSpace.occupancyStatus.changed": KnownType(
            "location.ParkingSpaceOccupancyStatusChanged",
            (_own("parkingSpace", "parking-space"),),
            _since("parkingSpace"),
        ),
        "partner.changed": KnownType("partner.PartnerChanged", (_own("partner"),), _since("partner")),
        # The contract calls the field `user`; what it names is the partner.
        "PartnerChangedNotification": replace(
            _deprecated(
                KnownType(
                    "partner.LegacyPartnerChanged",
                    (("partner", ("user.id", "user", "partnerId", "partner.id", "partner", "id")),),
                    _since("partner"),
                ),
                "partner.changed",
            ),
            subscribable=False,
        ),
        "transaction.changed": KnownType(
            "transaction.TransactionChanged", (_own("transaction"),), _since("transaction")
        ),
        "settlementReport.created": KnownType(
            "partner.SettlementReportCreated",
            (
                _flat(
                    "settlementReport",
                    "settlement-report",
                    "partnerSettlementReport.id",
                    "partnerSettlementReportId",
                ),
            ),
            ("lastUpdatedAt", "settlementReport.lastUpdatedAt", "issueDate"),
        ),
        "idTag.changed": KnownType(
            "user.IdTagChanged", (("id-tag", ("idTagsId", "idTagId", "idTag.id", "id")),), _since("idTag")
        ),
        "chargePoint.dataTransferReceived": KnownType(
            "charge_point.ChargePointDataTransferReceived", (_CHARGE_POINT,)
        ),
        "subscriptionPlan.changed": _undocumented(
            KnownType(
                "undocumented.SubscriptionPlanChanged",
                (_own("subscriptionPlan", "subscription-plan"),),
                _since("subscriptionPlan"),
            )
        ),
        "user.invoiceDetails.changed": KnownType(
            "user.UserInvoiceDetailsChanged", (_id_of("user", "user", "invoiceDetails.userId"),)
        ),
        # Its `id` is the roaming id; the id of the record itself is not in it.
        "cdr.received": KnownType(
            "roaming.CdrReceived",
            (("cdr", ("id", "roamingId", "cdr.roamingId", "cdr.id", "cdrId", "cdr")),),
            ("createdAt", "cdr.lastUpdatedAt", "cdr.createdAt"),
        ),
        "chargingProfile.applied": KnownType(
            "charge_point.ChargingProfileApplied",
            (_CHARGE_POINT, _EVSE, ("charging-profile", ("chargingProfile.id", "chargingProfile"))),
            ("appliedAt",),
        ),
        "installerJob.changed": KnownType(
            "installer_job.InstallerJobChanged",
            (_flat("installerJob", "installer-job"),),
            (*_since("installerJob"), "createdAt"),
        ),
    }
)

SUBSCRIBABLE = frozenset(name for name, known in KNOWN_TYPES.items() if known.subscribable)
"""What Subscribe accepts by the contract; later versions may accept more."""

# For a type that is not listed, and for a listed one whose own paths find nothing. A bare `id` is not among
# them: of an unknown object it might as well be the id of the announcement.
FALLBACK = KnownType(
    "",
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
    ("session.lastUpdatedAt", "session.updatedAt", "meterValues[].timestamp"),
)

_ISSUE = KnownType(
    "undocumented.IssueChanged", (_own("issue"),), ("updatedAt", "issue.updatedAt"), "unknown", None
)

# Payloads that an index of a later specification describes without saying which string announces them: the
# strings are likely ones, and Subscribe is not known to accept them. A third one, about a partner's corporate
# billing policy, has neither a string nor a shape: it is left out.
UNCONFIRMED_TYPES: Mapping[str, KnownType] = MappingProxyType(
    {
        "issue.changed": replace(_ISSUE, subscribable=False),
        "IssueChangedNotification": replace(_ISSUE, subscribable=False),
        "FirmwareStatusNotification": KnownType(
            "undocumented.FirmwareStatus", (_CHARGE_POINT,), (), "unknown", None, subscribable=False
        ),
    }
)


def time_paths(known: KnownType) -> tuple[str, ...]:
    """Paths of a notification's own time, in the order to try them."""
    return (*known.times, *(path for path in _TIMES if path not in known.times))


def spellings(notification_type: str) -> tuple[str, ...]:
    """All types that announce the same facts as this one, the preferred one first.

    A handler of the preferred type's model accepts all of them, so one subscription is enough: to the first one, or
    where Subscribe refuses it, to the next. A type without another spelling is returned alone, unknown ones too.
    """
    known = KNOWN_TYPES.get(notification_type)
    preferred = known.superseded_by[0] if known and known.superseded_by else notification_type
    older = (name for name, each in KNOWN_TYPES.items() if each.superseded_by[:1] == (preferred,))
    return (preferred, *older)
