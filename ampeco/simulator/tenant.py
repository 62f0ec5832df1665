"""State and rules of a pretend tenant: tokens, notification subscriptions, deliveries, recorded actions.

It knows nothing about HTTP, sockets, tasks or charge points.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from ampeco.signature import SigningKey
from ampeco.simulator.access import Access
from ampeco.simulator.delivery.deliveries import Deliveries
from ampeco.simulator.delivery.spelling import dressed, freshened
from ampeco.simulator.model import (
    Delivery,
    NotificationSubscription,
    RecordedAction,
    RecordedCall,
    Refused,
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
        self.action_counts: Counter[str] = Counter()
        self.answers: Counter[str] = Counter()
        self.attempts = 0
        self.resent = 0
        self.repeated = 0
        self.outbox: deque[Delivery] = deque()
        self._book = Deliveries()
        self.count = self._book.count
        self.counts_by_type = self._book.counts_by_type
        self._last_subscription_id = 0
        self._on_outbox: Callable[[], None] | None = None

    # -- habits and tokens

    def change(self, habits: Habits) -> None:
        """Replace the habits."""
        self.habits = habits
        if self._on_outbox is not None:
            self._on_outbox()

    def add_token(self, token: str, *, read_only: bool = False) -> None:
        """Add a token; its earlier notification subscriptions are delivered again."""
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
        """Return the notification subscription of this id, or raise `Refused` with 404."""
        for known in self.subscriptions.values():
            if str(known.id) == str(subscription_id):
                return known
        raise Refused(404, "There is no such notification subscription.")

    def unsubscribe(self, subscription: NotificationSubscription) -> None:
        """Remove a notification subscription; what was on its way to it is dropped."""
        del self.subscriptions[subscription.id]
        self._book.drop(subscription)

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
        now = self.now()
        made = [self._book.make(each, notification, charge_point_id, body, now) for each in wanting]
        self._send(self._repeated(made) if self.habits.duplicate_share else made)
        return len(wanting)

    def _repeated(self, deliveries: Iterable[Delivery]) -> list[Delivery]:
        share, seed = self.habits.duplicate_share, self.habits.seed
        all_: list[Delivery] = []
        for first in deliveries:
            all_.append(first)
            if hit(share, seed, "duplicate", first.id):
                about = first.subscription, first.notification, first.charge_point_id, first.body
                all_.append(self._book.make(*about, self.now(), first.id))
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
            self._book.move(delivery, "delivered")
            delivery.subscription.failed_in_a_row = 0
            return None
        if delivery.state != "pending":
            return None
        delivery.failures += 1
        if delivery.failures <= len(self.habits.retry_pauses_s):
            return self.habits.retry_pauses_s[delivery.failures - 1]
        delivery.failed_at = self.now()
        self._book.move(delivery, "failed")
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
        """Send failed deliveries of these types again, if they failed last in [start_at, end_at].

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
        again = self._book.failed(subscription, notifications, start_at, end_at)
        for delivery in again:
            delivery.failures = 0
            if self.habits.resend_bodies == "fresh":
                delivery.body = freshened(delivery.body, now)
            self._book.move(delivery, "pending")
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

    def _send(self, deliveries: Iterable[Delivery]) -> None:
        before = len(self.outbox)
        self.outbox.extend(deliveries)
        if len(self.outbox) > before and self._on_outbox is not None:
            self._on_outbox()

    # -- actions and counts

    def record(self, operation: str, params: Mapping[str, str], body: Any = None) -> None:
        """Remember that an action was called and accepted."""
        self.actions.append(RecordedAction(operation, params, self.now(), body))
        self.action_counts[operation] += 1

    def forget(self) -> None:
        """Reset the counts: settled deliveries and failures are dropped, pending ones stay."""
        for counts in (self.actions, self.calls, self.action_counts, self.answers):
            counts.clear()
        self.attempts = self.resent = self.repeated = 0
        self._book.forget()

    @property
    def deliveries(self) -> deque[Delivery]:
        """The last 10,000 deliveries, oldest first."""
        return self._book.latest

    @property
    def pending(self) -> int:
        """Deliveries neither delivered nor given up."""
        return self._book.pending
