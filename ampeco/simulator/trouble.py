"""Lets faults begin and end at their times. Each kind of fault is a function that returns how to undo it."""

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from ampeco.simulator.fleet import Fleet
from ampeco.simulator.habits import Habits, as_json
from ampeco.simulator.plan import Fault
from ampeco.simulator.reading import read_habits
from ampeco.simulator.tenant import Tenant

log = logging.getLogger(__name__)

_Undo = Callable[[], None]


class _HasFleet(Protocol):
    fleet: Fleet | None


class Trouble:
    """What goes wrong with a tenant and its fleet."""

    def __init__(self, tenant: Tenant, life: _HasFleet) -> None:
        self._tenant = tenant
        self._life = life
        self._timers: set[asyncio.TimerHandle] = set()
        self._under_way: dict[int, tuple[Fault, _Undo]] = {}
        self._ordered = 0

    @property
    def under_way(self) -> list[str]:
        """The kinds of faults at work at this moment."""
        return [fault.what for fault, _ in self._under_way.values()]

    def order(self, fault: Fault) -> None:
        """Let it begin and end at its times, counted from now."""
        self._ordered += 1
        number = self._ordered
        self._at(fault.from_s, lambda: self._begin(number, fault))
        if fault.to_s is not None:
            self._at(fault.to_s, lambda: self._end(number))

    def end(self) -> None:
        """Forget what is to come, and undo what is at work."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        for number in list(self._under_way):
            self._end(number)

    def _at(self, in_s: float, act: Callable[[], None]) -> None:
        def due() -> None:
            self._timers.discard(timer)
            act()

        timer = asyncio.get_running_loop().call_later(in_s, due)
        self._timers.add(timer)

    def _begin(self, number: int, fault: Fault) -> None:
        self._under_way[number] = (fault, self._carry_out(fault))
        log.info("fault.began", extra={"fault": fault.what})

    def _end(self, number: int) -> None:
        fault, undo = self._under_way.pop(number)
        undo()
        log.info("fault.ended", extra={"fault": fault.what})

    def _carry_out(self, fault: Fault) -> _Undo:
        match fault.what:
            case "habits":
                return self._change_habits(fault)
            case "disable-subscriptions":
                return self._disable_subscriptions()
            case "fault-charge-points":
                if self._life.fleet is not None:
                    self._life.fleet.order_faults(fault.share)
            case "add-token":
                self._tenant.add_token(fault.token or "")
            case "remove-token":
                self._tenant.remove_token()
        return lambda: None

    def _change_habits(self, fault: Fault) -> _Undo:
        before = as_json(self._tenant.habits)
        self._become(read_habits(fault.habits, self._tenant.habits))
        own = {name: before[name] for name in fault.habits}
        return lambda: self._become(read_habits(own, self._tenant.habits))

    def _become(self, habits: Habits) -> None:
        self._tenant.change(habits)

    def _disable_subscriptions(self) -> _Undo:
        disabled = [s for s in self._tenant.subscriptions.values() if s.enabled]
        for subscription in disabled:
            subscription.enabled = False

        def enable() -> None:
            for subscription in disabled:
                subscription.enabled = True

        return enable
