"""Bytes to `Notification`: type, entity key, own time, typed payload; knows no HTTP, no log, no handlers.

An unknown type, or a known one whose fields do not fit its model, is still a notification. Only bytes that are no
JSON object are refused.

Source: published contract v3.110.0: top-level text `notification` names the type. A `data` wrapper was shown by one
integrator only (unconfirmed): taken off when it is there.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from pydantic_core import from_json

from ampeco.catalogue import KNOWN_TYPES, UNCONFIRMED_TYPES
from ampeco.encodings import plain
from ampeco.entity_keys import DEFAULT_RULES, EntityKeyRules, occurred_at
from ampeco.errors import PayloadError
from ampeco.models.lazy import LazyModels
from ampeco.models.original import unwrapped
from ampeco.models.payload import Payload, keep_body
from ampeco.models.reading import lacks_id, read_payload

UNTYPED = "untyped"

MODELS: Mapping[str, type[Payload]] = LazyModels(
    Payload,
    {
        name: f"ampeco.models.{known.model.replace('.', ':')}"
        for name, known in (*KNOWN_TYPES.items(), *UNCONFIRMED_TYPES.items())
    },
)
"""Type string -> class of its payload, for every known type and the likely ones."""


class Notification(NamedTuple):
    """What AMPECO announced.

    Attributes:
        type: the type string as sent; `UNTYPED` when the object names none.
        key: entity it is about, e.g. `session:4711` or `charge-point:12`; None when it names none we know.
        occurred_at: the time of change that it states, aware UTC; None when it states none.
        data: the decoded object, without a `data` wrapper.
        payload: typed view of `data`; None when we have no model for the type, or when not even its identity fits.
        misfits: dotted wire names of the fields that do not fit the model.
    """

    type: str
    key: str | None
    occurred_at: datetime | None
    data: dict[str, Any]
    payload: Payload | None
    misfits: tuple[str, ...]


class Recognized(NamedTuple):
    """A notification before its payload is built; attributes as in `Notification`.

    Attributes:
        occurred_at: as in `Notification`.
    """

    type: str
    key: str | None
    occurred_at: datetime | None


def read(body: bytes, encoding: str = "") -> dict[str, Any]:
    """Decode a body, without a `data` wrapper around the notification.

    Args:
        encoding: how the body is encoded, by the names of `encodings.py`; empty for plain UTF-8.

    Raises:
        PayloadError: the only error, for any bytes. Every text in what is returned is valid Unicode.
    """
    if encoding:
        body = plain(body, encoding)
    try:
        document = from_json(body, allow_inf_nan=False, cache_strings="keys")  # values seldom repeat
    except ValueError as error:
        raise _why_unreadable(str(error)) from None
    if type(document) is not dict:
        raise PayloadError("not-an-object", f"a JSON {type(document).__name__}")
    return document if type(document.get("notification")) is str else unwrapped(document)


def parse(
    body: bytes,
    *,
    encoding: str = "",
    rules: EntityKeyRules = DEFAULT_RULES,
    received_at: datetime | None = None,
) -> Notification:
    """Read a notification.

    Args:
        body: the bytes as received.
        encoding: as in `read`.
        rules: where to find the entity key of each type.
        received_at: when it arrived, aware; a time more than 48 h later is not an own time.

    Raises:
        PayloadError: the only error, for any bytes.
    """
    body = plain(body, encoding)
    data = read(body)
    notification_type = _type_of(data)
    key = rules.key(notification_type, data)
    payload: Payload | None = None
    misfits: tuple[str, ...] = ()
    model = MODELS.get(notification_type)
    if model is not None:
        payload, misfits = read_payload(model, data)
        keep_body(payload, body)
        if misfits and key is None and lacks_id(payload):
            payload = None
    at = occurred_at(notification_type, data, received_at)
    return Notification(notification_type, key, at, data, payload, misfits)


def recognize(
    body: bytes, *, rules: EntityKeyRules = DEFAULT_RULES, received_at: datetime | None = None
) -> Recognized:
    """Read a notification as far as the endpoint needs to know it, which builds no payload.

    Args:
        body: in plain UTF-8.
        rules, received_at: as in `parse`.

    Raises:
        PayloadError: the only error, for any bytes.
    """
    data = read(body)
    notification_type = _type_of(data)
    return Recognized(
        notification_type,
        rules.key(notification_type, data),
        occurred_at(notification_type, data, received_at),
    )


def _type_of(data: Mapping[str, Any]) -> str:
    named = data.get("notification")
    return named if type(named) is str and named else UNTYPED


_HALF_A_CHARACTER = ("surrogate", "unexpected end of hex escape")
"""In the parser's words: the first half of a surrogate pair without the second, or the second one alone."""


def _why_unreadable(said: str) -> PayloadError:
    """Name the first fault by the parser's words: to parse again may take ten times as long as the first time."""
    if any(words in said for words in _HALF_A_CHARACTER):
        return PayloadError("lone-surrogate")
    return PayloadError("not-json", said)
