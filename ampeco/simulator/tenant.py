"""What a pretend tenant knows and decides: tokens, notification subscriptions, deliveries, recorded actions.

Plain state. It knows nothing of HTTP, sockets, tasks or of what a charge point does.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from ampeco.signature import SigningKey
from ampeco.simulator.access import Access
from ampeco.simulator.delivery.spelling import dressed, freshened
from ampeco.simulator.model import (
    Delivery,
    NotificationSubscription,
    RecordedAction,
    RecordedCall,
    Refused,
    State,
    SubscriptionRequest,
)
from ampeco.simulator.switches import Habits, hit

NEWER_SPELLING = {
    "AuthorizationNotification": "authorization.changed",
    "PartnerChangedNotification": "partner.changed",
    "SessionStartStopNotification": "session.start.stop.notification",
    "user.subscriptionChanged": "user.subscription.changed",
}
"""Deprecated type -> the one that took its place with the same meaning. Source: published contract v3.110.0."""
KEPT_ACTIONS = 10_000
KEPT_CALLS = 10_000
KEPT_DELIVERIES = 10_000


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
        self.access = Access(tokens, read_only_tokens)
        self.habits = habits or Habits()
        self.now = now
        self.subscriptions: dict[int, NotificationSubscription] = {}
        self.actions: deque[RecordedAction] = deque(maxlen=KEPT_ACTIONS)
        self.calls: deque[RecordedCall] = deque(maxlen=KEPT_CALLS)
        self.deliveries: deque[Delivery] = deque(maxlen=KEPT_DELIVERIES)
        self.action_counts: Counter[str] = Counter()
        self.answers: Counter[str] = Counter()
        self.attempts = 0
        self.resent = 0
        self.repeated = 0
        self.outbox: deque[Delivery] = deque()
        self._open: dict[int, Delivery] = {}
        self._failed: dict[int, Delivery] = {}
        self._tally: dict[str, Counter[State]] = {}
        self._last_subscription_id = 0
        self._last_delivery_id = 0
        self._on_outbox: Callable[[], None] | None = None

    # -- habits and tokens

    def change(self, habits: Habits) -> None:
        """From now on the tenant behaves like this."""
        self.habits = habits
        if self._on_outbox is not None:
            self._on_outbox()

    def add_token(self, token: str, *, read_only: bool = False) -> None:
        """From now on this token is known; what it subscribed earlier is delivered again."""
        self.access.add(token, read_only=read_only)
        self._silence(SigningKey.of(token), silenced=False)

    def remove_token(self, key_id: str | None = None) -> None:
        """Forget a token (None: the oldest). The habit `removed_token` says what becomes of its subscriptions."""
        key = self.access.remove(key_id)
        if self.habits.removed_token == "stops":  # noqa: S105 (a habit)
            self._silence(key, silenced=True)

    def _silence(self, key: SigningKey, *, silenced: bool) -> None:
        for subscription in self.subscriptions.values():
            if subscription.key == key:
                subscription.silenced = silenced

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
        """Call this whenever deliveries were put into `outbox` (None: stop calling)."""
        self._on_outbox = on_outbox

    def wanted(self) -> frozenset[str]:
        """The notification types that have a subscription at this moment."""
        subscriptions = self.subscriptions.values()
        return frozenset(n for s in subscriptions for n in s.request.notifications if self._sends(s, n))

    def _sends(self, subscription: NotificationSubscription, notification: str) -> bool:
        """Whether it is delivered; of two spellings of one type only the newer, unless the habits say both."""
        newer = NEWER_SPELLING.get(notification)
        return subscription.wants(notification) and (
            self.habits.both_spellings or newer is None or not subscription.wants(newer)
        )

    def announce(
        self, notification: str, charge_point_id: int | None, body: bytes, *, as_it_is: bool = False
    ) -> int:
        """Make one delivery for each notification subscription that wants this type.

        Args:
            as_it_is: the habits about bodies do not apply.

        Returns:
            How many notification subscriptions want it.
        """
        wanting = [s for s in self.subscriptions.values() if self._sends(s, notification)]
        if wanting and self.habits.dresses and not as_it_is:
            body = dressed(body, self.habits)
        made = [self._make(subscription, notification, charge_point_id, body) for subscription in wanting]
        self._send(self._repeated(made) if self.habits.duplicate_share else made)
        return len(wanting)

    def _repeated(self, deliveries: Iterable[Delivery]) -> list[Delivery]:
        share, seed = self.habits.duplicate_share, self.habits.seed
        all_: list[Delivery] = []
        for first in deliveries:
            all_.append(first)
            if hit(share, seed, "duplicate", first.id):
                again = self._make(
                    first.subscription, first.notification, first.charge_point_id, first.body, first.id
                )
                all_.append(again)
                self.repeated += 1
        return all_

    def attempted(self, delivery: Delivery, answer: str) -> float | None:
        """Record the outcome of one attempt.

        Args:
            answer: the HTTP status as text, or why there was none.

        Returns:
            Pause before the next attempt in seconds; None when there is none to come.
        """
        self.attempts += 1
        self.answers[answer] += 1
        delivery.answers += (answer,)
        if self.habits.counts_as_delivered(answer):
            self._move(delivery, "delivered")
            delivery.subscription.failed_in_a_row = 0
            return None
        if delivery.state != "pending":
            return None
        delivery.failures += 1
        if delivery.failures <= len(self.habits.retry_pauses_s):
            return self.habits.retry_pauses_s[delivery.failures - 1]
        delivery.failed_at = self.now()
        self._move(delivery, "failed")
        self._count_failure(delivery.subscription)
        return None

    def _count_failure(self, subscription: NotificationSubscription) -> None:
        subscription.failed_in_a_row += 1
        if 0 < self.habits.disable_after <= subscription.failed_in_a_row:
            subscription.enabled = False

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
            if self.habits.resend_bodies == "fresh":
                delivery.body = freshened(delivery.body, now)
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
        repeats: int | None = None,
    ) -> Delivery:
        self._last_delivery_id += 1
        id_ = self._last_delivery_id
        made = Delivery(id_, subscription, notification, charge_point_id, body, rank=id_, repeats=repeats)
        made.made_at = self.now()
        self._open[made.id] = made
        self.deliveries.append(made)
        self._tally.setdefault(notification, Counter())["pending"] += 1
        return made

    def _send(self, deliveries: Iterable[Delivery]) -> None:
        before = len(self.outbox)
        self.outbox.extend(deliveries)
        if len(self.outbox) > before and self._on_outbox is not None:
            self._on_outbox()

    def _move(self, delivery: Delivery, state: State) -> None:
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

    # -- actions and counts

    def record(self, operation: str, params: Mapping[str, str], body: Any = None) -> None:
        """Remember that an action was called and accepted."""
        self.actions.append(RecordedAction(operation, params, self.now(), body))
        self.action_counts[operation] += 1

    def forget(self) -> None:
        """Reset the counts: settled deliveries and failures are dropped, pending ones stay."""
        for counts in (self.actions, self.calls, self.action_counts, self.answers, self._failed):
            counts.clear()
        self.attempts = self.resent = self.repeated = 0
        self.deliveries = deque(self._open.values(), maxlen=KEPT_DELIVERIES)
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
