"""Charge points living through their day, on simulated time: the same seed gives the same notifications.

Pure: no clock, no tasks, no tenant. The caller asks for the next notification and passes on the actions.
"""

import heapq
from collections.abc import Callable
from datetime import datetime, timedelta
from random import Random

from ampeco.simulator.fleet import announcements
from ampeco.simulator.fleet.announcements import START_STOP, Announcement
from ampeco.simulator.fleet.charging import ChargingSession, Evse
from ampeco.simulator.fleet.life import ChargePoint, live
from ampeco.simulator.fleet.plan import Behaviour

KEPT_SESSIONS = 20_000
FIRST_SESSION_ID = 100_001
_POWERS_KW = (7.4, 11.0, 22.0, 50.0, 150.0)
_WARM_UP = 20_000


class Fleet:
    """N charge points with ids 1 to N.

    Args:
        seed: decides everything; equal seeds give equal notifications as long as resets come equally.
        start_at: when simulated time starts.
        first_session_id: id of the first session, so that a second fleet does not use ids again.
        behaviour: how charge points live.
        clock: the time that is shown, aware; None for simulated time.

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
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        self._clock = clock
        self.behaviour = behaviour or Behaviour()
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
            faults_next = id_ == first_faulty and self.behaviour.fault_at_first
            charge_point = ChargePoint(evse, random, faults_next, iter(()))
            charge_point.register_wh = random.randint(10_000, 9_000_000)
            charge_point.life = live(charge_point, self)
            self.charge_points[id_] = charge_point
            self._plan(charge_point, random.randint(0, 60))

    def next(self) -> Announcement:
        """Return the next announcement of any charge point."""
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
        """Let time pass unseen until a session is over and another one goes on; a large fleet gets less time."""
        for _ in range(_WARM_UP):
            if self.sessions_finished and self.sessions_started > self.sessions_finished:
                return
            self.next()

    def show(self, notification: str, charge_point_id: int | None = None) -> Announcement | None:
        """Return a notification as the fleet would send it now.

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
                return announcements.boot(charge_point.evse, "PowerUp", self.now)
            case "HardwareStatusNotification":
                return announcements.hardware(charge_point.evse, charge_point.status, self.now)
            case "NetworkStatusNotification":
                return announcements.network(charge_point.evse, self.now)
        if session is None:
            return None
        match notification:
            case "SessionMeterValuesNotification":
                return announcements.meter_values(session)
            case "SessionUpdateNotification":
                return announcements.session_update(session, self.now)
            case "cdr.received" if session.stopped_at is not None:
                return announcements.cdr(session, self.now)
            case _ if notification in START_STOP:
                return announcements.start_stop(session, notification)
        return None

    def reset(self, charge_point_id: int) -> bool:
        """Reset a charge point: a faulted one boots and recovers, others ignore it."""
        charge_point = self.charge_points.get(charge_point_id)
        if charge_point is None or not charge_point.faulted or charge_point.was_reset:
            return False
        charge_point.was_reset = True
        self._hasten(charge_point, charge_point.random.randint(20, 90))
        return True

    def order_session(self, charge_point_id: int, user_id: int | None = None) -> ChargingSession | None:
        """Start a session at once; None if the charge point cannot start one now."""
        charge_point = self.charge_points.get(charge_point_id)
        if (
            charge_point is None
            or not charge_point.idle
            or charge_point.session
            or not charge_point.operative
        ):
            return None
        charge_point.session = self.begin(charge_point, user_id, "pending")
        self._hasten(charge_point, charge_point.random.randint(1, 5))
        return charge_point.session

    def order_stop(self, session_id: int) -> bool:
        """End a session at once, as a remote stop does."""
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
        """Let this share of charge points fault when no car is there; returns their number."""
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
        """The time that is shown: simulated, unless there is a clock."""
        if self._clock is not None:
            return self._clock().replace(microsecond=0)
        return self.started_at + timedelta(seconds=self._now_s)

    def begin(self, charge_point: ChargePoint, user_id: int | None, status: str) -> ChargingSession:
        """Begin a session and remember it; the oldest ones are forgotten."""
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

    def _plan(self, charge_point: ChargePoint, in_s: int) -> None:
        self._entries += 1
        entry = (self._now_s + in_s, self._entries, charge_point.evse.charge_point_id, charge_point.turn)
        heapq.heappush(self._agenda, entry)

    def _hasten(self, charge_point: ChargePoint, in_s: int) -> None:
        """Bring forward what a charge point waits for."""
        charge_point.turn += 1
        self._plan(charge_point, in_s)
