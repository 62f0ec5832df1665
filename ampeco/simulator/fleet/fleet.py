"""Charge points living through their day, on simulated time: the same seed gives the same notifications.

Pure: no clock, no tasks, no tenant. The caller asks for the next notification and passes on the actions.
"""

import heapq
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any, NamedTuple

from ampeco.simulator.fleet.charging import ChargingSession, Evse, moment
from ampeco.simulator.fleet.plan import Behaviour

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
KEPT_SESSIONS = 20_000
FIRST_SESSION_ID = 100_001
_DAY_S = 86_400
_POWERS_KW = (7.4, 11.0, 22.0, 50.0, 150.0)
_WARM_UP = 20_000
_STOP_REASONS = ("evdisconnected", "local", "remote")


class Announcement(NamedTuple):
    """A notification as it leaves the tenant, not yet addressed to anybody."""

    notification: str
    charge_point_id: int
    body: bytes


_Step = int | Announcement  # seconds to wait, or what happens


@dataclass(slots=True, eq=False)
class ChargePoint:
    """A charge point with its one EVSE.

    Attributes:
        status: hardware status, as announced last.
        session: the one under way, or ordered and about to start.
        idle: no car is there, and the next thing to come can be put forward.
    """

    evse: Evse
    random: Random
    faults_next: bool
    life: Iterator[_Step]
    turn: int = 0  # entries of the agenda with another number are stale
    status: str = "available"
    session: ChargingSession | None = None
    idle: bool = False
    faulted: bool = False
    was_reset: bool = False
    stop_ordered: bool = False
    fault_ordered: bool = False
    operative: bool = True
    register_wh: int = 0


