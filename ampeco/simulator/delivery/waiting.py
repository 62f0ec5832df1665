"""Delays a new delivery before its first attempt: holds it back, sends it in a burst, or behind the next one.

The sender asks only when a habit wants it, so that none of this costs anything while it is off.
"""

import asyncio
from collections.abc import Callable

from ampeco.simulator.model import Delivery
from ampeco.simulator.switches import hit
from ampeco.simulator.tenant import Tenant

Lane = tuple[int, int | None]
"""Notification subscription and charge point: what order is kept for."""


def lane_of(delivery: Delivery) -> Lane:
    """The lane a delivery belongs to."""
    return delivery.subscription.id, delivery.charge_point_id


class WaitingRoom:
    """Where deliveries wait until they may be sent.

    Args:
        send: is given each delivery when its time has come.
    """

    def __init__(self, tenant: Tenant, send: Callable[[Delivery], None]) -> None:
        self._tenant = tenant
        self._send = send
        self._held: list[Delivery] = []
        self._burst: asyncio.TimerHandle | None = None
        self._late: dict[Lane, Delivery] = {}

    def enter(self, delivery: Delivery) -> None:
        """Take a delivery from the outbox."""
        habits = self._tenant.habits
        if habits.hold_deliveries or habits.burst_every_s:
            self._held.append(delivery)
            if habits.burst_every_s and self._burst is None:
                loop = asyncio.get_running_loop()
                self._burst = loop.call_later(habits.burst_every_s, self._let_burst)
        else:
            self._delay(delivery)

    def look_again(self) -> None:
        """Apply habits that may have changed."""
        habits = self._tenant.habits
        if self._held and not habits.hold_deliveries and not habits.burst_every_s:
            self._release()

    def close(self) -> None:
        """Release bursts, since there are none any more."""
        if self._burst is not None:
            self._burst.cancel()

    def _let_burst(self) -> None:
        self._burst = None
        if not self._tenant.habits.hold_deliveries:
            self._release()

    def _release(self) -> None:
        held, self._held = self._held, []
        for delivery in held:
            self._delay(delivery)

    def _delay(self, delivery: Delivery) -> None:
        delay_s = self._tenant.habits.delay_s
        if delay_s:
            asyncio.get_running_loop().call_later(delay_s, self._reorder, delivery)
        else:
            self._reorder(delivery)

    def _reorder(self, delivery: Delivery) -> None:
        lane, habits = lane_of(delivery), self._tenant.habits
        late = self._late.get(lane)
        if late is not None and delivery.repeats != late.id:
            del self._late[lane]
            self._send(delivery)
            late.rank = delivery.rank  # of two with one rank the later comer goes second
            self._send(late)
        elif (
            late is None and not delivery.answers and hit(habits.late_share, habits.seed, "late", delivery.id)
        ):
            self._late[lane] = delivery
            asyncio.get_running_loop().call_later(habits.late_s, self._overdue, delivery)
        else:
            self._send(delivery)

    def _overdue(self, delivery: Delivery) -> None:
        """Nothing came that it could be behind of."""
        if self._late.get(lane_of(delivery)) is delivery:
            del self._late[lane_of(delivery)]
            self._send(delivery)
