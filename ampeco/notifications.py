"""Bytes to `Notification`: type, entity key, own time, typed payload; knows no HTTP, no log, no handlers.

AMPECO publishes little about its payloads, so nothing here insists: an unknown type, or a known one whose
payload does not fit its model, is still a notification. Only bytes that are no JSON object are refused.

Source: a consumer and the index of the specification v3.251.8: top-level text `notification` names the type
(confirmed). A `data` wrapper was shown by one integrator only (unconfirmed): taken off when it is there.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError
from pydantic_core import from_json

from ampeco.catalogue import KNOWN_TYPES
from ampeco.entity_keys import DEFAULT_RULES, EntityKeyRules, occurred_at
from ampeco.errors import PayloadError
from ampeco.models.boot import Boot
from ampeco.models.meter_values import SessionMeterValues
from ampeco.models.objects.meter_value import MeterValue
from ampeco.models.objects.session import Session
from ampeco.models.payload import Payload
from ampeco.models.session import SessionStartStop, SessionUpdate
from ampeco.models.status import HardwareStatus, NetworkStatus

__all__ = [
    "DEFAULT_RULES",
    "KNOWN_TYPES",
    "MODELS",
    "UNTYPED",
    "Boot",
    "EntityKeyRules",
    "HardwareStatus",
    "MeterValue",
    "NetworkStatus",
    "Notification",
    "Payload",
    "Session",
    "SessionMeterValues",
    "SessionStartStop",
    "SessionUpdate",
    "parse",
    "read",
]

UNTYPED = "untyped"

MODELS: Mapping[str, type[Payload]] = MappingProxyType(
    {
        name: model
        for model in (
            SessionStartStop,
            SessionUpdate,
            SessionMeterValues,
            HardwareStatus,
            NetworkStatus,
            Boot,
        )
        for name in model.notification_types
    }
)


@dataclass(frozen=True, slots=True)
class Notification:
    """What AMPECO announced.

    Attributes:
        type: the type string as sent; `UNTYPED` when the object names none.
        key: entity it is about, e.g. `session:4711` or `charge-point:12`; None when it names none we know.
        occurred_at: when it says that happened, aware UTC; None when it does not say.
        data: the decoded object, without a `data` wrapper.
        payload: typed view of `data`; None when we have no model for the type, or when it did not fit.
        misfit: there is a model for the type and the data did not fit it.
    """

    type: str
    key: str | None
    occurred_at: datetime | None
    data: dict[str, Any]
    payload: Payload | None
    misfit: bool


def read(body: bytes) -> dict[str, Any]:
    """Decode a body, without a `data` wrapper around the notification.

    Raises:
        PayloadError: and nothing else, whatever the bytes. Every text in what is returned is valid Unicode.
    """
    try:
        document = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise _why_unreadable(body, str(error)) from None
    if type(document) is not dict:
        raise PayloadError("not-an-object", f"a JSON {type(document).__name__}")
    if type(document.get("notification")) is not str:
        inner = document.get("data")
        if type(inner) is dict and type(inner.get("notification")) is str:
            return inner
    return document


def parse(body: bytes, *, rules: EntityKeyRules = DEFAULT_RULES) -> Notification:
    """Read a notification.

    Args:
        body: the bytes as received.
        rules: where to find the entity key of each type.

    Raises:
        PayloadError: and nothing else, whatever the bytes.
    """
    data = read(body)
    named = data.get("notification")
    notification_type = named if type(named) is str and named else UNTYPED
    payload: Payload | None = None
    misfit = False
    model = MODELS.get(notification_type)
    if model is not None:
        try:
            payload = model.model_validate(data)
        except ValidationError:
            misfit = True
    return Notification(
        type=notification_type,
        key=rules.key(notification_type, data),
        occurred_at=occurred_at(notification_type, data),
        data=data,
        payload=payload,
        misfit=misfit,
    )


def _why_unreadable(body: bytes, said: str) -> PayloadError:
    """Tell half a character (which Python's own parser lets through) from what is no JSON at all."""
    try:
        document = json.loads(body.decode(), parse_int=len)
        json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return PayloadError("lone-surrogate")
    except (ValueError, RecursionError):
        pass
    return PayloadError("not-json", said)
