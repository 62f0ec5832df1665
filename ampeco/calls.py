"""What each method of the clients says to AMPECO, once for both: it yields requests and receives documents.

Knows no transport. A call ends by returning its result; an error of a request is thrown in at its `yield`.
"""

from collections.abc import Generator, Mapping, Sequence
from typing import Any, Literal, TypeVar

from ampeco.errors import NotFound, ServerFault
from ampeco.listing import Listing, narrowing
from ampeco.models.notification_subscription import KafkaTarget, NotificationSubscription, flags_body
from ampeco.operations import VERSIONS, Method, Operation
from ampeco.wire import WireRequest, build, build_at, content

T = TypeVar("T")
Call = Generator[WireRequest, Any, T]
Version = Literal["1.0", "2.0"]

MAX_PAGES = 1000


def call(
    method: Method,
    path: str,
    body: Mapping[str, Any] | Sequence[Any] | None,
    query: Mapping[str, Any] | None,
) -> Call[Any]:
    """Any operation by its method and path; the result is the document it answered, None when it answered none."""
    answer = yield build_at(method, path, body, narrowing(query=query))
    return answer


def subscribe(version: Version, body: Mapping[str, Any]) -> Call[NotificationSubscription]:
    """Notifications / Subscribe."""
    operation = VERSIONS["notifications.subscribe", version]
    return _subscription(operation, content((yield build(operation, body=body))))


def list_subscriptions(version: Version) -> Call[list[NotificationSubscription]]:
    """Notifications / Listing, all pages; an entry that is met twice counts once."""
    operation = VERSIONS["notifications.list", version]
    listing = Listing(operation, item=lambda data: _subscription(operation, data), max_pages=MAX_PAGES)
    found: dict[str, NotificationSubscription] = {}
    request: WireRequest | None = listing.first()
    while request is not None:
        subscriptions, request = listing.read((yield request))
        for subscription in subscriptions:
            found.setdefault(subscription.id, subscription)
    return list(found.values())


def read_subscription(version: Version, subscription_id: str) -> Call[NotificationSubscription]:
    """Notifications / Read."""
    operation = VERSIONS["notifications.read", version]
    return _subscription(operation, content((yield build(operation, {"notification": subscription_id}))))


def update_subscription(
    version: Version, subscription_id: str, body: Mapping[str, Any]
) -> Call[NotificationSubscription]:
    """Notifications / Update: replaces the whole subscription. An empty answer means that it is as was asked."""
    operation = VERSIONS["notifications.update", version]
    answer = yield build(operation, {"notification": subscription_id}, body)
    asked = {**body, "id": subscription_id}
    return NotificationSubscription.read(content(answer)) or _subscription(operation, asked)


def unsubscribe(version: Version, subscription_id: str) -> Call[None]:
    """Notifications / Unsubscribe; one that is already gone is fine."""
    try:
        yield build(VERSIONS["notifications.unsubscribe", version], {"notification": subscription_id})
    except NotFound:
        return


def subscription_body(
    notifications: Sequence[str],
    callback_url: str | None,
    kafka: KafkaTarget | None,
    flags: Mapping[str, Any],
) -> dict[str, Any]:
    """Body of Subscribe and Update in version 2.0.

    Source: notifications v2.0 at v3.110.0 (confirmed; the read-only `id` is left out as a client in production does).

    Raises:
        ValueError: neither or both of `callback_url` and `kafka` are given.
    """
    common = {"notifications": list(notifications), **flags_body(flags)}
    if kafka is not None and callback_url is None:
        return {"via": "kafka", **common, "kafka": kafka.body()}
    if callback_url is not None and kafka is None:
        return {"via": "webhook", **common, "webhook": {"callbackUrl": callback_url}}
    raise ValueError("a notification subscription needs either a callback_url or a kafka target")


def subscription_body_v1(
    notifications: Sequence[str], callback_url: str, include_timestamp_in_signature: bool | None
) -> dict[str, Any]:
    """Body of Subscribe and Update in version 1.0."""
    flags = {"include_timestamp_in_signature": include_timestamp_in_signature}
    return {"callbackUrl": callback_url, "notifications": list(notifications), **flags_body(flags)}


def _subscription(operation: Operation, data: Any) -> NotificationSubscription:
    subscription = NotificationSubscription.read(data)
    if subscription is None:
        raise ServerFault(operation.name, None, "the answer names no notification subscription")
    return subscription
