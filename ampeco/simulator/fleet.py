"""Charge points living through their day, on simulated time: the same seed gives the same notifications.

Pure: no clock, no tasks, no tenant. Somebody asks for the next notification, and tells when a charge point is reset.
"""

import heapq
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any, NamedTuple

from ampeco.simulator.charging import ChargingSession, Evse

ANNOUNCED = frozenset(
    {
        "BootNotification",
        "HardwareStatusNotification",
        "SessionMeterValuesNotification",
        "SessionStartStopNotification",
        "SessionUpdateNotification",
    }
)
FAULT_CHANCE = 1 / 25
FAULTED_S = 3 * 3600  # about three cycles, then somebody drives there
_POWERS_KW = (7.4, 11.0, 22.0, 50.0, 150.0)
_STOP_REASONS = ("evdisconnected", "local", "remote")


class Announcement(NamedTuple):
    """A notification as it leaves the tenant, not yet addressed to anybody."""

    notification: str
    charge_point_id: int
    body: bytes


_Step = int | Announcement  # seconds to wait, or what happens


@dataclass(slots=True, eq=False)
class _ChargePoint:
    evse: Evse
    random: Random
    faults_at_first: bool
    life: Iterator[_Step]
    turn: int = 0  # entries of the agenda with another number are stale
    faulted: bool = False
    was_reset: bool = False
    register_wh: int = 0


