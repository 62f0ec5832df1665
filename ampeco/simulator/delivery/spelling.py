"""Rewrites a notification into another spelling that AMPECO might use; knows nothing of its receivers."""

import gzip
import json
from datetime import datetime
from typing import Any

from ampeco.paths import snake
from ampeco.simulator.fleet.announcements import encode
from ampeco.simulator.fleet.charging import moment
from ampeco.simulator.switches import BodyEncoding, Habits

_STARTS_AND_STOPS = {"SessionStartStopNotification", "session.start.stop.notification"}
_SESSION_NAMES = {
    "sessionId": "id",
    "chargePointId": "chargePointId",
    "evseId": "evseId",
    "startedAtTimestamp": "startedAt",
    "stoppedAtTimestamp": "stoppedAt",
    "energyConsumed": "energy",
    "reason": "reason",
    "userId": "userId",
    "idTag": "idTag",
    "externalSessionId": "externalSessionId",
    "lastUpdatedAt": "lastUpdatedAt",
}


def dressed(body: bytes, habits: Habits) -> bytes:
    """The notification in the spelling these habits ask for."""
    document = json.loads(body)
    if habits.session_start_stop == "nested" and document.get("notification") in _STARTS_AND_STOPS:
        document = _nested(document)
    document = _spelt(document, habits)
    return encode({"data": document} if habits.wrapped_payloads else document)


def as_bytes(body: bytes, encoding: BodyEncoding) -> tuple[bytes, dict[str, str]]:
    """A notification as the bytes that are signed and sent, and the headers that say how to read them."""
    if encoding == "gzip":
        return gzip.compress(body, mtime=0), {"Content-Encoding": "gzip"}
    return (body if encoding == "utf-8" else body.decode().encode(encoding)), {}


def freshened(body: bytes, at: datetime) -> bytes:
    """The notification as if it were made at this moment: with another `lastUpdatedAt`, wherever it has one."""
    return encode(_updated(json.loads(body), moment(at)))


def _updated(value: Any, at: str) -> Any:
    if isinstance(value, list):
        return [_updated(element, at) for element in value]
    if not isinstance(value, dict):
        return value
    return {name: at if name == "lastUpdatedAt" else _updated(inner, at) for name, inner in value.items()}


def _nested(document: dict[str, Any]) -> dict[str, Any]:
    """A start or stop with a `session` under the names of the REST resource instead of the documented fields."""
    session = {ours: document.get(theirs) for theirs, ours in _SESSION_NAMES.items()}
    status = "finished" if document["action"] == "stop" else "active"
    return {
        "notification": document["notification"],
        "session": {**session, "id": str(document["sessionId"]), "status": status},
    }


def _spelt(value: Any, habits: Habits) -> Any:
    if isinstance(value, list):
        return [_spelt(element, habits) for element in value]
    if not isinstance(value, dict):
        return value
    spelt = {}
    for name, inner in value.items():
        inner = _id(inner, habits) if name == "id" or name.endswith(("Id", "_id")) else _spelt(inner, habits)
        spelt[snake(name) if habits.payload_case == "snake" else name] = inner
    return spelt


def _id(value: Any, habits: Habits) -> Any:
    if habits.payload_ids == "text" and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if habits.payload_ids == "number" and isinstance(value, str) and value.isascii() and value.isdecimal():
        return int(value)
    return value
