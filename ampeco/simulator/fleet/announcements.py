"""Notifications about charge points, as their tenant sends them; knows no fleet and no clock.

Source of the fields: published contract v3.110.0.
"""

import json
from datetime import datetime
from typing import Any, NamedTuple

from ampeco.simulator.fleet.charging import ChargingSession, Evse, moment

ANNOUNCED = frozenset(
    {
        "BootNotification",
        "HardwareStatusNotification",
        "NetworkStatusNotification",
        "SessionMeterValuesNotification",
        "SessionStartStopNotification",
        "SessionUpdateNotification",
        "cdr.received",
        "session.start.stop.notification",
    }
)
START_STOP = ("SessionStartStopNotification", "session.start.stop.notification")
"""Two spellings of one notification; the first one is deprecated."""


class Announcement(NamedTuple):
    """A notification as it leaves the tenant, not yet addressed to a notification subscription."""

    notification: str
    charge_point_id: int
    body: bytes


def boot(evse: Evse, reason: str, at: datetime) -> Announcement:
    """A boot notification."""
    id_ = evse.charge_point_id
    boot = {
        "vendor": "Ladesäulen/Simulated",
        "model": f"SIM/{evse.max_kw:g}",
        "charge_point_serial_number": f"SIM-{id_:06d}",
        "charge_box_serial_number": None,
        "firmware_version": "1.4.2",
        "iccid": None,
        "imsi": None,
        "meter_type": "SIM-METER",
        "meter_serial_number": f"M-{id_:06d}",
        "reason": reason,
    }
    fields = {"chargePointId": id_, "timestamp": moment(at), "bootNotification": boot}
    return announce("BootNotification", id_, fields)


def network(evse: Evse, at: datetime) -> Announcement:
    """A network status: available."""
    id_ = evse.charge_point_id
    fields = {"chargePointId": id_, "timestamp": moment(at), "networkStatus": "available"}
    return announce("NetworkStatusNotification", id_, fields)


def hardware(evse: Evse, status: str, at: datetime) -> Announcement:
    """A hardware status."""
    fields = {
        "chargePointId": evse.charge_point_id,
        "evseId": evse.id,
        "timestamp": moment(at),
        "hardwareStatus": status,
        "errorCode": "OtherError" if status == "faulted" else None,
    }
    return announce("HardwareStatusNotification", evse.charge_point_id, fields)


def session_update(session: ChargingSession, at: datetime) -> Announcement:
    """An update of a session, with the whole session."""
    fields = {"session": session.resource(at)}
    return announce("SessionUpdateNotification", session.evse.charge_point_id, fields)


def meter_values(session: ChargingSession) -> Announcement:
    """The latest meter values of a session."""
    fields = {
        "sessionId": session.id,
        "externalSessionId": session.external_id,
        "chargePointId": session.evse.charge_point_id,
        "evseId": session.evse.id,
        "meterValues": session.meter_values(),
    }
    return announce("SessionMeterValuesNotification", session.evse.charge_point_id, fields)


def cdr(session: ChargingSession, at: datetime) -> Announcement:
    """A received CDR, named by its roaming id alone; a listing of CDRs finds the resource by it."""
    fields = {"id": session.roaming_id, "createdAt": moment(at)}
    return announce("cdr.received", session.evse.charge_point_id, fields)


def start_stop(session: ChargingSession, spelling: str) -> Announcement:
    """A start or stop of a session, under one of the two spellings."""
    return announce(spelling, session.evse.charge_point_id, session.start_stop())


def encode(body: dict[str, Any]) -> bytes:
    """JSON as PHP writes it: slashes and everything beyond ASCII escaped.

    A receiver that verifies the signature over JSON it wrote itself, not over the bytes it got, fails at once.
    """
    return json.dumps(body, separators=(",", ":")).replace("/", "\\/").encode()


def announce(notification: str, charge_point_id: int, fields: dict[str, Any]) -> Announcement:
    """Encode a notification with these fields."""
    return Announcement(notification, charge_point_id, encode({"notification": notification, **fields}))
