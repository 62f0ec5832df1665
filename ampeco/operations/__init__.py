"""Every endpoint of AMPECO's API as data (`OPERATIONS`, `VERSIONS`); the methods over it are in the modules beside."""

from ampeco.operations.table import OPERATIONS, VERSIONS, Field, Format, Kind, Method, Operation

__all__ = ["OPERATIONS", "VERSIONS", "Field", "Format", "Kind", "Method", "Operation"]

SUBSCRIBE = OPERATIONS["notifications.subscribe"]
LIST_SUBSCRIPTIONS = OPERATIONS["notifications.list"]
READ_SUBSCRIPTION = OPERATIONS["notifications.read"]
UPDATE_SUBSCRIPTION = OPERATIONS["notifications.update"]
UNSUBSCRIBE = OPERATIONS["notifications.unsubscribe"]
RESEND_FAILED = OPERATIONS["notifications.resend-failed"]
RESET_CHARGE_POINT = OPERATIONS["charge-point.reset"]
UNLOCK_EVSE = OPERATIONS["charge-point.unlock"]
