"""The notification types AMPECO is known to send, as data: model, entity, own time, deprecation.

Entities are tried in order and, for each, its paths: the first id found is the key. Everything of a charge
point is keyed by the charge point, where the payload names it, because that is what order is promised for. What
belongs to a customer (payment methods, subscriptions, balance) is keyed by the user. The contract's own field comes
first among the paths; the others are shapes that clients and older documents show.

Source: published contract v3.110.0 (39 callbacks, and the 42 strings that Subscribe takes).
"""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from ampeco.known_type import KnownType, carried, deprecated, flat, id_of, own, since, undocumented

_CHARGE_POINT = id_of("chargePoint", "charge-point")
_EVSE = id_of("evse")
_SESSION = id_of("session")
_START_STOP = (own("session"), id_of("chargePoint", "charge-point", "session.chargePointId"))
_START_STOP_TIMES = (
    "lastUpdatedAt",
    "session.lastUpdatedAt",
    "session.updatedAt",
    *("stoppedAtTimestamp", "session.stoppedAt"),
    *("startedAtTimestamp", "session.startedAt"),
)
_SUBSCRIPTION = (
    id_of("user", "user", "subscription.userId"),
    ("subscription", ("subscriptionId", "subscription.id", "id")),
)
_PAYMENT_METHOD = (
    id_of("user", "user", "paymentMethod.userId"),
    own("paymentMethod", "payment-method"),
)

