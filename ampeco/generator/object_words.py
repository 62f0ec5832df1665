"""What the schemas do not say and we decided about the objects: good names, types of bare names, warnings.

Every entry is a judgement of ours, so it stands here and not in the facts. A key is `Title.path`, the path in
AMPECO's own spelling, `[]` left out.
"""

from collections.abc import Mapping

SUMMARIES: Mapping[str, str] = {
    "Session": "A snapshot of a charging session; it may already be stale when it arrives.",
    "AuthorizationLegacy": "An authorization in the older vocabulary: `rfid_tag` where newer ones say `id_tag`.",
    "ChargePointV1": "A charge point in the v1.0 shape; put together from parts, so names may be missing.",
    "LocationV1": "A location in the v1.0 shape, snake_case on the wire.",
    "InvoiceDetails": "Invoice details of a user: its fields depend on the invoicing integration.",
    "MeterValue": "One reading.",
    "Notification": "A notification subscription at AMPECO.",
}

# Names of classes that the path alone would name badly; equal shapes of one module share the first one's class.
CLASS_NAMES: Mapping[str, str] = {
    "CdrOicpDataCalibrationLawVerificationInfo": "CdrOicpCalibrationLaw",
    "CdrOicpDataIdentification": "CdrOicpIdentification",
    "CdrOicpIdentificationPlugAndChargeIdentification": "CdrOicpPlugAndCharge",
    "CdrOicpIdentificationQrCodeIdentification": "CdrOicpQrCode",
    "CdrOicpIdentificationRfidIdentification": "CdrOicpRfid",
    "CdrOicpIdentificationRfidMifareFamilyIdentification": "CdrOicpRfidMifare",
    "CircuitConsumption": "CircuitPhaseLoad",
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

# Types of names that the facts give without a type. The rest of them are `Any`.
TEXT: frozenset[str] = frozenset(
    {
        "MeterValue.measurand",
        "MeterValue.unit",
        "MeterValue.location",
        *(
            f"Issue.{name}"
            for name in ("category", "priority", "severity", "status", "title", "workflowState")
        ),
        "Issue.keyResource.resourceType",
        "IssueChangedNotification.action",
        "IssueChangedNotification.status",
        "IssueChangedNotification.workflowState",
        "FirmwareStatusNotification.protocol",
        "FirmwareStatusNotification.firmwareStatus",
        *(
            f"BootNotification.{name}"
            for name in (
                *(
                    "charge_box_serial_number",
                    "charge_point_serial_number",
                    "firmware_version",
                    "iccid",
                    "imsi",
                ),
                *("meter_serial_number", "meter_type", "model", "reason", "vendor"),
            )
        ),
    }
)

# Ends like a moment, and may well be a time of day: it stays text.
TIMES_OF_DAY: frozenset[str] = frozenset(
    {
        "Tariff.pricing.flexibleMarkUpAsFixedPerKwh.intervalPricing.startsAt",
        "Tariff.pricing.flexibleMarkUpAsFixedPerKwh.intervalPricing.endsAt",
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

ANNOTATIONS: Mapping[str, str] = {
    "MeterValue.value": 'Annotated[float | str | None, Field(union_mode="left_to_right")]',
}

DOCS: Mapping[str, str] = {
    "Session.energy": "charged energy. AMPECO does not publish its unit, and users of the API contradict each other "
    "(Wh and kWh): compare with a known session of your tenant before billing by it.",
    "Session.reason": "why it ended",
    "Session.authorization": "not in every session; the older vocabulary.",
    "MeterValue.value": "a number whenever it can be read as one, else the text (OCPP knows signed readings).",
    "MeterValue.measurand": "what was measured; OCPP's names are likely, e.g. `Energy.Active.Import.Register`.",
    "EVSE.powerOptions.maxPower": "W, going by one user of the API.",
    "Cdr.oicpData.evseId": "the roaming id, not AMPECO's.",
    "SecurityEvent.chargePoint": "id of the charge point.",
    "Reservation.duration": "unit not published.",
    "CircuitConsumption.consumption": "unit not published.",
    "Partner.notifications": "which mails the partner gets; no notifications of the API.",
}

# Kept out of `repr`, so that no log shows them by accident.
SECRETS: frozenset[str] = frozenset(
    {"password", "networkPassword", "pin", "locationPin", "token", "saslPassword", "fingerprint"}
)
