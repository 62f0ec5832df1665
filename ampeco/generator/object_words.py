"""What the schemas do not say and we decided about the objects: good names, types of bare names, warnings.

Every entry is a judgement of ours, so it stands here and not in the facts. A key is `Title.path`, the path in
AMPECO's own spelling, `[]` left out.
"""

from collections.abc import Mapping

SUMMARIES: Mapping[str, str] = {
    "Session": "A snapshot of a charging session; it may already be stale when it arrives.",
    "AuthorizationLegacy": "An authorization in the older vocabulary: `rfid_tag` where newer ones say `id_tag`.",
    "ChargePointV1": "A charge point in the v1.0 shape.",
    "LocationV1": "A location in the v1.0 shape, snake_case on the wire.",
    "InvoiceDetails": "Invoice details of a user: its fields depend on the invoicing integration.",
    "Notification": "A notification subscription at AMPECO.",
}

# Names of classes that the path alone would name badly; equal shapes of one module share the first one's class.
CLASS_NAMES: Mapping[str, str] = {
    "BootBootNotification": "BootDetails",
    "ChargePointSyncConfigurationConfiguration": "ConfigurationKey",
    "ChargingProfileAppliedChargingProfile": "AppliedChargingProfile",
    "AppliedChargingProfileSchedulePeriod": "AppliedSchedulePeriod",
    "CircuitConsumptionReportedCurrentConsumption": "CircuitPhaseLoad",
    "InstallerJobChangedChargePoint": "InstallerJobChargePoint",
    "LegacyPartnerChangedUser": "LegacyPartnerIdentity",
    "SessionMeterValuesMeterValue": "MeterValue",
    "SubOperatorChangedSubOperator": "SubOperatorIdentity",
    "CdrOicpDataCalibrationLawVerificationInfo": "CdrOicpCalibrationLaw",
    "CdrOicpDataIdentification": "CdrOicpIdentification",
    "CdrOicpIdentificationPlugAndChargeIdentification": "CdrOicpPlugAndCharge",
    "CdrOicpIdentificationQrCodeIdentification": "CdrOicpQrCode",
    "CdrOicpIdentificationRfidIdentification": "CdrOicpRfid",
    "CdrOicpIdentificationRfidMifareFamilyIdentification": "CdrOicpRfidMifare",
    "CircuitLoadBalancingIntegrationFields": "CircuitLoadBalancingFields",
    "LocationLocationImage": "LocationImage",
    "LocationName": "LocationTranslation",
    "LocationRoamingOwner": "LocationRoamingParty",
    "LocationWeekMonday": "LocationOpeningHours",
    "LocationWorkingHoursHours": "LocationWeek",
    "PartnerContactDetailsAdministrative": "PartnerContact",
    "SessionClockAlignedEnergyConsumptionEnergyConsumption": "SessionEnergySources",
    "SessionTotalAmount": "SessionPrice",
    "SubscriptionPlanName": "SubscriptionPlanTranslation",
    "TariffPricePeriodsConnectionFeePeriods": "TariffFees",
    "TariffPricingDaysWhenApplied": "TariffDays",
    "TariffPricingFlexibleMarkUpAsFixedPerKwh": "TariffFlexibleMarkUp",
    "TariffFlexibleMarkUpIntervalPricing": "TariffIntervalPrice",
    "TariffPricingPricePeriods": "TariffPricePeriods",
}

# What stays text: names that the facts give without a type, and names that end like ids and are not AMPECO's.
TEXT: frozenset[str] = frozenset(
    {
        *(
            "externalId",
            "external_id",
            "externalSessionId",
            "messageId",
            "networkId",
            "personalId",
            "vendorId",
        ),
        *(
            f"Issue.{name}"
            for name in ("category", "priority", "severity", "status", "title", "workflowState")
        ),
        "Issue.keyResource.resourceType",
    }
)

# Named or formatted like a moment, and none: a time of day, or a moment of the tenant's clock without a zone.
NO_MOMENTS: frozenset[str] = frozenset(
    {
        "Tariff.pricing.flexibleMarkUpAsFixedPerKwh.intervalPricing.startsAt",
        "Tariff.pricing.flexibleMarkUpAsFixedPerKwh.intervalPricing.endsAt",
        "startedAtTimestampLocal",
        "stoppedAtTimestampLocal",
    }
)

# Objects that no operation answers: they are part of a notification, and described with it.
NOT_ANSWERED: frozenset[str] = frozenset(
    {
        "BootNotification",
        "ChargePointConfiguration",
        "ChargingProfile",
        "CircuitConsumption",
        "FirmwareStatusNotification",
        "IssueChangedNotification",
        "MeterValue",
    }
)

# Numbers that are ids although their names do not end in `Id` or `Ids`.
IDS: frozenset[str] = frozenset(
    {
        "ParkingSpace.evses",
        "SecurityEvent.chargePoint",
        "SubscriptionPlan.allowance.includedPartnerChargePoints",
        "SubscriptionPlan.allowance.excludedPartnerChargePoints",
        *(
            f"SubscriptionPlan.visibilityRestrictions.{which}{whom}"
            for which in ("included", "excluded")
            for whom in ("PartnerUsers", "UserGroups")
        ),
        "Tariff.restrictions.applyToUsersOfPartners",
        "Tariff.restrictions.applyToUsersWithSubscriptions",
    }
)

DOCS: Mapping[str, str] = {
    "Session.energy": "charged energy in Wh.",
    "Session.powerKw": "kW; the contract deprecates it for `power`.",
    "Session.reason": "why it ended, see `ampeco.states.SessionReason`.",
    "Session.authorization": "not in every session; the older vocabulary.",
    "EVSE.powerOptions.maxPower": "W, going by one user of the API.",
    "Cdr.oicpData.evseId": "the roaming id, not AMPECO's.",
    "SecurityEvent.chargePoint": "id of the charge point.",
    "Reservation.duration": "unit not published.",
    "Partner.notifications": "which mails the partner gets; no notifications of the API.",
}

# Kept out of `repr`, so that no log shows them by accident.
SECRETS: frozenset[str] = frozenset(
    {"password", "networkPassword", "pin", "locationPin", "token", "saslPassword", "fingerprint"}
)