class Fleet:
    """N charge points with ids 1 to N.

    Args:
        seed: decides about everything; equal seeds give equal notifications as long as resets come equally.
        start_at: when simulated time begins.
        first_session_id: id of the first session, so that a second fleet does not use ids again.
    """

    def __init__(
        self, charge_points: int, *, seed: int, start_at: datetime, first_session_id: int = 100_001
    ) -> None:
        self._start_at = start_at.replace(microsecond=0)
        self._now_s = 0
        self._agenda: list[tuple[int, int, int, int]] = []  # at, order, charge point, turn
        self._entries = 0
        self.next_session_id = first_session_id
        self.sessions_started = 0
        self.sessions_finished = 0
        self.faults = 0
        # In a short demonstration chance alone would often show no fault at all.
        first_faulty = Random(seed).randint(1, charge_points)  # noqa: S311 (no secret)
        self._charge_points: dict[int, _ChargePoint] = {}
        for id_ in range(1, charge_points + 1):
            random = Random(f"{seed}:{id_}")  # noqa: S311
            evse = Evse(id_, id_ * 10 + 1, random.choice(_POWERS_KW))
            charge_point = _ChargePoint(evse, random, id_ == first_faulty, iter(()))
            charge_point.register_wh = random.randint(10_000, 9_000_000)
            charge_point.life = self._live(charge_point)
            self._charge_points[id_] = charge_point
            self._plan(charge_point, random.randint(0, 60))

    def next(self) -> Announcement:
        """What happens next, wherever in the fleet."""
        while True:
            at_s, _, id_, turn = heapq.heappop(self._agenda)
            charge_point = self._charge_points[id_]
            if turn != charge_point.turn:
                continue
            self._now_s = at_s
            step = next(charge_point.life)
            if isinstance(step, int):
                self._plan(charge_point, step)
            else:
                self._plan(charge_point, 0)
                return step

    def reset(self, charge_point_id: int) -> bool:
        """A reset arrives at a charge point: a faulted one boots and is well again, others take no notice."""
        charge_point = self._charge_points.get(charge_point_id)
        if charge_point is None or not charge_point.faulted or charge_point.was_reset:
            return False
        charge_point.was_reset = True
        charge_point.turn += 1
        self._plan(charge_point, charge_point.random.randint(20, 90))
        return True

    @property
    def faulted(self) -> list[int]:
        """The charge points that are faulted at this moment."""
        return [id_ for id_, charge_point in self._charge_points.items() if charge_point.faulted]

    @property
    def now(self) -> datetime:
        """Simulated time."""
        return self._start_at + timedelta(seconds=self._now_s)

    def _plan(self, charge_point: _ChargePoint, in_s: int) -> None:
        self._entries += 1
        entry = (self._now_s + in_s, self._entries, charge_point.evse.charge_point_id, charge_point.turn)
        heapq.heappush(self._agenda, entry)

    # -- the life of one charge point

    def _live(self, charge_point: _ChargePoint) -> Iterator[_Step]:
        random = charge_point.random
        yield self._boot(charge_point, "PowerUp")
        yield random.randint(2, 10)
        yield self._hardware(charge_point, "available")
        faults_now = charge_point.faults_at_first
        while True:
            yield random.randint(30, 900)
            yield self._hardware(charge_point, "preparing")
            yield random.randint(5, 60)
            if faults_now or random.random() < FAULT_CHANCE:
                yield from self._fault(charge_point)
            else:
                yield from self._charge(charge_point)
            faults_now = False

    def _fault(self, charge_point: _ChargePoint) -> Iterator[_Step]:
        charge_point.faulted, charge_point.was_reset = True, False
        self.faults += 1
        yield self._hardware(charge_point, "faulted")
        if not charge_point.was_reset:
            yield FAULTED_S
        charge_point.faulted = False
        yield self._boot(charge_point, "RemoteReset" if charge_point.was_reset else "PowerUp")
        yield charge_point.random.randint(2, 10)
        yield self._hardware(charge_point, "available")

    def _charge(self, charge_point: _ChargePoint) -> Iterator[_Step]:
        random, evse = charge_point.random, charge_point.evse
        session = ChargingSession.begin(
            self.next_session_id, evse, self.now, charge_point.register_wh, random
        )
        self.next_session_id += 1
        self.sessions_started += 1
        yield self._session("SessionStartStopNotification", session)
        yield self._hardware(charge_point, "charging")
        readings = random.randint(5, 12)
        length_s = random.randint(900, 2400) if evse.direct_current else random.randint(1800, 5400)
        for reading in range(1, readings + 1):
            yield length_s // readings
            session.charge_until(self.now, random)
            yield self._meter_values(session)
            if reading % 4 == 0 and reading < readings:
                yield 1
                yield self._session("SessionUpdateNotification", session)
        yield random.randint(2, 20)
        session.stop(self.now, random.choice(_STOP_REASONS))
        charge_point.register_wh += int(session.energy_wh)
        self.sessions_finished += 1
        yield self._hardware(charge_point, "finishing")
        yield self._session("SessionStartStopNotification", session)
        yield random.randint(5, 60)
        session.paid = True
        yield self._session("SessionUpdateNotification", session)
        yield random.randint(5, 300)
        yield self._hardware(charge_point, "available")

    # -- notifications (fields: FACTS.md section 4; where a boot carries its charge point is not published)

    def _boot(self, charge_point: _ChargePoint, reason: str) -> Announcement:
        id_ = charge_point.evse.charge_point_id
        return _announce(
            "BootNotification",
            id_,
            {
                "chargePointId": id_,
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
            },
        )

    def _hardware(self, charge_point: _ChargePoint, status: str) -> Announcement:
        evse = charge_point.evse
        fields = {"chargePointId": evse.charge_point_id, "evseId": evse.id, "hardwareStatus": status}
        return _announce("HardwareStatusNotification", evse.charge_point_id, fields)

    def _session(self, notification: str, session: ChargingSession) -> Announcement:
        return _announce(notification, session.evse.charge_point_id, {"session": session.resource(self.now)})

    def _meter_values(self, session: ChargingSession) -> Announcement:
        fields = {
            "sessionId": session.id,
            "externalSessionId": session.external_id,
            "chargePointId": session.evse.charge_point_id,
            "evseId": session.evse.id,
            "meterValues": session.meter_values(),
        }
        return _announce("SessionMeterValuesNotification", session.evse.charge_point_id, fields)


def encode(body: dict[str, Any]) -> bytes:
    """JSON as PHP writes it: slashes and everything beyond ASCII escaped.

    Whoever verifies a signature over JSON it wrote itself, and not over the bytes it got, fails at once.
    """
    return json.dumps(body, separators=(",", ":")).replace("/", "\\/").encode()


def _announce(notification: str, charge_point_id: int, fields: dict[str, Any]) -> Announcement:
    return Announcement(notification, charge_point_id, encode({"notification": notification, **fields}))
