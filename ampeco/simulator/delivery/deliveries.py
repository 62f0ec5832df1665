"""Every delivery of a pretend tenant and what became of it; decides nothing and sends nothing."""

from collections import Counter, deque
from collections.abc import Iterable
from datetime import datetime

from ampeco.simulator.model import Delivery, NotificationSubscription, State

KEPT_DELIVERIES = 10_000


class Deliveries:
    """Deliveries by state.

    Attributes:
        latest: the last 10,000, oldest first.
    """

    def __init__(self) -> None:
        self.latest: deque[Delivery] = deque(maxlen=KEPT_DELIVERIES)
        self._open: dict[int, Delivery] = {}
        self._failed: dict[int, Delivery] = {}
        self._tally: dict[str, Counter[State]] = {}
        self._last_id = 0

    def make(
        self,
        subscription: NotificationSubscription,
        notification: str,
        charge_point_id: int | None,
        body: bytes,
        made_at: datetime,
        repeats: int | None = None,
    ) -> Delivery:
        """Add a pending delivery."""
        self._last_id += 1
        id_ = self._last_id
        made = Delivery(id_, subscription, notification, charge_point_id, body, rank=id_, repeats=repeats)
        made.made_at = made_at
        self._open[id_] = made
        self.latest.append(made)
        self._tally.setdefault(notification, Counter())["pending"] += 1
        return made

    def move(self, delivery: Delivery, state: State) -> None:
        """Put a delivery into another state."""
        tally = self._tally.setdefault(delivery.notification, Counter())
        if tally[delivery.state]:  # else it was forgotten while an attempt was under way
            tally[delivery.state] -= 1
        tally[state] += 1
        self._open.pop(delivery.id, None)
        self._failed.pop(delivery.id, None)
        if state == "pending":
            self._open[delivery.id] = delivery
        elif state == "failed":
            self._failed[delivery.id] = delivery
        delivery.state = state

    def drop(self, subscription: NotificationSubscription) -> None:
        """Drop what is on its way to a notification subscription."""
        for delivery in [d for d in self._open.values() if d.subscription is subscription]:
            self.move(delivery, "dropped")

    def failed(
        self,
        subscription: NotificationSubscription,
        notifications: Iterable[str],
        start_at: datetime | None,
        end_at: datetime | None,
    ) -> list[Delivery]:
        """Return what was given up, of these types, with its last failure in [start_at, end_at]."""
        wanted = frozenset(notifications)
        return [
            delivery
            for delivery in self._failed.values()
            if delivery.subscription is subscription
            and delivery.notification in wanted
            and delivery.failed_at is not None
            and (start_at is None or start_at <= delivery.failed_at)
            and (end_at is None or delivery.failed_at <= end_at)
        ]

    def forget(self) -> None:
        """Forget all but the pending ones."""
        self._failed.clear()
        self.latest = deque(self._open.values(), maxlen=KEPT_DELIVERIES)
        self._tally = {}
        for delivery in self._open.values():
            self._tally.setdefault(delivery.notification, Counter())["pending"] += 1

    @property
    def pending(self) -> int:
        """Deliveries neither delivered nor given up."""
        return len(self._open)

    def count(self, state: State) -> int:
        """Deliveries in this state."""
        return sum(tally[state] for tally in self._tally.values())

    def counts_by_type(self) -> dict[str, dict[str, int]]:
        """Per notification type: how many were made, and how many are in each state."""
        return {
            notification: {
                "sent": tally.total(),
                "delivered": tally["delivered"],
                "failed": tally["failed"],
                "pending": tally["pending"],
                "dropped": tally["dropped"],
            }
            for notification, tally in sorted(self._tally.items())
        }
