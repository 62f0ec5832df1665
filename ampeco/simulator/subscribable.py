"""The notification types Subscribe accepts.

Source: enum of POST /public-api/notifications/v2.0, typed client of v3.96.4. A list of its own, beside the
catalogue of `ampeco.notifications`: the other side of the wire must not follow our mistakes.
"""

SUBSCRIBABLE = frozenset(
    {
        "AuthorizationNotification",
        "authorization.changed",
        "BootNotification",
        "ChargePointChangedNotification",
        "chargePoint.changed",
        "evse.changed",
        "ChargePointSyncConfigurationNotification",
        "CircuitConsumptionNotification",
        "circuit.changed",
        "DiagnosticsStatusNotification",
        "HardwareStatusNotification",
        "LocationChangedNotification",
        "NetworkStatusNotification",
        "SecurityEventNotification",
        "SessionMeterValuesNotification",
        "SessionStartStopNotification",
        "session.start.stop.notification",
        "SessionUpdateNotification",
        "UserChangedNotification",
        "SubOperatorChangedNotification",
        "TariffChangedNotification",
        "user.subscriptionChanged",
        "user.subscription.changed",
        "ReservationChangedNotification",
        "PaymentMethodChangedNotification",
        "PartnerInviteChangedNotification",
        "reservation.changed",
        "user.paymentMethod.changed",
        "userBalance.changed",
        "partnerInvite.changed",
        "roamingPlatform.changed",
        "parkingSpace.occupancyStatus.changed",
        "partner.changed",
        "transaction.changed",
        "settlementReport.created",
        "idTag.changed",
        "chargePoint.dataTransferReceived",
        "subscriptionPlan.changed",
        "user.invoiceDetails.changed",
        "cdr.received",
        "chargingProfile.applied",
        "installerJob.changed",
    }
)
