"""What a pretend tenant knows and decides: tokens, notification subscriptions, deliveries, recorded actions.

Plain state. It knows nothing of HTTP, sockets, tasks or of what a charge point does.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from ampeco.signature import SigningKey
from ampeco.simulator.model import (
    Delivery,
    Habits,
    NotificationSubscription,
    RecordedAction,
    Refused,
    State,
    SubscriptionRequest,
)

KEPT_ACTIONS = 10_000


def utc_now() -> datetime:
    """The wall clock, aware and in UTC."""
    return datetime.now(UTC)


class Tenant:
    """A tenant in memory.

    Args:
        tokens: API tokens that may do everything.
        read_only_tokens: tokens whose owner may read and nothing else (403).
        habits: answers to what AMPECO leaves open; None = the defaults.
        now: the clock, aware.
    """

    def __init__(
        self,
        tokens: Iterable[str],
        *,
        read_only_tokens: Iterable[str] = (),
        habits: Habits | None = None,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._tokens = frozenset(tokens)
        self._read_only_tokens = frozenset(read_only_tokens)
        if not self._tokens or "" in self._tokens | self._read_only_tokens:
            raise ValueError("a tenant needs at least one token, and no empty one")
        self.habits = habits or Habits()
        self.now = now
        self.subscriptions: dict[int, NotificationSubscription] = {}
        self.actions: deque[RecordedAction] = deque(maxlen=KEPT_ACTIONS)
        self.action_counts: Counter[str] = Counter()
        self.answers: Counter[str] = Counter()
        self.attempts = 0
        self.resent = 0
        self.outbox: deque[Delivery] = deque()
        self._open: dict[int, Delivery] = {}
        self._failed: dict[int, Delivery] = {}
        self._tally: dict[str, Counter[State]] = {}
        self._last_subscription_id = 0
        self._last_delivery_id = 0
        self._on_outbox: Callable[[], None] | None = None

    # -- who may call

    def admit(self, token: str | None, *, writes: bool) -> str:
        """The token, when its owner may do this.

        Raises:
            Refused: 401 for an unknown token, 403 for one that may only read.
        """
        if token in self._tokens:
            return token
        if token not in self._read_only_tokens:
            raise Refused(401, "The API token is missing or not valid.")
        if writes:
            raise Refused(403, "The owner of this API token may not do this.")
        return token

    # -- notification subscriptions

    def subscribe(self, request: SubscriptionRequest, token: str) -> NotificationSubscription:
        """Add a notification subscription. Not idempotent, as at AMPECO: the same call twice makes two."""
        self._last_subscription_id += 1
        made = NotificationSubscription(self._last_subscription_id, SigningKey.of(token), request)
        self.subscriptions[made.id] = made
        return made

    def subscription(self, subscription_id: int | str) -> NotificationSubscription:
        """The notification subscription of this id, or `Refused` with 404."""
        for known in self.subscriptions.values():
            if str(known.id) == str(subscription_id):
                return known
        raise Refused(404, "There is no such notification subscription.")

    def unsubscribe(self, subscription: NotificationSubscription) -> None:
        """Remove a notification subscription; what was on its way to it is dropped."""
        del self.subscriptions[subscription.id]
        for delivery in [d for d in self._open.values() if d.subscription is subscription]:
            self._move(delivery, "dropped")

    # -- deliveries

    def listen(self, on_outbox: Callable[[], None] | None) -> None:
        """Call this whenever deliveries were put into `outbox` (None: nobody listens any more)."""
        self._on_outbox = on_outbox

    def wanted(self) -> frozenset[str]:
        """The notification types that somebody is subscribed to at this moment."""
        subscriptions = self.subscriptions.values()
        return frozenset(n for s in subscriptions for n in s.request.notifications if s.wants(n))

    def announce(self, notification: str, charge_point_id: int | None, body: bytes) -> int:
        """Make one delivery for each notification subscription that wants this type; how many were made."""
        made = [
            self._make(subscription, notification, charge_point_id, body)
            for subscription in self.subscriptions.values()
            if subscription.wants(notification)
        ]
        self._send(made)
        return len(made)

    def attempted(self, delivery: Delivery, answer: str) -> float | None:
        """Record the outcome of one attempt.

        Args:
            answer: the HTTP status as text, or why there was none.

        Returns:
            Pause before the next attempt in seconds; None when there is none to come.
        """
        self.attempts += 1
        self.answers[answer] += 1
        if len(answer) == 3 and answer.startswith("2"):
            self._move(delivery, "delivered")
            return None
        if delivery.state != "pending":
            return None
        delivery.failures += 1
        if delivery.failures <= len(self.habits.retry_pauses_s):
            return self.habits.retry_pauses_s[delivery.failures - 1]
        delivery.failed_at = self.now()
        self._move(delivery, "failed")
        return None

    def resend(
        self,
        subscription: NotificationSubscription,
        notifications: Iterable[str],
        start_at: datetime | None,
        end_at: datetime | None,
    ) -> int:
        """Send again what was given up, of these types, with its last failure in [start_at, end_at].

        Returns:
            How many deliveries are on their way again.

        Raises:
            Refused: the notification subscription is disabled, or was resent too short a time ago.
        """
        if not subscription.enabled:
            raise Refused(422, "A disabled notification subscription cannot be resent.")
        now = self.now()
        self._refuse_early_resend(subscription, now)
        subscription.resent_at = now
        wanted = frozenset(notifications)
        again = [
            delivery
            for delivery in self._failed.values()
            if delivery.subscription is subscription
            and delivery.notification in wanted
            and delivery.failed_at is not None
            and (start_at is None or start_at <= delivery.failed_at)
            and (end_at is None or delivery.failed_at <= end_at)
        ]
        for delivery in again:
            delivery.failures = 0
            self._move(delivery, "pending")
        self.resent += len(again)
        self._send(again)
        return len(again)

    def _refuse_early_resend(self, subscription: NotificationSubscription, now: datetime) -> None:
        if subscription.resent_at is None:
            return
        left = subscription.resent_at + timedelta(seconds=self.habits.resend_every_s) - now
        if left <= timedelta(0):
            return
        wait_s = -(-left // timedelta(seconds=1))
        raise Refused(
            self.habits.too_early_status,
            "Failed notifications were resent a short time ago. Try again later.",
            retry_after_s=wait_s if self.habits.too_early_status == 429 else None,
        )

    def _make(
        self,
        subscription: NotificationSubscription,
        notification: str,
        charge_point_id: int | None,
        body: bytes,
    ) -> Delivery:
        self._last_delivery_id += 1
        made = Delivery(self._last_delivery_id, subscription, notification, charge_point_id, body)
        self._open[made.id] = made
        self._tally.setdefault(notification, Counter())["pending"] += 1
        return made

    def _send(self, deliveries: Iterable[Delivery]) -> None:
        before = len(self.outbox)
        self.outbox.extend(deliveries)
        if len(self.outbox) > before and self._on_outbox is not None:
            self._on_outbox()

    def _move(self, delivery: Delivery, state: State) -> None:
        tally = self._tally[delivery.notification]
        tally[delivery.state] -= 1
        tally[state] += 1
        self._open.pop(delivery.id, None)
        self._failed.pop(delivery.id, None)
        if state == "pending":
            self._open[delivery.id] = delivery
        elif state == "failed":
            self._failed[delivery.id] = delivery
        delivery.state = state

    # -- actions and counts

    def record(self, operation: str, params: Mapping[str, str], body: Any = None) -> None:
        """Remember that an action was called and accepted."""
        self.actions.append(RecordedAction(operation, params, self.now(), body))
        self.action_counts[operation] += 1

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
