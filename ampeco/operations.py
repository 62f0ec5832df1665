"""Endpoints of AMPECO's API as data; knows no transport and no arguments.

One row per endpoint, so that the table can grow to all actions without new code. `idempotent` answers one question:
does a second equal call change nothing more? AMPECO documents no idempotency key for any operation.

Source: endpoint index v3.106.5 and request bodies v3.110.0 (paths and methods: confirmed).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from string import Formatter
from types import MappingProxyType
from typing import Literal

Kind = Literal["read", "write", "action"]


@dataclass(frozen=True, slots=True)
class Operation:
    """One endpoint.

    Attributes:
        name: our stable name, `<noun>.<verb>`; handlers declare it in `calls`.
        title: AMPECO's name of it.
        path: path with AMPECO's names of the parameters, e.g. `{chargePoint}`.
        kind: `read` changes nothing, `write` keeps records, `action` makes something happen.
        idempotent: a second equal call changes nothing more.
    """

    name: str
    title: str
    method: Literal["GET", "POST", "PUT", "DELETE"]
    path: str
    kind: Kind
    idempotent: bool

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the path parameters, in order."""
        return tuple(name for _, name, _, _ in Formatter().parse(self.path) if name)


SUBSCRIBE = Operation(
    "notifications.subscribe",
    "Notifications / Subscribe",
    "POST",
    "/public-api/notifications/v2.0",
    "write",
    idempotent=False,  # each call adds a notification subscription (stated by a generated client)
)
LIST_SUBSCRIPTIONS = Operation(
    "notifications.list",
    "Notifications / Listing",
    "GET",
    "/public-api/notifications/v2.0",
    "read",
    idempotent=True,
)
READ_SUBSCRIPTION = Operation(
    "notifications.read",
    "Notifications / Read",
    "GET",
    "/public-api/notifications/v2.0/{notification}",
    "read",
    idempotent=True,
)
UPDATE_SUBSCRIPTION = Operation(
    "notifications.update",
    "Notifications / Update",
    "PUT",
    "/public-api/notifications/v2.0/{notification}",
    "write",
    idempotent=True,
)
UNSUBSCRIBE = Operation(
    "notifications.unsubscribe",
    "Notifications / Unsubscribe",
    "DELETE",
    "/public-api/notifications/v2.0/{notification}",
    "write",
    idempotent=True,
)
RESEND_FAILED = Operation(
    "notifications.resend-failed",
    "Actions / Resend Failed Notifications",
    "POST",
    "/public-api/actions/notifications/v1.0/{notification}/resend",  # v1.0 only, also for v2.0 subscriptions
    "action",
    idempotent=False,  # at most once per 15 minutes and subscription
)
RESET_CHARGE_POINT = Operation(
    "charge-point.reset",
    "Actions / Reset",
    "POST",
    "/public-api/actions/charge-point/v1.0/{chargePoint}/reset/{type}",
    "action",
    idempotent=True,  # the charge point restarts once more; no money moves and nothing is left behind
)
UNLOCK_EVSE = Operation(
    "charge-point.unlock",
    "Actions / Unlock",
    "POST",
    "/public-api/actions/charge-point/v1.0/{chargePoint}/unlock/{evse}",
    "action",
    idempotent=False,  # a late repetition releases the cable of the next customer
)

OPERATIONS: Mapping[str, Operation] = MappingProxyType(
    {
        operation.name: operation
        for operation in (
            SUBSCRIBE,
            LIST_SUBSCRIPTIONS,
            READ_SUBSCRIPTION,
            UPDATE_SUBSCRIPTION,
            UNSUBSCRIBE,
            RESEND_FAILED,
            RESET_CHARGE_POINT,
            UNLOCK_EVSE,
        )
    }
)