class Fleet:
    """N charge points with ids 1 to N.

    Args:
        seed: decides about everything; equal seeds give equal notifications as long as resets come equally.
        start_at: when simulated time begins.
        first_session_id: id of the first session, so that a second fleet does not use ids again.
        behaviour: how charge points live.

    Attributes:
        charge_points: by id.
        sessions: by id, the oldest first; about the last 20,000.
    """

    def __init__(
        self,
        charge_points: int,
        *,
        seed: int,
        start_at: datetime,
        first_session_id: int = FIRST_SESSION_ID,
        behaviour: Behaviour | None = None,
    ) -> None:
        self._behaviour = behaviour or Behaviour()
        self.started_at = start_at.replace(microsecond=0)
        self._now_s = 0
        self._agenda: list[tuple[int, int, int, int]] = []  # at, order, charge point, turn
        self._entries = 0
        self.next_session_id = first_session_id
        self.sessions_started = 0
        self.sessions_finished = 0
        self.faults = 0
        # In a short demonstration chance alone would often show no fault at all.
        first_faulty = Random(seed).randint(1, charge_points)  # noqa: S311 (no secret)
        self.charge_points: dict[int, ChargePoint] = {}
        self.sessions: dict[int, ChargingSession] = {}
        for id_ in range(1, charge_points + 1):
            random = Random(f"{seed}:{id_}")  # noqa: S311
            evse = Evse(id_, id_ * 10 + 1, random.choice(_POWERS_KW))
            faults_next = id_ == first_faulty and self._behaviour.fault_at_first
            charge_point = ChargePoint(evse, random, faults_next, iter(()))
            charge_point.register_wh = random.randint(10_000, 9_000_000)
            charge_point.life = self._live(charge_point)
            self.charge_points[id_] = charge_point
            self._plan(charge_point, random.randint(0, 60))

    def next(self) -> Announcement:
        """What happens next, wherever in the fleet."""
        while True:
            at_s, _, id_, turn = heapq.heappop(self._agenda)
            charge_point = self.charge_points[id_]
            if turn != charge_point.turn:
                continue
            self._now_s = at_s
            step = next(charge_point.life)
            if isinstance(step, int):
                self._plan(charge_point, step)
            else:
                self._plan(charge_point, 0)
                return step

    def warm_up(self) -> None:
        """Let time pass unseen until a session is over and another one goes on; of a large fleet, not as long."""
        for _ in range(_WARM_UP):
            if self.sessions_finished and self.sessions_started > self.sessions_finished:
                return
            self.next()

    def show(self, notification: str, charge_point_id: int | None = None) -> Announcement | None:
        """A notification as the fleet would send it at this moment.

        Args:
            charge_point_id: which one it is about; None = one with a session that has ended, else the first.

        Returns:
            None when the fleet does not send this type, or has nothing to say of it.
        """
        chosen = [s for s in self.sessions.values() if charge_point_id in (None, s.evse.charge_point_id)]
        ended = [session for session in chosen if session.stopped_at is not None]
        session = next(reversed(ended or chosen), None)
        id_ = charge_point_id or (session.evse.charge_point_id if session else 1)
        charge_point = self.charge_points.get(id_)
        if charge_point is None:
            return None
        match notification:
            case "BootNotification":
                return self._boot(charge_point, "PowerUp")
            case "HardwareStatusNotification":
                return self._hardware(charge_point, charge_point.status)
            case "NetworkStatusNotification":
                return self._network(charge_point)
        if session is None:
            return None
        match notification:
            case "SessionMeterValuesNotification":
                return self._meter_values(session)
            case "SessionUpdateNotification":
                return self._session(session)
            case "cdr.received" if session.stopped_at is not None:
                return self._cdr(session)
            case "SessionStartStopNotification" | "session.start.stop.notification":
                return _announce(notification, id_, session.start_stop())
        return None

    def reset(self, charge_point_id: int) -> bool:
        """A reset arrives at a charge point: a faulted one boots and is well again, others take no notice."""
        charge_point = self.charge_points.get(charge_point_id)
        if charge_point is None or not charge_point.faulted or charge_point.was_reset:
            return False
        charge_point.was_reset = True
        self._hasten(charge_point, charge_point.random.randint(20, 90))
        return True

    def order_session(self, charge_point_id: int, user_id: int | None = None) -> ChargingSession | None:
        """Let a session start at once; None when the charge point has no place for one now."""
        charge_point = self.charge_points.get(charge_point_id)
        if (
            charge_point is None
            or not charge_point.idle
            or charge_point.session
            or not charge_point.operative
        ):
            return None
        charge_point.session = self._begin(charge_point, user_id, "pending")
        self._hasten(charge_point, charge_point.random.randint(1, 5))
        return charge_point.session

    def order_stop(self, session_id: int) -> bool:
        """Let a session end at once, as from afar."""
        session = self.sessions.get(session_id)
        if session is None or session.stopped_at is not None:
            return False
        charge_point = self.charge_points[session.evse.charge_point_id]
        if charge_point.session is not session:
            return False
        charge_point.stop_ordered = True
        if session.status == "active":
            self._hasten(charge_point, charge_point.random.randint(1, 5))
        return True

    def order_availability(self, charge_point_id: int, *, operative: bool) -> None:
        """Take a charge point out of service once no car is there, or back into it."""
        charge_point = self.charge_points.get(charge_point_id)
        if charge_point is None or charge_point.operative is operative:
            return
        charge_point.operative = operative
        if charge_point.idle:
            self._hasten(charge_point, charge_point.random.randint(1, 5))

    def order_faults(self, share: float) -> int:
        """Let the first charge points, this share of all, fault as soon as no car is there; how many there are."""
        chosen = list(self.charge_points.values())[: round(share * len(self.charge_points))]
        for charge_point in chosen:
            charge_point.fault_ordered = not charge_point.faulted
            if charge_point.idle:
                self._hasten(charge_point, charge_point.random.randint(1, 60))
        return len(chosen)

    @property
    def faulted(self) -> list[int]:
        """The charge points that are faulted at this moment."""
        return [id_ for id_, charge_point in self.charge_points.items() if charge_point.faulted]

    @property
    def now(self) -> datetime:
        """Simulated time."""
        return self.started_at + timedelta(seconds=self._now_s)

    def _plan(self, charge_point: ChargePoint, in_s: int) -> None:
        self._entries += 1
        entry = (self._now_s + in_s, self._entries, charge_point.evse.charge_point_id, charge_point.turn)
        heapq.heappush(self._agenda, entry)

    def _hasten(self, charge_point: ChargePoint, in_s: int) -> None:
        """What it waits for comes now."""
        charge_point.turn += 1
        self._plan(charge_point, in_s)

    # -- the life of one charge point

    def _live(self, charge_point: ChargePoint) -> Iterator[_Step]:
        random = charge_point.random
        yield self._boot(charge_point, "PowerUp")
        yield self._network(charge_point)
        yield random.randint(2, 10)
        yield self._hardware(charge_point, "available")
        while True:
            yield from self._wait(charge_point)
            if charge_point.fault_ordered:
                yield from self._fault(charge_point)
                continue
            yield self._hardware(charge_point, "preparing")
            yield random.randint(5, 60)
            if charge_point.session is None and (
                charge_point.faults_next or random.random() < self._behaviour.fault_share
            ):
                yield from self._fault(charge_point)
            else:
                yield from self._charge(charge_point)

    def _wait(self, charge_point: ChargePoint) -> Iterator[_Step]:
        """Until a car comes, or something is ordered."""
        charge_point.idle = True
        if not charge_point.fault_ordered:
            yield charge_point.random.randint(*self._behaviour.idle_s)
        while not charge_point.operative:
            yield self._hardware(charge_point, "unavailable")
            yield _DAY_S
            yield from self._return(charge_point)
        charge_point.idle = False

    def _return(self, charge_point: ChargePoint) -> Iterator[_Step]:
        if charge_point.operative:
            yield self._hardware(charge_point, "available")
            yield charge_point.random.randint(*self._behaviour.idle_s)

    def _fault(self, charge_point: ChargePoint) -> Iterator[_Step]:
        charge_point.faulted, charge_point.was_reset = True, False
        charge_point.faults_next = charge_point.fault_ordered = False
        self.faults += 1
        yield self._hardware(charge_point, "faulted")
        if not charge_point.was_reset:
            yield self._behaviour.faulted_s
        charge_point.faulted = False
        yield self._boot(charge_point, "RemoteReset" if charge_point.was_reset else "PowerUp")
        yield charge_point.random.randint(2, 10)
        yield self._hardware(charge_point, "available")

    def _begin(self, charge_point: ChargePoint, user_id: int | None, status: str) -> ChargingSession:
        session = ChargingSession.begin(
            self.next_session_id,
            charge_point.evse,
            self.now,
            charge_point.register_wh,
            charge_point.random,
            user_id=user_id,
            status=status,
        )
        self.next_session_id += 1
        self.sessions[session.id] = session
        if len(self.sessions) > max(KEPT_SESSIONS, 2 * len(self.charge_points)):
            del self.sessions[next(iter(self.sessions))]
        return session

    def _charge(self, charge_point: ChargePoint) -> Iterator[_Step]:
        random = charge_point.random
        session = charge_point.session or self._begin(charge_point, None, "active")
        charge_point.session, session.status = session, "active"
        self.sessions_started += 1
        for spelling in START_STOP:
            yield _announce(spelling, session.evse.charge_point_id, session.start_stop())
        yield self._hardware(charge_point, "charging")
        yield from self._take_energy(charge_point, session)
        reason = random.choice(_STOP_REASONS)
        session.stop(self.now, "remote" if charge_point.stop_ordered else reason)
        charge_point.session, charge_point.stop_ordered = None, False
        charge_point.register_wh += int(session.energy_wh)
        self.sessions_finished += 1
        yield self._hardware(charge_point, "finishing")
        for spelling in START_STOP:
            yield _announce(spelling, session.evse.charge_point_id, session.start_stop())
        yield random.randint(5, 60)
        session.paid = True
        yield self._session(session)
        yield self._cdr(session)
        yield random.randint(5, 300)
        yield self._hardware(charge_point, "available")

    def _take_energy(self, charge_point: ChargePoint, session: ChargingSession) -> Iterator[_Step]:
        random = charge_point.random
        readings = random.randint(*self._behaviour.readings)
        shortest, longest = self._behaviour.session_s or (
            (900, 2400) if charge_point.evse.direct_current else (1800, 5400)
        )
        length_s = random.randint(shortest, longest)
        for reading in range(1, readings + 1):
            if not charge_point.stop_ordered:
                yield max(1, length_s // readings)
            session.charge_until(self.now, random)
            yield self._meter_values(session)
            if charge_point.stop_ordered:
                break
            if reading % 4 == 0 and reading < readings:
                yield 1
                yield self._session(session)
        yield random.randint(2, 20)

    # -- notifications (fields: published contract v3.110.0)

    def _boot(self, charge_point: ChargePoint, reason: str) -> Announcement:
        id_ = charge_point.evse.charge_point_id
        boot = {
            "vendor": "Ladesäulen/Simulated",
            "model": f"SIM/{charge_point.evse.max_kw:g}",
            "charge_point_serial_number": f"SIM-{id_:06d}",
            "charge_box_serial_number": None,
            "firmware_version": "1.4.2",
            "iccid": None,
            "imsi": None,
            "meter_type": "SIM-METER",
            "meter_serial_number": f"M-{id_:06d}",
            "reason": reason,
        }
        fields = {"chargePointId": id_, "timestamp": moment(self.now), "bootNotification": boot}
        return _announce("BootNotification", id_, fields)

    def _network(self, charge_point: ChargePoint) -> Announcement:
        id_ = charge_point.evse.charge_point_id
        fields = {"chargePointId": id_, "timestamp": moment(self.now), "networkStatus": "available"}
        return _announce("NetworkStatusNotification", id_, fields)

    def _hardware(self, charge_point: ChargePoint, status: str) -> Announcement:
        evse, charge_point.status = charge_point.evse, status
        fields = {
            "chargePointId": evse.charge_point_id,
            "evseId": evse.id,
            "timestamp": moment(self.now),
            "hardwareStatus": status,
            "errorCode": "OtherError" if status == "faulted" else None,
        }
        return _announce("HardwareStatusNotification", evse.charge_point_id, fields)

    def _session(self, session: ChargingSession) -> Announcement:
        fields = {"session": session.resource(self.now)}
        return _announce("SessionUpdateNotification", session.evse.charge_point_id, fields)

    def _meter_values(self, session: ChargingSession) -> Announcement:
        fields = {
            "sessionId": session.id,
            "externalSessionId": session.external_id,
            "chargePointId": session.evse.charge_point_id,
            "evseId": session.evse.id,
            "meterValues": session.meter_values(),
        }
        return _announce("SessionMeterValuesNotification", session.evse.charge_point_id, fields)

    def _cdr(self, session: ChargingSession) -> Announcement:
        """The roaming id, by which a listing of CDRs finds the resource; the notification names no other."""
        fields = {"id": session.roaming_id, "createdAt": moment(self.now)}
        return _announce("cdr.received", session.evse.charge_point_id, fields)


def encode(body: dict[str, Any]) -> bytes:
    """JSON as PHP writes it: slashes and everything beyond ASCII escaped.

    A receiver that verifies the signature over JSON it wrote itself, not over the bytes it got, fails at once.
    """
    return json.dumps(body, separators=(",", ":")).replace("/", "\\/").encode()


def _announce(notification: str, charge_point_id: int, fields: dict[str, Any]) -> Announcement:
    return Announcement(notification, charge_point_id, encode({"notification": notification, **fields}))
