"""Reads the JSON bodies callers send to the pretend tenant, or refuses them with 422 as AMPECO does."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

from ampeco.contract import published
from ampeco.simulator.api.body_checks import FieldErrors
from ampeco.simulator.delivery.load_client import Target
from ampeco.simulator.fleet.announcements import encode
from ampeco.simulator.model import Refused, SubscriptionRequest
from ampeco.simulator.switches import Habits

FLAGS = ("includeTimestampInSignature", "suppressSelfNotifications", "skipRoamingInfrastructure")
"""Seen in the index of v3.251.8; types, defaults and effects are not publicly documented."""


MAX_URL = 500
"""Source: published contract v3.110.0."""
_USUAL = Habits()


class ResendRequest(NamedTuple):
    """What to send again: types, and the window of their failures."""

    notifications: tuple[str, ...]
    start_at: datetime | None
    end_at: datetime | None


class Letter(NamedTuple):
    """A notification by hand: the type decides which subscriptions get it; the body is not checked.

    Attributes:
        body: None for the sample of the type.
        as_it_is: it was given as a text, and no habit may change it.
    """

    notification: str
    charge_point_id: int | None
    body: bytes | None
    as_it_is: bool


def read_subscription(body: object, habits: Habits = _USUAL) -> SubscriptionRequest:
    """Body of Subscribe and Update (v2.0): the complete object; a read-only `id` is ignored."""
    fields, errors = _fields(body), FieldErrors()
    via = fields.get("via")
    if via not in ("webhook", "kafka"):  # not a set: it may be anything
        errors.add("via", "must be webhook or kafka")
    notifications = _types(fields, errors, _accepted(habits))
    callback_url, kafka = None, None
    if via == "webhook":
        callback_url = _callback_url(fields.get("webhook"), errors)
    elif via == "kafka":
        kafka = _kafka(fields.get("kafka"), errors)
    flags = _flags(fields, FLAGS, errors, accepted=habits.accepts_flags)
    errors.refuse_if_any()
    way: Literal["kafka", "webhook"] = "kafka" if via == "kafka" else "webhook"
    return SubscriptionRequest(way, notifications, callback_url, kafka, flags)


def read_subscription_v1(body: object, habits: Habits = _USUAL) -> SubscriptionRequest:
    """Body of Subscribe and Update (v1.0): `callbackUrl` and `notifications`."""
    fields, errors = _fields(body), FieldErrors()
    notifications = _types(fields, errors, _accepted(habits))
    callback_url = _url(fields.get("callbackUrl"), "callbackUrl", errors)
    flags = _flags(fields, FLAGS[:1], errors, accepted=habits.accepts_flags)
    errors.refuse_if_any()
    return SubscriptionRequest("webhook", notifications, callback_url, None, flags)


def read_resend(body: object, habits: Habits = _USUAL) -> ResendRequest:
    """Body of Resend Failed Notifications. Times are ISO 8601 or `Y-m-d H:i:s`; without an offset they are UTC."""
    fields, errors = _fields(body), FieldErrors()
    notifications = _types(fields, errors, _accepted(habits))
    start_at, end_at = _time(fields, "startTime", errors), _time(fields, "endTime", errors)
    if start_at and end_at and end_at < start_at:
        errors.add("endTime", "must not be before startTime")
    errors.refuse_if_any()
    return ResendRequest(notifications, start_at, end_at)


def read_letter(body: object) -> Letter:
    """Body of the control endpoint that sends one notification.

    `body` is an object, or a text to send as it is; without one it is the sample of the type.
    """
    fields, errors = _fields(body), FieldErrors()
    notification, charge_point, sent = (fields.get(n) for n in ("notification", "charge_point", "body"))
    if not isinstance(notification, str):
        errors.add("notification", "must be a notification type")
    if charge_point is not None and not _is_int(charge_point):
        errors.add("charge_point", "must be a whole number, or null")
    if not isinstance(sent, dict | str | None):
        errors.add("body", "must be an object or a text")
    errors.refuse_if_any()
    if isinstance(sent, str):
        return Letter(str(notification), charge_point, sent.encode(errors="surrogatepass"), True)
    return Letter(str(notification), charge_point, None if sent is None else encode(sent), False)


def _fields(body: object) -> Mapping[str, Any]:
    if not isinstance(body, dict):
        raise Refused(422, "The body must be a JSON object.")
    return body


def _accepted(habits: Habits) -> frozenset[str]:
    return published.subscribable().union(habits.extra_types).difference(habits.refused_types)


def _types(fields: Mapping[str, Any], errors: FieldErrors, accepted: frozenset[str]) -> tuple[str, ...]:
    given = fields.get("notifications")
    if not isinstance(given, list) or not given:
        errors.add("notifications", "must be a list with at least one notification type")
        return ()
    for index, name in enumerate(given):
        if not isinstance(name, str) or name not in accepted:
            errors.add(f"notifications.{index}", "is not a notification type")
    return tuple(name for name in given if isinstance(name, str))


def _callback_url(webhook: object, errors: FieldErrors) -> str | None:
    url = webhook.get("callbackUrl") if isinstance(webhook, dict) else None
    return _url(url, "webhook.callbackUrl", errors)


def _url(url: object, place: str, errors: FieldErrors) -> str | None:
    if isinstance(url, str) and len(url) <= MAX_URL:
        try:
            Target.of(url)
        except ValueError:
            pass
        else:
            return url
    errors.add(place, f"must be an http or https URL of at most {MAX_URL} characters")
    return None


def _flags(
    fields: Mapping[str, Any], known: tuple[str, ...], errors: FieldErrors, *, accepted: bool
) -> dict[str, bool]:
    given = {name: fields[name] for name in known if fields.get(name) is not None}
    for name, value in given.items():
        if not accepted:
            errors.add(name, "is unknown")
        elif not isinstance(value, bool):
            errors.add(name, "must be true or false")
    return given


def _kafka(kafka: object, errors: FieldErrors) -> Mapping[str, Any] | None:
    if not isinstance(kafka, dict):
        errors.add("kafka", "must be an object")
        return None
    if not isinstance(kafka.get("topic"), str):
        errors.add("kafka.topic", "must be a text")
    if not isinstance(kafka.get("brokers"), list):
        errors.add("kafka.brokers", "must be a list")
    return kafka


def _time(fields: Mapping[str, Any], name: str, errors: FieldErrors) -> datetime | None:
    given = fields.get(name)
    if given is None or isinstance(given, datetime):
        return given
    try:
        read = datetime.fromisoformat(given)
    except (TypeError, ValueError):
        errors.add(name, "must be a date and time")
        return None
    return read.replace(tzinfo=UTC) if read.tzinfo is None else read


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
