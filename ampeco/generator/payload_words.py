"""What the contract does not say and we decided about payloads: names of classes, other shapes, words.

Every entry is a judgement of ours. A shape other than the contract's is accepted because an older tenant, a proxy or
an older document had it: `nouns`, `synonyms` and `covers` say where the same fields may be.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Words:
    """One payload class.

    Attributes:
        name: of the class, which `ampeco.notifications` exports.
        module: in `ampeco.models`.
        summary: first line of its docstring.
        more: further lines of it.
        covers: deprecated types whose bodies it reads as well; it has one set of fields for all of them.
        optional: fields that the contract requires, and a covered type lacks.
        attributes: wire name -> attribute, where it is not the wire name in snake_case.
        carries: the field whose object may also lie at the top, or be there by its id alone.
        nouns: objects in which the fields may lie instead of at the top.
        synonyms: wire name -> other names of the field.
        same_words: field -> word of a covered type -> the same word here.
        base: class in `ampeco.models.liberal`.
        docs: attribute -> words about it.
    """

    name: str
    module: str
    summary: str
    more: str = ""
    covers: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)
    carries: str = ""
    nouns: tuple[str, ...] = ()
    synonyms: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    same_words: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    base: str = "LiberalPayload"
    docs: Mapping[str, str] = field(default_factory=dict)


PAYLOADS: Mapping[str, Words] = {
    "AuthorizationNotification": Words(
        "LegacyAuthorizationChanged",
        "authorization",
        "A charge point asked whether an id tag may charge.",
        "Deprecated by AMPECO: use `AuthorizationChanged`, which reads these bodies as well.",
        nouns=("authorization",),
    ),
    "authorization.changed": Words(
        "AuthorizationChanged",
        "authorization",
        "An authorization was created or updated.",
        "Of an `AuthorizationNotification`, `action` is None, and every refusal has the status `rejected`.",
        covers=("AuthorizationNotification",),
        optional=("action",),
        nouns=("authorization",),
        same_words={
            "status": {
                "Accepted": "accepted",
                **dict.fromkeys(("Blocked", "Expired", "Invalid", "ConcurrentTx"), "rejected"),
            }
        },
    ),
    "BootNotification": Words(
        "Boot",
        "boot",
        "A charge point has started.",
        synonyms={"bootNotification": ("boot",)},
        base="BootPayload",
    ),
    "ChargePointChangedNotification": Words(
        "LegacyChargePointChanged",
        "charge_point",
        "A charge point was created, updated or deleted; the charge point comes with it, in the v1.0 shape.",
        "Deprecated by AMPECO: use `ChargePointChanged`, which reads these bodies as well, and `EvseChanged`.",
        carries="chargePoint",
        synonyms={"chargePoint": ("charge-point",)},
    ),
    "chargePoint.changed": Words(
        "ChargePointChanged",
        "charge_point",
        "A charge point itself was created, updated or deleted: not its status, not its EVSEs.",
        covers=("ChargePointChangedNotification",),
        nouns=("chargePoint",),
    ),
    "evse.changed": Words(
        "EvseChanged",
        "charge_point",
        "An EVSE or a connector of it was created, updated or deleted: not its status.",
        "It does not say of which charge point: read the EVSE to find out.",
        nouns=("evse",),
    ),
    "ChargePointSyncConfigurationNotification": Words(
        "ChargePointSyncConfiguration",
        "charge_point",
        "The configuration of a charge point was read.",
        "One per action; after a boot without `request_id`.",
        docs={"request_id": "the id that the action answered.", "error": "why it could not be read."},
    ),
    "CircuitConsumptionNotification": Words(
        "CircuitConsumptionReported",
        "circuit",
        "The load of a circuit, phase by phase.",
        nouns=("circuit",),
        synonyms={"currentConsumption": ("consumption",)},
    ),
    "circuit.changed": Words(
        "CircuitChanged", "circuit", "A circuit was created, updated or deleted.", nouns=("circuit",)
    ),
    "DiagnosticsStatusNotification": Words(
        "DiagnosticsStatus",
        "status",
        "A charge point reports how far its diagnostics are.",
        docs={"request_id": "the id that the action answered."},
    ),
    "HardwareStatusNotification": Words(
        "HardwareStatus",
        "status",
        "A charge point or one of its EVSEs reports its hardware status, see `ampeco.states.Hardware`.",
        docs={"evse_id": "None when the charge point as a whole is meant."},
    ),
    "LocationChangedNotification": Words(
        "LocationChanged", "location", "A location was created, updated or deleted.", carries="location"
    ),
    "NetworkStatusNotification": Words(
        "NetworkStatus",
        "status",
        "A charge point went online or offline.",
        docs={"network_status": "as sent, with spaces; compare `normal_network_status`."},
    ),
    "SecurityEventNotification": Words(
        "SecurityEventReported",
        "charge_point",
        "A charge point reports an event that bears on its security.",
        nouns=("securityEvent",),
        docs={"type": "one of OCPP's names, e.g. `FirmwareUpdated`."},
    ),
    "SessionMeterValuesNotification": Words(
        "SessionMeterValues", "meter_values", "Readings of a running session: the most frequent notification."
    ),
    "SessionStartStopNotification": Words("SessionStartStop", "session", ""),
    "session.start.stop.notification": Words(
        "SessionStartStop",
        "session",
        "A session started or stopped: `action` says which.",
        "Both spellings of the type are read, and a body that nests a `session`. A missing `action` is filled in: "
        "`stop` when there is a time of the stop.",
        covers=("SessionStartStopNotification",),
        attributes={
            "startedAtTimestamp": "started_at",
            "stoppedAtTimestamp": "stopped_at",
            "startedAtTimestampLocal": "started_at_local",
            "stoppedAtTimestampLocal": "stopped_at_local",
            "energyConsumed": "energy_consumed_wh",
        },
        nouns=("session",),
        synonyms={
            "startedAtTimestamp": ("startedAt",),
            "stoppedAtTimestamp": ("stoppedAt", "endedAt"),
            "energyConsumed": ("energy",),
        },
        base="SessionPayload",
        docs={
            "user_id": "None for anonymous sessions, and always on a stop of the deprecated type.",
            "meter_start": "Wh.",
            "meter_stop": "Wh.",
            "reason": "why it ended, see `ampeco.states.SessionReason`.",
            "started_at_local": "text, in the local time of the charge point.",
            "stopped_at_local": "text, in the local time of the charge point.",
        },
    ),
    "SessionUpdateNotification": Words(
        "SessionUpdate", "session", "A running session changed.", carries="session"
    ),
    "UserChangedNotification": Words(
        "UserChanged",
        "user",
        "A user was created, updated, deleted or permanently deleted. It holds personal data.",
        carries="user",
    ),
    "user.invoiceDetails.changed": Words(
        "UserInvoiceDetailsChanged",
        "user",
        "What a user wants on invoices was created or updated.",
        nouns=("invoiceDetails",),
    ),
    "PartnerChangedNotification": Words(
        "LegacyPartnerChanged",
        "partner",
        "A partner was created or deleted.",
        "Deprecated by AMPECO: use `PartnerChanged`, which reads these bodies as well.",
        docs={"user": "the contract names the field so; its id is the partner's."},
        carries="user",
    ),
    "parkingSpace.occupancyStatus.changed": Words(
        "ParkingSpaceOccupancyStatusChanged",
        "location",
        "A parking space was taken or left.",
        nouns=("parkingSpace",),
    ),
    "partner.changed": Words(
        "PartnerChanged",
        "partner",
        "A partner was created, updated or deleted.",
        "The fields that identify it come when it was deleted. `PartnerChangedNotification` has no time.",
        covers=("PartnerChangedNotification",),
        optional=("lastUpdatedAt",),
        nouns=("partner",),
    ),
    "SubOperatorChangedNotification": Words(
        "SubOperatorChanged", "partner", "A sub-operator was created or deleted.", carries="subOperator"
    ),
    "TariffChangedNotification": Words(
        "TariffChanged", "tariff", "A tariff was created, updated or deleted.", carries="tariff"
    ),
    "reservation.changed": Words(
        "ReservationChanged",
        "reservation",
        "A reservation was made, used, cancelled or ran out; see `ampeco.states.Reservation`.",
        covers=("ReservationChangedNotification",),
        nouns=("reservation",),
    ),
    "user.paymentMethod.changed": Words(
        "UserPaymentMethodChanged",
        "user",
        "A payment method of a user was created, updated or deleted.",
        covers=("PaymentMethodChangedNotification",),
        nouns=("paymentMethod",),
    ),
    "partnerInvite.changed": Words(
        "PartnerInviteChanged",
        "partner",
        "The invitation of a user by a partner was created, updated or deleted.",
        covers=("PartnerInviteChangedNotification",),
        nouns=("partnerInvite",),
    ),
    "user.subscriptionChanged": Words(
        "LegacyUserSubscriptionChanged",
        "user",
        "The plan that a user subscribed to changed (no notification subscription).",
        "Deprecated by AMPECO: use `UserSubscriptionChanged`, which reads these bodies as well.",
        nouns=("subscription",),
    ),
    "user.subscription.changed": Words(
        "UserSubscriptionChanged",
        "user",
        "The plan that a user subscribed to changed (no notification subscription).",
        covers=("user.subscriptionChanged",),
        nouns=("subscription",),
        synonyms={"endsAt": ("endDate",)},
        same_words={"status": {"cancelled": "canceled"}},
    ),
    "idTag.changed": Words(
        "IdTagChanged",
        "user",
        "An id tag (a card, a MAC address, a contract id) was created, updated or deleted.",
        attributes={"idTagsId": "id_tag_id"},
        nouns=("idTag",),
    ),
    "roamingPlatform.changed": Words(
        "RoamingPlatformChanged",
        "roaming",
        "A roaming connection was created, updated or deleted.",
        nouns=("roamingPlatform", "roamingConnection"),
    ),
    "userBalance.changed": Words(
        "UserBalanceChanged", "user", "The balance of a user changed.", nouns=("userBalance",)
    ),
    "transaction.changed": Words(
        "TransactionChanged",
        "transaction",
        "A payment was created or updated.",
        "Read it to find its status, see `ampeco.states.Transaction`.",
        nouns=("transaction",),
    ),
    "settlementReport.created": Words(
        "SettlementReportCreated",
        "partner",
        "A settlement report for a partner was made.",
        nouns=("settlementReport", "partnerSettlementReport"),
    ),
    "chargePoint.dataTransferReceived": Words(
        "ChargePointDataTransferReceived",
        "charge_point",
        "A charge point sent something of its vendor's own.",
        docs={"vendor_id": "OCPP's name of the vendor."},
    ),
    "cdr.received": Words(
        "CdrReceived",
        "roaming",
        "A charge detail record arrived from a roaming platform.",
        "`roaming_id` is not the id that `resources.cdrs.read` takes. Find the record by it:\n"
        '`resources.cdrs.list(filters={"roamingId": payload.roaming_id})`.',
        attributes={"id": "roaming_id"},
        nouns=("cdr",),
    ),
    "chargingProfile.applied": Words(
        "ChargingProfileApplied",
        "charge_point",
        "A charging profile is in force now.",
        carries="chargingProfile",
    ),
    "installerJob.changed": Words(
        "InstallerJobChanged",
        "installer_job",
        "A job of an installer was created or updated.",
        nouns=("installerJob",),
    ),
}
