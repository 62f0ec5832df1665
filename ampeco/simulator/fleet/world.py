"""Shows a running fleet through the resources of the API: charge points, EVSEs, sessions and related objects.

It renders on demand and stores nothing. What it shows agrees with the notifications of the fleet; fields
that no notification carries are made up, and only few of the documented ones are filled. Of everything else that
the API knows there are three of each, so that an id in a notification leads somewhere.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ampeco.simulator.fleet.charging import AUTHORIZATIONS_FROM, USER_IDS, ChargingSession, moment
from ampeco.simulator.fleet.fleet import Fleet
from ampeco.simulator.fleet.life import ChargePoint

Document = dict[str, Any]

PER_LOCATION = 10
OTHERS = (1, 2, 3)
"""Ids of the things that no fleet makes: tariffs, partners, notes, ..."""
_TRANSACTIONS_FROM, _CDRS_FROM = 300_000, 400_000
_CITIES = ("Sofia", "Graz", "Lyon", "Porto", "Turku")


class World:
    """The resources of a fleet.

    Args:
        fleet: gives the fleet of the moment, None while there is none.
    """

    def __init__(self, fleet: Callable[[], Fleet | None]) -> None:
        self._fleet = fleet
        self._kinds: Mapping[
            str, tuple[Callable[[Fleet], Sequence[int]], Callable[[Fleet, int], Document | None]]
        ] = {
            "charge-points": (lambda fleet: list(fleet.charge_points), _charge_point),
            "evses": (lambda fleet: [c.evse.id for c in fleet.charge_points.values()], _evse),
            "locations": (lambda fleet: range(1, _location_of(len(fleet.charge_points)) + 1), _location),
            "users": (lambda fleet: range(USER_IDS[0], USER_IDS[1] + 1), _user),
            "sessions": (lambda fleet: list(fleet.sessions), _session),
            "authorizations": (
                lambda fleet: [s + AUTHORIZATIONS_FROM for s in fleet.sessions],
                _authorization,
            ),
            "transactions": (lambda fleet: [s + _TRANSACTIONS_FROM for s in _finished(fleet)], _transaction),
            "cdrs": (lambda fleet: [s + _CDRS_FROM for s in _finished(fleet)], _cdr),
        }

    def knows(self, noun: str) -> bool:
        """Return whether a fleet runs, so that an unknown id is a mistake."""
        return self._fleet() is not None

    def ids(self, path: Sequence[str]) -> Sequence[int | str]:
        """The ids of a collection, in order.

        Args:
            path: noun, or noun, id of an owner, noun: ("charge-points", "12", "evses").
        """
        fleet = self._fleet()
        if fleet is None:
            return ()
        if len(path) == 1 and path[0] in self._kinds:
            return self._kinds[path[0]][0](fleet)
        match path:
            case ["charge-points", owner, "evses"]:
                charge_point = fleet.charge_points.get(_number(owner))
                return () if charge_point is None else (charge_point.evse.id,)
            case ["users", owner, "payment-methods"]:
                return (f"pm-{owner}",)
        return OTHERS

    def read(self, path: Sequence[str], id_: str) -> Document | None:
        """One of a collection, None when there is no such thing."""
        fleet, number = self._fleet(), _number(id_)
        if fleet is None:
            return None
        if path[-1] not in self._kinds:
            return _other(path, number, id_)
        if len(path) > 1 and number not in self.ids(path):
            return None
        return self._kinds[path[-1]][1](fleet, number)


def _other(path: Sequence[str], number: int, id_: str) -> Document | None:
    """Return an object that no fleet makes; one with a name instead of a number always exists."""
    if number in OTHERS:
        return {"id": number}
    if number >= 0:
        return None
    return {"id": id_, "userId": _number(path[1])} if path[-1] == "payment-methods" else {"id": id_}


def known_ids(fleet: Fleet, charge_point_id: int | None = None) -> dict[str, int | str]:
    """Return noun -> id of objects that exist and belong together.

    Args:
        charge_point_id: the charge point they are about; None = one that has had a session.
    """
    chosen = [s for s in fleet.sessions.values() if charge_point_id in (None, s.evse.charge_point_id)]
    session = next((s for s in reversed(chosen) if s.stopped_at), chosen[-1] if chosen else None)
    id_ = charge_point_id or (session.evse.charge_point_id if session else 1)
    ids: dict[str, int | str] = {"chargePoint": id_, "evse": id_ * 10 + 1, "location": _location_of(id_)}
    if session is not None:
        ids |= {
            "session": session.id,
            "user": session.user_id,
            "paymentMethod": f"pm-{session.user_id}",
            "authorization": session.id + AUTHORIZATIONS_FROM,
            "transaction": session.id + _TRANSACTIONS_FROM,
            "cdr": session.id + _CDRS_FROM,
        }
    return ids


def _number(id_: str) -> int:
    return int(id_) if id_.isascii() and id_.isdecimal() and len(id_) < 20 else -1


def _location_of(charge_point_id: int) -> int:
    return 1 + (charge_point_id - 1) // PER_LOCATION


def _finished(fleet: Fleet) -> list[int]:
    return [session.id for session in fleet.sessions.values() if session.stopped_at is not None]


def _charge_point(fleet: Fleet, id_: int) -> Document | None:
    charge_point = fleet.charge_points.get(id_)
    if charge_point is None:
        return None
    status = charge_point.status if charge_point.status in {"unavailable", "faulted"} else "available"
    return {
        "id": id_,
        "name": f"Charge point {id_}",
        "type": "public",
        "status": "enabled",
        "hardwareStatus": status,
        "networkStatus": "available",
        "locationId": _location_of(id_),
        "network": {"id": f"SIM-{id_:06d}", "protocol": "ocpp 1.6"},
        "communicationMode": "direct_ocpp",
        "createdAt": moment(fleet.started_at),
        "lastUpdatedAt": moment(fleet.started_at),
    }


def _evse(fleet: Fleet, id_: int) -> Document | None:
    charge_point = _of_evse(fleet, id_)
    if charge_point is None:
        return None
    evse = charge_point.evse
    return {
        "id": id_,
        "chargePointId": evse.charge_point_id,
        "physicalReference": str(id_),
        "currentType": "dc" if evse.direct_current else "ac",
        "networkId": "1",
        "status": "enabled",
        "hardwareStatus": charge_point.status,
        "allowsReservation": True,
        "powerOptions": {"maxPower": evse.max_kw * 1000},
        "roamingOperatorId": None,
        "createdAt": moment(fleet.started_at),
        "lastUpdatedAt": moment(fleet.started_at),
    }


def _of_evse(fleet: Fleet, evse_id: int) -> ChargePoint | None:
    charge_point = fleet.charge_points.get(evse_id // 10)
    return charge_point if charge_point is not None and charge_point.evse.id == evse_id else None


def _location(fleet: Fleet, id_: int) -> Document | None:
    if not 1 <= id_ <= _location_of(len(fleet.charge_points)):
        return None
    return {
        "id": id_,
        "name": [{"locale": "en", "translation": f"Car park {id_}"}],
        "city": _CITIES[id_ % len(_CITIES)],
        "status": "enabled",
        "timezone": "Europe/Sofia",
        "geoposition": {"latitude": 42.0 + id_ % 100 / 100, "longitude": 23.0 + id_ % 50 / 100},
        "lastUpdatedAt": moment(fleet.started_at),
    }


def _user(fleet: Fleet, id_: int) -> Document | None:
    if not USER_IDS[0] <= id_ <= USER_IDS[1]:
        return None
    return {
        "id": str(id_),
        "email": f"driver-{id_}@example.com",
        "firstName": "Driver",
        "lastName": str(id_),
        "status": "enabled",
        "balance": 0,
        "locale": "en",
        "lastUpdatedAt": moment(fleet.started_at),
    }


def _session(fleet: Fleet, id_: int) -> Document | None:
    session = fleet.sessions.get(id_)
    return None if session is None else session.resource(session.updated_at)


def _authorization(fleet: Fleet, id_: int) -> Document | None:
    session = fleet.sessions.get(id_ - AUTHORIZATIONS_FROM)
    if session is None:
        return None
    shown: Document = session.resource(session.measured_at)["authorization"]
    return {
        **shown,
        "chargePointId": session.evse.charge_point_id,
        "evseId": session.evse.id,
        "sessionIds": [session.id],
        "lastUpdatedAt": shown["createdAt"],
    }


def _transaction(fleet: Fleet, id_: int) -> Document | None:
    session = _stopped(fleet, id_ - _TRANSACTIONS_FROM)
    if session is None:
        return None
    shown = session.resource(fleet.now)
    return {
        "id": id_,
        "number": f"T-{id_}",
        "date": shown["stoppedAt"],
        "userId": session.user_id,
        "sessionId": session.id,
        "purchaseResourceType": "session",
        "purchaseResourceId": session.id,
        "paymentMethodId": shown["paymentMethodId"],
        "totalAmount": shown["amount"],
        "currency": shown["currency"],
        "status": "finalized" if session.paid else "pending",
        "ref": f"ref-{id_}",
        "lastUpdatedAt": shown["stoppedAt"],
    }


def _cdr(fleet: Fleet, id_: int) -> Document | None:
    session = _stopped(fleet, id_ - _CDRS_FROM)
    if session is None:
        return None
    shown = session.resource(fleet.now)
    return {
        "id": id_,
        "operatorId": 1,
        "platformId": 1,
        "protocolType": "OCPI",
        "sessionId": str(session.id),
        "roamingId": session.roaming_id,
        "receivedAt": shown["stoppedAt"],
        "startTime": shown["startedAt"],
        "endTime": shown["stoppedAt"],
        "isLocal": False,
        "ocpiData": {
            "version": "2.2",
            "currency": shown["currency"],
            "totalEnergy": round(shown["energy"] / 1000, 3),
            "totalCost": shown["amount"],
        },
        "lastUpdatedAt": shown["stoppedAt"],
    }


def _stopped(fleet: Fleet, session_id: int) -> ChargingSession | None:
    session = fleet.sessions.get(session_id)
    return session if session is not None and session.stopped_at is not None else None
