"""Build the call behind each method of the clients, once for both; knows no transport.

A call is a generator: it yields requests, receives the documents that AMPECO answered, and returns its result. An
error of a request is thrown in at its `yield`. Path values come in the order of the path, because versions of one
endpoint name the same id differently. Models are imported when first used: they take 0.1 s to load.
"""

from collections.abc import Generator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, TypeVar

from ampeco.actions.encoding import encode
from ampeco.errors import NotFound, ServerFault
from ampeco.listing import Listing, narrowing
from ampeco.models.notification_subscription import KafkaTarget, NotificationSubscription, flags_body
from ampeco.operations import OPERATIONS, VERSIONS, Id, Method, Operation
from ampeco.wire import WireRequest, build, build_at, content

if TYPE_CHECKING:
    from ampeco.models.payload import VendorObject
    from ampeco.newer import AsIs

T = TypeVar("T")
Call = Generator[WireRequest, Any, T]
Version = Literal["1.0", "2.0"]

Extra = Mapping[str, Any] | None
"""Further members of an action's body, by AMPECO's names, sent as they are."""

Free: TypeAlias = "VendorObject | AsIs"
"""What may be written anywhere. Of an object, the fields it was made with are sent, unknown ones included."""

Body = Mapping[str, Any] | list[Any]
"""What is written where the contract describes no body."""

NOT_GIVEN: Final[Any] = object()
MAX_PAGES = 1000


def call(
    method: Method,
    path: str,
    body: Mapping[str, Any] | Sequence[Any] | None,
    query: Mapping[str, Any] | None,
) -> Call[Any]:
    """Call any operation by its method and path; the result is the document it answered, None if there is none."""
    answer = yield build_at(method, path, body, narrowing(query=query))
    return answer


def act(
    name: str, parameters: Mapping[str, Id], given: Mapping[str, Any] | None = None, extra: Extra = None
) -> Call[Any]:
    """Carry out an action; the result is the document it answered, None when it answered none.

    Args:
        name: of the operation.
        parameters: a value for each path parameter.
        given: members of the body, `UNSET` ones included; None for an action without a body.
        extra: further members.
    """
    operation = OPERATIONS[name]
    body: Any = None
    if given is not None or extra:
        body = {**encode(operation.fields or (), given or {}), **(extra or {})}
    if operation.takes == "array":
        (body,) = body.values()
    answer = yield build(operation, parameters, body)
    return answer


def operation_of(name: str, version: str | None) -> Operation:
    """Return the operation in a version; without one, in the version that `OPERATIONS` has.

    Raises:
        ValueError: there is no such version; the message names those that exist.
    """
    if version is None:
        return OPERATIONS[name]
    try:
        return VERSIONS[name, version]
    except KeyError:
        known = ", ".join(other for named, other in VERSIONS if named == name)
        raise ValueError(f"{name} exists in version {known}, not {version}") from None


def listing(
    name: str,
    version: str | None,
    ids: tuple[Any, ...],
    filters: Mapping[str, Any] | None,
    *,
    include: Sequence[str],
    query: Mapping[str, Any] | None,
    per_page: int,
) -> Listing[Any]:
    """Walk through a list."""
    from ampeco.resources.documents import an_entry

    operation = operation_of(name, version)
    return Listing(
        operation,
        _named(operation, ids),
        item=partial(an_entry, operation),
        query=narrowing(filters, include, query),
        per_page=per_page,
    )


def read(
    name: str,
    version: str | None,
    ids: tuple[Any, ...],
    include: Sequence[str],
    query: Mapping[str, Any] | None,
) -> Call[Any]:
    """Read what is not a list."""
    from ampeco.resources.documents import an_object

    operation = operation_of(name, version)
    asked = narrowing(include=include, query=query)
    return an_object(operation, (yield build(operation, _named(operation, ids), query=asked)))


def write(name: str, version: str | None, given: tuple[Any, ...], body: Any) -> Call[Any]:
    """Create or change something; the result is what AMPECO answered, None when it answered nothing.

    Args:
        given: the ids, and after them the body unless `body` is given.
    """
    from ampeco.resources.documents import an_answer, plain

    operation = operation_of(name, version)
    if body is NOT_GIVEN:
        if not given:
            raise TypeError(f"{name} needs a body")
        given, body = given[:-1], given[-1]
    return an_answer(operation, (yield build(operation, _named(operation, given), plain(body))))


def delete(name: str, version: str | None, ids: tuple[Any, ...]) -> Call[None]:
    """Remove something."""
    operation = operation_of(name, version)
    yield build(operation, _named(operation, ids))


def subscribe(version: Version, body: Mapping[str, Any]) -> Call[NotificationSubscription]:
    """Notifications / Subscribe."""
    operation = VERSIONS["notifications.subscribe", version]
    return _subscription(operation, content((yield build(operation, body=body))))


def list_subscriptions(version: Version) -> Call[list[NotificationSubscription]]:
    """Notifications / Listing, all pages; an entry that comes twice counts once."""
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
    """Notifications / Update: replaces the whole subscription. After an empty answer the result is what was sent."""
    operation = VERSIONS["notifications.update", version]
    answer = yield build(operation, {"notification": subscription_id}, body)
    asked = {**body, "id": subscription_id}
    return NotificationSubscription.read(content(answer)) or _subscription(operation, asked)


def unsubscribe(version: Version, subscription_id: str) -> Call[None]:
    """Notifications / Unsubscribe; no error if it is already gone."""
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


def _named(operation: Operation, ids: Sequence[Any]) -> dict[str, Any]:
    if len(ids) != len(operation.parameters):
        expected = ", ".join(operation.parameters) or "no id"
        raise TypeError(f"{operation.name} takes {expected} in the path, not {len(ids)} ids")
    return dict(zip(operation.parameters, ids, strict=True))


def _subscription(operation: Operation, data: Any) -> NotificationSubscription:
    subscription = NotificationSubscription.read(data)
    if subscription is None:
        raise ServerFault(operation.name, None, "the answer names no notification subscription")
    return subscription