KNOWN_TYPES: Mapping[str, KnownType] = MappingProxyType(
    {
        "AuthorizationNotification": deprecated(
            KnownType(
                "authorization.LegacyAuthorizationChanged",
                (own("authorization"), _CHARGE_POINT),
                since("authorization"),
            ),
            "authorization.changed",
        ),
        "authorization.changed": KnownType(
            "authorization.AuthorizationChanged",
            (own("authorization"), _CHARGE_POINT),
            since("authorization"),
        ),
        "BootNotification": KnownType("boot.Boot", (_CHARGE_POINT,), ("timestamp",)),
        "ChargePointChangedNotification": deprecated(
            KnownType(
                "charge_point.LegacyChargePointChanged",
                (("charge-point", (*carried("chargePoint")[1], "charge-point.id")),),
                since("chargePoint"),
            ),
            "chargePoint.changed",  # edits of an EVSE alone: `evse.changed`
        ),
        "chargePoint.changed": KnownType(
            "charge_point.ChargePointChanged", (own("chargePoint", "charge-point"),), since("chargePoint")
        ),
        "evse.changed": KnownType(
            "charge_point.EvseChanged",
            (own("evse"), id_of("chargePoint", "charge-point", "evse.chargePointId")),
            since("evse"),
        ),
        "ChargePointSyncConfigurationNotification": KnownType(
            "charge_point.ChargePointSyncConfiguration",
            (_CHARGE_POINT,),
            ("configuration[].lastUpdatedAt", "configuration[].timestamp"),
        ),
        "CircuitConsumptionNotification": KnownType(
            "circuit.CircuitConsumptionReported",
            (own("circuit"),),
            (
                "currentConsumption[].lastUpdatedAt",
                "consumption[].lastUpdatedAt",
                "circuit.currentConsumption[].lastUpdatedAt",
            ),
        ),
        "circuit.changed": KnownType("circuit.CircuitChanged", (own("circuit"),), since("circuit")),
        "DiagnosticsStatusNotification": KnownType("status.DiagnosticsStatus", (_CHARGE_POINT,)),
        "HardwareStatusNotification": KnownType(
            "status.HardwareStatus", (_CHARGE_POINT, _EVSE), ("timestamp",)
        ),
        "LocationChangedNotification": KnownType(
            "location.LocationChanged", (carried("location"),), since("location")
        ),
        "NetworkStatusNotification": KnownType("status.NetworkStatus", (_CHARGE_POINT,), ("timestamp",)),
        "SecurityEventNotification": KnownType(
            "charge_point.SecurityEventReported",
            (
                id_of(
                    "chargePoint", "charge-point", "securityEvent.chargePointId", "securityEvent.chargePoint"
                ),
            ),
            ("timestamp", "securityEvent.timestamp"),
        ),
        "SessionMeterValuesNotification": KnownType(
            "meter_values.SessionMeterValues", (_SESSION, _CHARGE_POINT), ("meterValues[].timestamp",)
        ),
        "SessionStartStopNotification": deprecated(
            KnownType("session.SessionStartStop", _START_STOP, _START_STOP_TIMES),
            "session.start.stop.notification",
        ),
        "session.start.stop.notification": KnownType(
            "session.SessionStartStop", _START_STOP, _START_STOP_TIMES
        ),
        "SessionUpdateNotification": KnownType(
            "session.SessionUpdate",
            (carried("session"), id_of("chargePoint", "charge-point", "session.chargePointId")),
            ("session.lastUpdatedAt", "session.updatedAt"),
        ),
        "UserChangedNotification": KnownType("user.UserChanged", (carried("user"),), since("user")),
        "SubOperatorChangedNotification": KnownType(
            "partner.SubOperatorChanged", (carried("subOperator", "sub-operator"),), since("subOperator")
        ),
        "TariffChangedNotification": KnownType("tariff.TariffChanged", (carried("tariff"),), since("tariff")),
        "user.subscriptionChanged": deprecated(
            KnownType("user.LegacyUserSubscriptionChanged", _SUBSCRIPTION, since("subscription")),
            "user.subscription.changed",
        ),
        "user.subscription.changed": KnownType(
            "user.UserSubscriptionChanged", _SUBSCRIPTION, since("subscription")
        ),
        "ReservationChangedNotification": undocumented(
            KnownType("undocumented.LegacyReservationChanged", (own("reservation"),), since("reservation")),
            "reservation.changed",
        ),
        "PaymentMethodChangedNotification": undocumented(
            KnownType("undocumented.LegacyPaymentMethodChanged", _PAYMENT_METHOD, since("paymentMethod")),
            "user.paymentMethod.changed",
        ),
        "PartnerInviteChangedNotification": undocumented(
            KnownType(
                "undocumented.LegacyPartnerInviteChanged",
                (own("partnerInvite", "partner-invite"),),
                since("partnerInvite"),
            ),
            "partnerInvite.changed",
        ),
        "reservation.changed": KnownType(
            "reservation.ReservationChanged", (own("reservation"),), since("reservation")
        ),
        "user.paymentMethod.changed": KnownType(
            "user.UserPaymentMethodChanged", _PAYMENT_METHOD, since("paymentMethod")
        ),
        "userBalance.changed": KnownType(
            "user.UserBalanceChanged", (id_of("user", "user", "userBalance.userId"),)
        ),
        "partnerInvite.changed": KnownType(
            "partner.PartnerInviteChanged",
            (own("partnerInvite", "partner-invite"),),
            since("partnerInvite"),
        ),
        "roamingPlatform.changed": KnownType(
            "roaming.RoamingPlatformChanged",
            (
                own(
                    "roamingPlatform",
                    "roaming-platform",
                    "roamingConnectionId",
                    "roamingConnection.id",
                    "roamingConnection",
                ),
            ),
            since("roamingPlatform"),
        ),
        "parkingSpace.occupancyStatus.changed": KnownType(
            "location.ParkingSpaceOccupancyStatusChanged",
            (own("parkingSpace", "parking-space"),),
            since("parkingSpace"),
        ),
        "partner.changed": KnownType("partner.PartnerChanged", (own("partner"),), since("partner")),
        # The contract calls the field `user`; what it names is the partner.
        "PartnerChangedNotification": replace(
            deprecated(
                KnownType(
                    "partner.LegacyPartnerChanged",
                    (("partner", ("user.id", "user", "partnerId", "partner.id", "partner", "id")),),
                    since("partner"),
                ),
                "partner.changed",
            ),
            subscribable=False,
        ),
        "transaction.changed": KnownType(
            "transaction.TransactionChanged", (own("transaction"),), since("transaction")
        ),
        "settlementReport.created": KnownType(
            "partner.SettlementReportCreated",
            (
                flat(
                    "settlementReport",
                    "settlement-report",
                    "partnerSettlementReport.id",
                    "partnerSettlementReportId",
                ),
            ),
            ("lastUpdatedAt", "settlementReport.lastUpdatedAt", "issueDate"),
        ),
        "idTag.changed": KnownType(
            "user.IdTagChanged", (("id-tag", ("idTagsId", "idTagId", "idTag.id", "id")),), since("idTag")
        ),
        "chargePoint.dataTransferReceived": KnownType(
            "charge_point.ChargePointDataTransferReceived", (_CHARGE_POINT,)
        ),
        "subscriptionPlan.changed": undocumented(
            KnownType(
                "undocumented.SubscriptionPlanChanged",
                (own("subscriptionPlan", "subscription-plan"),),
                since("subscriptionPlan"),
            )
        ),
        "user.invoiceDetails.changed": KnownType(
            "user.UserInvoiceDetailsChanged", (id_of("user", "user", "invoiceDetails.userId"),)
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
            (flat("installerJob", "installer-job"),),
            (*since("installerJob"), "createdAt"),
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
    "undocumented.IssueChanged", (own("issue"),), ("updatedAt", "issue.updatedAt"), "unknown", None
)

# An index of a later specification describes these payloads without the strings that announce them. The strings are
# likely ones, and Subscribe is not known to accept them. A third one, about a partner's corporate
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


def spellings(notification_type: str) -> tuple[str, ...]:
    """All types that announce the same facts as this one, the preferred one first.

    A handler of the preferred type's model accepts all of them. So one subscription is enough: to the first type, or
    where Subscribe refuses it, to the next. A type without another spelling is returned alone, unknown ones too.
    """
    known = KNOWN_TYPES.get(notification_type)
    preferred = known.superseded_by[0] if known and known.superseded_by else notification_type
    older = (name for name, each in KNOWN_TYPES.items() if each.superseded_by[:1] == (preferred,))
    return (preferred, *older)
