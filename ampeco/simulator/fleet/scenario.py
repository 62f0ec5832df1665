"""Runs a fleet in real time: at a rate, up to a count. Without a subscriber it runs on unseen.

It knows nothing about HTTP or the delivery of notifications.
"""

import asyncio
import logging
from dataclasses import asdict, replace
from datetime import timedelta
from typing import Any

from ampeco.simulator.fleet.announcements import ANNOUNCED, Announcement
from ampeco.simulator.fleet.faults import Trouble
from ampeco.simulator.fleet.fleet import FIRST_SESSION_ID, Fleet
from ampeco.simulator.fleet.plan import Plan
from ampeco.simulator.fleet.samples import sample
from ampeco.simulator.model import Refused
from ampeco.simulator.tenant import Tenant
from ampeco.simulator.validation import read_habits

log = logging.getLogger(__name__)

# Simulated time outruns the clock, so it begins in the past.
_BEGINS_BEFORE = timedelta(days=7)
_LOOK_AHEAD = 10_000
_BATCH = 256
_BACKLOG = 2_000
_SHORTEST_PAUSE_S = 0.002
_IDLE_PAUSE_S = 0.05
_UNSEEN_RATE = 50.0


class Scenario:
    """At most one fleet at a time, announcing to one tenant.

    Attributes:
        fleet: the one alive, or the last one; None before the first.
        trouble: what goes wrong.
    """

    def __init__(self, tenant: Tenant) -> None:
        self._tenant = tenant
        self._plan = Plan()
        self.fleet: Fleet | None = None
        self.trouble = Trouble(tenant, self)
        self._task: asyncio.Task[None] | None = None
        self._made = 0
        self._next_session_id = FIRST_SESSION_ID

    def start(self, plan: Plan) -> None:
        """Start a new fleet in a task of the running loop. The plan's habits stay after it stops.

        Raises:
            Refused: 409, one is alive already; 422, a habit that cannot be had.
        """
        if self.running:
            raise Refused(409, "A scenario is running. Stop it first.")
        self._tenant.change(read_habits(plan.habits, self._tenant.habits, "habits"))
        if self.fleet is not None:
            self._next_session_id = self.fleet.next_session_id
        start_at = plan.start_at or self._tenant.now() - _BEGINS_BEFORE
        self._plan, self._made = replace(plan, start_at=start_at), 0
        self.fleet = Fleet(
            plan.charge_points,
            seed=plan.seed,
            start_at=start_at,
            first_session_id=self._next_session_id,
            behaviour=plan.behaviour,
            clock=self._tenant.now if plan.wall_clock else None,
        )
        if not self._tenant.wanted() & ANNOUNCED:
            self.fleet.warm_up()
        self._task = asyncio.get_running_loop().create_task(self._drive(self.fleet))
        for fault in plan.faults:
            self.trouble.order(fault)
        log.info("scenario.started", extra={"charge_points": plan.charge_points, "seed": plan.seed})

    async def stop(self) -> None:
        """Make no new notifications, and end all faults. Deliveries continue, retries included."""
        self.trouble.end()
        task, self._task = self._task, None
        if task is None:
            return
        task.cancel()
        await asyncio.wait([task])
        log.info("scenario.stopped", extra={"made": self._made})

    def sample(self, notification: str, charge_point_id: int | None = None) -> dict[str, Any]:
        """Return a notification about objects of the fleet; without a fleet, make one that stands still."""
        if self.fleet is None:
            plan, start_at = self._plan, self._tenant.now() - _BEGINS_BEFORE
            self.fleet = Fleet(plan.charge_points, seed=plan.seed, start_at=start_at)
            self.fleet.warm_up()
        if not self.fleet.sessions:
            any(self.fleet.order_session(id_) for id_ in self.fleet.charge_points)
        return sample(notification, self._tenant.now(), self.fleet, charge_point_id)

    def reset(self, charge_point_id: int) -> None:
        """A reset action was called for this charge point."""
        if self.fleet is not None:
            self.fleet.reset(charge_point_id)

    @property
    def running(self) -> bool:
        """Whether notifications are being made."""
        return self._task is not None and not self._task.done()

    def describe(self) -> dict[str, Any]:
        """Return the plan and its progress, for the control endpoints."""
        fleet, plan = self.fleet, self._plan
        return {
            "running": self.running,
            "made": self._made,
            "about": plan.about,
            "charge_points": plan.charge_points,
            "rate": plan.rate,
            "count": plan.count,
            "seed": plan.seed,
            "start_at": None if plan.start_at is None else plan.start_at.isoformat(),
            "wall_clock": plan.wall_clock,
            "behaviour": asdict(plan.behaviour),
            "under_way": self.trouble.under_way,
            "simulated_now": None if fleet is None else fleet.now.isoformat(),
            "sessions_started": 0 if fleet is None else fleet.sessions_started,
            "sessions_finished": 0 if fleet is None else fleet.sessions_finished,
            "faults": 0 if fleet is None else fleet.faults,
            "faulted": [] if fleet is None else fleet.faulted,
        }

    async def _drive(self, fleet: Fleet) -> None:
        loop = asyncio.get_running_loop()
        plan, began_at, paced, unseen = self._plan, loop.time(), 0, 0.0
        while plan.count is None or self._made < plan.count:
            wanted = self._tenant.wanted() & ANNOUNCED
            if not wanted:
                unseen += (plan.rate or _UNSEEN_RATE) * _IDLE_PAUSE_S
                while unseen >= 1:
                    fleet.next()
                    unseen -= 1
                await asyncio.sleep(_IDLE_PAUSE_S)
                began_at, paced = loop.time(), 0
                continue
            if plan.rate is None:
                due = _BATCH if self._tenant.pending < _BACKLOG else 0
                pause_s = _SHORTEST_PAUSE_S if not due else 0.0
            else:
                due = int((loop.time() - began_at) * plan.rate) - paced
                if due > max(plan.rate, 1):  # we were held up for more than a second: do not make up for it
                    began_at, paced, due = loop.time(), 0, 1
                pause_s = max(_SHORTEST_PAUSE_S, began_at + (paced + due + 1) / plan.rate - loop.time())
            if plan.count is not None:
                due = min(due, plan.count - self._made)
            for announcement in _upcoming(fleet, wanted, min(due, _BATCH)):
                self._tenant.announce(*announcement)
                self._made += 1
                paced += 1
            await asyncio.sleep(pause_s)


def _upcoming(fleet: Fleet, wanted: frozenset[str], count: int) -> list[Announcement]:
    """Return the next ones with a subscription; the others are skipped and take no time."""
    found: list[Announcement] = []
    for _ in range(_LOOK_AHEAD):
        if len(found) == count:
            break
        announcement = fleet.next()
        if announcement.notification in wanted:
            found.append(announcement)
    return found
