"""What each method of the clients says to AMPECO, once for both: it yields requests and receives documents.

Knows no transport. A call ends by returning its result; an error of a request is thrown in at its `yield`.
"""

from collections.abc import Generator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, TypeVar

from ampeco import operations
from ampeco.errors import NotFound, ServerFault
from ampeco.models.notification_subscription import NotificationSubscription
from ampeco.operations import Operation
from ampeco.wire import WireRequest, build, content, page

T = TypeVar("T")
Call = Generator[WireRequest, Any, T]
ResetType = Literal["soft", "hard"]

PER_PAGE = "100"  # documented maximum
MAX_PAGES = 1000
_SECOND = timedelta(seconds=1)


def subscribe(notifications: Sequence[str], callback_url: str) -> Call[NotificationSubscription]:
    """Notifications / Subscribe (v2.0)."""
    answer = yield build(operations.SUBSCRIBE, body=_subscription_body(notifications, callback_url))
    return _subscription(operations.SUBSCRIBE, content(answer))


def list_subscriptions() -> Call[list[NotificationSubscription]]:
    """Notifications / Listing (v2.0), all pages.

    Source: the first cursor is the literal `null` (two clients in production: confirmed practice, undocumented).
    """
    operation = operations.LIST_SUBSCRIPTIONS
    found: dict[str, NotificationSubscription] = {}
    seen: set[tuple[tuple[str, str], ...]] = set()
    query: tuple[tuple[str, str], ...] | None = (("cursor", "null"), ("per_page", PER_PAGE))
    while query is not None and query not in seen:
        if len(seen) == MAX_PAGES:
            raise ServerFault(operation.name, None, f"the list does not end after {MAX_PAGES} pages")
        seen.add(query)
        part = page(operation, (yield build(operation, query=query)))
        for item in part.items:
            subscription = _subscription(operation, item)
            found.setdefault(subscription.id, subscription)
        query = part.following and (*part.following, *_missing_size(part.following))
    return list(found.values())


def read_subscription(subscription_id: str) -> Call[NotificationSubscription]:
    """Notifications / Read (v2.0)."""
    answer = yield build(operations.READ_SUBSCRIPTION, {"notification": subscription_id})
    return _subscription(operations.READ_SUBSCRIPTION, content(answer))


def update_subscription(
    subscription_id: str, notifications: Sequence[str], callback_url: str
) -> Call[NotificationSubscription]:
    """Notifications / Update (v2.0): replaces the whole subscription."""
    body = _subscription_body(notifications, callback_url)
    answer = yield build(operations.UPDATE_SUBSCRIPTION, {"notification": subscription_id}, body)
    return NotificationSubscription.read(content(answer)) or NotificationSubscription(
        subscription_id, "webhook", tuple(notifications), callback_url
    )


def unsubscribe(subscription_id: str) -> Call[None]:
    """Notifications / Unsubscribe (v2.0); one that is already gone is fine."""
    try:
        yield build(operations.UNSUBSCRIBE, {"notification": subscription_id})
    except NotFound:
        return


def resend_failed(
    subscription_id: str,
    notifications: Sequence[str],
    start_time: datetime | None,
    end_time: datetime | None,
) -> Call[None]:
    """Actions / Resend Failed Notifications.

    Source: request body v3.110.0 (names: confirmed; format of the times: not publicly documented, ISO 8601 in UTC
    is sent, whole seconds, rounded so that the window never shrinks).
    """
    body: dict[str, Any] = {"notifications": list(notifications)}
    if start_time is not None:
        body["startTime"] = _utc(start_time).strftime("%Y-%m-%dT%H:%M:%SZ")
    if end_time is not None:
        rounded = _utc(end_time) + (_SECOND if end_time.microsecond else timedelta())
        body["endTime"] = rounded.strftime("%Y-%m-%dT%H:%M:%SZ")
    yield build(operations.RESEND_FAILED, {"notification": subscription_id}, body)


def reset_charge_point(charge_point_id: str, reset_type: ResetType) -> Call[None]:
    """Actions / Reset.

    Source: the type is lower case in a client generated from v3.96.4, capitalised in a hand-written one; whether
    case matters is not publicly documented.
    """
    yield build(operations.RESET_CHARGE_POINT, {"chargePoint": charge_point_id, "type": reset_type})


def unlock_evse(charge_point_id: str, evse_id: str) -> Call[None]:
    """Actions / Unlock."""
    yield build(operations.UNLOCK_EVSE, {"chargePoint": charge_point_id, "evse": evse_id})


def _subscription_body(notifications: Sequence[str], callback_url: str) -> dict[str, Any]:
    return {
        "via": "webhook",
        "notifications": list(notifications),
        "webhook": {"callbackUrl": callback_url},
    }


def _subscription(operation: Operation, data: Any) -> NotificationSubscription:
    subscription = NotificationSubscription.read(data)
    if subscription is None:
        raise ServerFault(operation.name, None, "the answer names no notification subscription")
    return subscription


def _missing_size(query: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    return () if any(name == "per_page" for name, _ in query) else (("per_page", PER_PAGE),)


def _utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError("a moment needs a time zone")
    return moment.astimezone(UTC)
