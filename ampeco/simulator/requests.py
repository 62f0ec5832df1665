"""Reads the JSON bodies callers send to the pretend tenant, or refuses them with 422 as AMPECO does."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, NamedTuple

from ampeco.simulator.connection import Target
from ampeco.simulator.fleet import encode
from ampeco.simulator.model import Refused, SubscriptionRequest
from ampeco.simulator.scenario import Plan
from ampeco.simulator.subscribable import SUBSCRIBABLE


class ResendRequest(NamedTuple):
    """What to send again: types, and the window of their failures."""

    notifications: tuple[str, ...]
    start_at: datetime | None
    end_at: datetime | None


class Letter(NamedTuple):
    """A notification by hand: the type says who gets it, the body is sent whatever it holds."""

    notification: str
    charge_point_id: int | None
    body: bytes


def read_subscription(body: object) -> SubscriptionRequest:
    """Body of Subscribe and Update (v2.0): the complete object; a read-only `id` is ignored."""
    fields, errors = _fields(body), _Errors()
    via = fields.get("via")
    if via not in {"webhook", "kafka"}:
        errors.add("via", "must be webhook or kafka")
    notifications = _types(fields, errors)
    callback_url, kafka = None, None
    if via == "webhook":
        callback_url = _callback_url(fields.get("webhook"), errors)
    elif via == "kafka":
        kafka = _kafka(fields.get("kafka"), errors)
    errors.refuse_if_any()
    return SubscriptionRequest("kafka" if via == "kafka" else "webhook", notifications, callback_url, kafka)


def read_resend(body: object) -> ResendRequest:
    """Body of Resend Failed Notifications. Times are ISO 8601 or `Y-m-d H:i:s`; without an offset they are UTC."""
    fields, errors = _fields(body), _Errors()
    notifications = _types(fields, errors)
    start_at, end_at = _time(fields, "startTime", errors), _time(fields, "endTime", errors)
    if start_at and end_at and end_at < start_at:
        errors.add("endTime", "must not be before startTime")
    errors.refuse_if_any()
    return ResendRequest(notifications, start_at, end_at)


def read_plan(body: object) -> Plan:
    """Body of the control endpoint that starts a scenario."""
    fields, errors = _fields(body), _Errors()
    for name in fields.keys() - asdict(Plan()).keys():
        errors.add(name, f"is unknown; there are {', '.join(asdict(Plan()))}")
    given: dict[str, Any] = {**asdict(Plan()), **fields}
    charge_points, rate, count, seed = (given[n] for n in ("charge_points", "rate", "count", "seed"))
    if not _is_int(charge_points) or not 1 <= charge_points <= 100_000:
        errors.add("charge_points", "must be a whole number from 1 to 100000")
    if rate is not None and not ((_is_int(rate) or isinstance(rate, float)) and 0 < rate <= 1e6):
        errors.add("rate", "must be a number above 0, or null")
    if count is not None and not (_is_int(count) and count >= 0):
        errors.add("count", "must be a whole number from 0, or null")
    if not _is_int(seed):
        errors.add("seed", "must be a whole number")
    start_at = _time(given, "start_at", errors)
    errors.refuse_if_any()
    return Plan(charge_points, None if rate is None else float(rate), count, seed, start_at)


def read_letter(body: object) -> Letter:
    """Body of the control endpoint that sends one notification: an object, or a text to send as it is."""
    fields, errors = _fields(body), _Errors()
    notification, charge_point, sent = (fields.get(n) for n in ("notification", "charge_point", "body"))
    if not isinstance(notification, str):
        errors.add("notification", "must be a notification type")
    if charge_point is not None and not _is_int(charge_point):
        errors.add("charge_point", "must be a whole number, or null")
    if not isinstance(sent, dict | str):
        errors.add("body", "must be an object or a text")
    errors.refuse_if_any()
    raw = sent.encode(errors="surrogatepass") if isinstance(sent, str) else encode(sent or {})
    return Letter(str(notification), charge_point, raw)


class _Errors:
    def __init__(self) -> None:
        self._found: dict[str, list[str]] = {}

    def add(self, field: str, fault: str) -> None:
        self._found.setdefault(field, []).append(f"The field {field} {fault}.")

    def refuse_if_any(self) -> None:
        if self._found:
            raise Refused(422, "The given data was invalid.", errors=self._found)


def _fields(body: object) -> Mapping[str, Any]:
    if not isinstance(body, dict):
        raise Refused(422, "The body must be a JSON object.")
    return body


def _types(fields: Mapping[str, Any], errors: _Errors) -> tuple[str, ...]:
    given = fields.get("notifications")
    if not isinstance(given, list) or not given:
        errors.add("notifications", "must be a list with at least one notification type")
        return ()
    for index, name in enumerate(given):
        if not isinstance(name, str) or name not in SUBSCRIBABLE:
            errors.add(f"notifications.{index}", "is not a notification type")
    return tuple(name for name in given if isinstance(name, str))


def _callback_url(webhook: object, errors: _Errors) -> str | None:
    url = webhook.get("callbackUrl") if isinstance(webhook, dict) else None
    if isinstance(url, str):
        try:
            Target.of(url)
        except ValueError:
            pass
        else:
            return url
    errors.add("webhook.callbackUrl", "must be an http or https URL")
    return None


def _kafka(kafka: object, errors: _Errors) -> Mapping[str, Any] | None:
    if not isinstance(kafka, dict):
        errors.add("kafka", "must be an object")
        return None
    if not isinstance(kafka.get("topic"), str):
        errors.add("kafka.topic", "must be a text")
    if not isinstance(kafka.get("brokers"), list):
        errors.add("kafka.brokers", "must be a list")
    return kafka


def _time(fields: Mapping[str, Any], name: str, errors: _Errors) -> datetime | None:
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
