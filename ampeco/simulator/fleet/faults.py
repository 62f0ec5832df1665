"""Lets faults begin and end at their times. Each kind of fault is a function that returns how to undo it."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from ampeco.simulator.fleet.fleet import Fleet
from ampeco.simulator.fleet.plan import Fault
from ampeco.simulator.model import NotificationSubscription
from ampeco.simulator.switches import as_json
from ampeco.simulator.tenant import Tenant
from ampeco.simulator.validation import read_habits

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
        self._own_habits: dict[str, Any] = {}  # those that a fault at work has changed
        self._disabled: list[NotificationSubscription] = []
        self._ordered = 0

    @property
    def under_way(self) -> list[str]:
        """The kinds of faults at work at this moment."""
        return [fault.what for fault, _ in self._under_way.values()]

    def order(self, fault: Fault) -> None:
        """Schedule the start and end of a fault, counted from now."""
        self._ordered += 1
        number = self._ordered
        self._at(fault.from_s, lambda: self._begin(number, fault))
        if fault.to_s is not None:
            self._at(fault.to_s, lambda: self._end(number))

    def end(self) -> None:
        """Cancel scheduled faults, and undo active ones."""
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
        self._become(fault.habits)
        self._own_habits = {**{name: before[name] for name in fault.habits}, **self._own_habits}
        return lambda: self._behave_again(fault.habits)

    def _behave_again(self, names: Iterable[str]) -> None:
        """Restore each habit: from the latest fault that is still active, else the tenant's own."""
        others = [fault.habits for fault, _ in self._under_way.values()]
        again = {name: self._own_habits.pop(name) for name in names if not any(name in h for h in others)}
        for habits in others:
            again |= {name: habits[name] for name in names if name in habits}
        self._become(again)

    def _become(self, habits: Mapping[str, Any]) -> None:
        self._tenant.change(read_habits(habits, self._tenant.habits))

    def _disable_subscriptions(self) -> _Undo:
        for subscription in self._tenant.subscriptions.values():
            if subscription.enabled:
                subscription.enabled = False
                self._disabled.append(subscription)
        return self._enable_subscriptions

    def _enable_subscriptions(self) -> None:
        if any(fault.what == "disable-subscriptions" for fault, _ in self._under_way.values()):
            return  # not yet: another such fault is at work
        for subscription in self._disabled:
            subscription.enabled = True
        self._disabled.clear()
