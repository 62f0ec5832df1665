"""The notification types that can be made from a resource, because a listing shows when it changed."""

LISTED_TYPES = (
    "SessionUpdateNotification",
    "UserChangedNotification",
    "cdr.received",
    "chargePoint.changed",
    "evse.changed",
    "idTag.changed",
    "partner.changed",
    "transaction.changed",
)
