"""The life of one charge point: it boots, waits for cars, charges them, and now and then is faulted.

Pure: it yields what it announces and how long it waits. Everything beyond the charge point is in `Surroundings`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import Protocol

from ampeco.simulator.fleet import announcements
from ampeco.simulator.fleet.announcements import START_STOP, Announcement
from ampeco.simulator.fleet.charging import ChargingSession, Evse
from ampeco.simulator.fleet.plan import Behaviour

_DAY_S = 86_400
_STOP_REASONS = ("evdisconnected", "local", "remote")

Step = int | Announcement
"""Seconds to wait, or what happens."""


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
    life: Iterator[Step]
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


class Surroundings(Protocol):
    """What a charge point knows of its fleet, and counts there."""

    behaviour: Behaviour
    sessions_started: int
    sessions_finished: int
    faults: int

    @property
    def now(self) -> datetime:
        """Simulated time."""

    def begin(self, charge_point: ChargePoint, user_id: int | None, status: str) -> ChargingSession:
        """Begin a session and remember it."""


def live(charge_point: ChargePoint, fleet: Surroundings) -> Iterator[Step]:
    """Yield the steps of a life without end."""
    random = charge_point.random
    yield announcements.boot(charge_point.evse, "PowerUp", fleet.now)
    yield announcements.network(charge_point.evse, fleet.now)
    yield random.randint(2, 10)
    yield _turned(charge_point, "available", fleet)
    while True:
        yield from _wait(charge_point, fleet)
        if charge_point.fault_ordered:
            yield from _fault(charge_point, fleet)
            continue
        yield _turned(charge_point, "preparing", fleet)
        yield random.randint(5, 60)
        if charge_point.session is None and (
            charge_point.faults_next or random.random() < fleet.behaviour.fault_share
        ):
            yield from _fault(charge_point, fleet)
        else:
            yield from _charge(charge_point, fleet)


def _wait(charge_point: ChargePoint, fleet: Surroundings) -> Iterator[Step]:
    """Wait until a car comes, or something is ordered."""
    charge_point.idle = True
    if not charge_point.fault_ordered:
        yield charge_point.random.randint(*fleet.behaviour.idle_s)
    while not charge_point.operative:
        yield _turned(charge_point, "unavailable", fleet)
        yield _DAY_S
        yield from _return(charge_point, fleet)
    charge_point.idle = False


def _return(charge_point: ChargePoint, fleet: Surroundings) -> Iterator[Step]:
    if charge_point.operative:
        yield _turned(charge_point, "available", fleet)
        yield charge_point.random.randint(*fleet.behaviour.idle_s)


def _fault(charge_point: ChargePoint, fleet: Surroundings) -> Iterator[Step]:
    charge_point.faulted, charge_point.was_reset = True, False
    charge_point.faults_next = charge_point.fault_ordered = False
    fleet.faults += 1
    yield _turned(charge_point, "faulted", fleet)
    if not charge_point.was_reset:
        yield fleet.behaviour.faulted_s
    charge_point.faulted = False
    yield announcements.boot(
        charge_point.evse, "RemoteReset" if charge_point.was_reset else "PowerUp", fleet.now
    )
    yield charge_point.random.randint(2, 10)
    yield _turned(charge_point, "available", fleet)


def _charge(charge_point: ChargePoint, fleet: Surroundings) -> Iterator[Step]:
    random = charge_point.random
    session = charge_point.session or fleet.begin(charge_point, None, "active")
    charge_point.session, session.status = session, "active"
    fleet.sessions_started += 1
    for spelling in START_STOP:
        yield announcements.start_stop(session, spelling)
    yield _turned(charge_point, "charging", fleet)
    yield from _take_energy(charge_point, session, fleet)
    reason = random.choice(_STOP_REASONS)
    session.stop(fleet.now, "remote" if charge_point.stop_ordered else reason)
    charge_point.session, charge_point.stop_ordered = None, False
    charge_point.register_wh += int(session.energy_wh)
    fleet.sessions_finished += 1
    yield _turned(charge_point, "finishing", fleet)
    for spelling in START_STOP:
        yield announcements.start_stop(session, spelling)
    yield random.randint(5, 60)
    session.paid = True
    yield _updated(session, fleet)
    yield announcements.cdr(session, fleet.now)
    yield random.randint(5, 300)
    yield _turned(charge_point, "available", fleet)


def _take_energy(charge_point: ChargePoint, session: ChargingSession, fleet: Surroundings) -> Iterator[Step]:
    random = charge_point.random
    readings = random.randint(*fleet.behaviour.readings)
    shortest, longest = fleet.behaviour.session_s or (
        (900, 2400) if charge_point.evse.direct_current else (1800, 5400)
    )
    length_s = random.randint(shortest, longest)
    for reading in range(1, readings + 1):
        if not charge_point.stop_ordered:
            yield max(1, length_s // readings)
        session.charge_until(fleet.now, random)
        yield announcements.meter_values(session)
        if charge_point.stop_ordered:
            break
        if reading % 4 == 0 and reading < readings:
            yield 1
            yield _updated(session, fleet)
    yield random.randint(2, 20)


def _updated(session: ChargingSession, fleet: Surroundings) -> Announcement:
    session.updated_at = fleet.now
    return announcements.session_update(session, session.updated_at)


def _turned(charge_point: ChargePoint, status: str, fleet: Surroundings) -> Announcement:
    charge_point.status = status
    return announcements.hardware(charge_point.evse, status, fleet.now)
