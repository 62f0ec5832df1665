"""The methods of the clients: names, arguments and words for callers; what they say is in `calls`."""

from collections.abc import Sequence
from typing import Protocol, TypeVar, Unpack

from ampeco import calls
from ampeco.calls import Call
from ampeco.models.notification_subscription import Flags, KafkaTarget, NotificationSubscription

T = TypeVar("T")
Subscriptions = list[NotificationSubscription]


class AsyncRun(Protocol):
    """Carries out a call and returns its result."""

    async def __call__(self, call: Call[T], /) -> T:
        """Carry it out."""


class Run(Protocol):
    """As `AsyncRun`, for code that is not async."""

    def __call__(self, call: Call[T], /) -> T:
        """Carry it out."""


class AsyncNotifications:
    """Our notification subscriptions at AMPECO: a webhook's with `callback_url`, a Kafka topic's with `kafka`."""

    def __init__(self, run: AsyncRun) -> None:
        self._run = run

    async def subscribe(
        self,
        notifications: Sequence[str],
        *,
        callback_url: str | None = None,
        kafka: KafkaTarget | None = None,
        **flags: Unpack[Flags],
    ) -> NotificationSubscription:
        """Subscribe. Each call adds one more notification subscription, equal ones included."""
        body = calls.subscription_body(notifications, callback_url, kafka, flags)
        return await self._run(calls.subscribe("2.0", body))

    async def list(self) -> Subscriptions:
        """Return all of them. Whether AMPECO shows those that another token made is not documented."""
        return await self._run(calls.list_subscriptions("2.0"))

    async def read(self, subscription_id: str) -> NotificationSubscription:
        """One of them."""
        return await self._run(calls.read_subscription("2.0", subscription_id))

    async def update(
        self,
        subscription_id: str,
        notifications: Sequence[str],
        *,
        callback_url: str | None = None,
        kafka: KafkaTarget | None = None,
        **flags: Unpack[Flags],
    ) -> NotificationSubscription:
        """Replace what one of them holds; what becomes of flags that are not given is not documented."""
        body = calls.subscription_body(notifications, callback_url, kafka, flags)
        return await self._run(calls.update_subscription("2.0", subscription_id, body))

    async def unsubscribe(self, subscription_id: str) -> None:
        """Remove one; fine when it is already gone."""
        await self._run(calls.unsubscribe("2.0", subscription_id))


class AsyncNotificationsV1:
    """Our notification subscriptions in version 1.0, which AMPECO has deprecated: webhooks only.

    Whether an id of one version means the same in the other is not publicly documented.
    """

    def __init__(self, run: AsyncRun) -> None:
        self._run = run

    async def subscribe(
        self,
        notifications: Sequence[str],
        *,
        callback_url: str,
        include_timestamp_in_signature: bool | None = None,
    ) -> NotificationSubscription:
        """Subscribe. Each call adds one more notification subscription, equal ones included."""
        body = calls.subscription_body_v1(notifications, callback_url, include_timestamp_in_signature)
        return await self._run(calls.subscribe("1.0", body))

    async def list(self) -> Subscriptions:
        """Return all of them. Whether AMPECO shows those that another token made is not documented."""
        return await self._run(calls.list_subscriptions("1.0"))

    async def read(self, subscription_id: str) -> NotificationSubscription:
        """One of them."""
        return await self._run(calls.read_subscription("1.0", subscription_id))

    async def update(
        self,
        subscription_id: str,
        notifications: Sequence[str],
        *,
        callback_url: str,
        include_timestamp_in_signature: bool | None = None,
    ) -> NotificationSubscription:
        """Replace what one of them holds; what becomes of a flag that is not given is not documented."""
        body = calls.subscription_body_v1(notifications, callback_url, include_timestamp_in_signature)
        return await self._run(calls.update_subscription("1.0", subscription_id, body))

    async def unsubscribe(self, subscription_id: str) -> None:
        """Remove one; fine when it is already gone."""
        await self._run(calls.unsubscribe("1.0", subscription_id))


class Notifications:
    """Our notification subscriptions at AMPECO: a webhook's with `callback_url`, a Kafka topic's with `kafka`."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def subscribe(
        self,
        notifications: Sequence[str],
        *,
        callback_url: str | None = None,
        kafka: KafkaTarget | None = None,
        **flags: Unpack[Flags],
    ) -> NotificationSubscription:
        """Subscribe. Each call adds one more notification subscription, equal ones included."""
        body = calls.subscription_body(notifications, callback_url, kafka, flags)
        return self._run(calls.subscribe("2.0", body))

    def list(self) -> Subscriptions:
        """Return all of them. Whether AMPECO shows those that another token made is not documented."""
        return self._run(calls.list_subscriptions("2.0"))

    def read(self, subscription_id: str) -> NotificationSubscription:
        """One of them."""
        return self._run(calls.read_subscription("2.0", subscription_id))

    def update(
        self,
        subscription_id: str,
        notifications: Sequence[str],
        *,
        callback_url: str | None = None,
        kafka: KafkaTarget | None = None,
        **flags: Unpack[Flags],
    ) -> NotificationSubscription:
        """Replace what one of them holds; what becomes of flags that are not given is not documented."""
        body = calls.subscription_body(notifications, callback_url, kafka, flags)
        return self._run(calls.update_subscription("2.0", subscription_id, body))

    def unsubscribe(self, subscription_id: str) -> None:
        """Remove one; fine when it is already gone."""
        self._run(calls.unsubscribe("2.0", subscription_id))


class NotificationsV1:
    """Our notification subscriptions in version 1.0, which AMPECO has deprecated: webhooks only.

    Whether an id of one version means the same in the other is not publicly documented.
    """

    def __init__(self, run: Run) -> None:
        self._run = run

    def subscribe(
        self,
        notifications: Sequence[str],
        *,
        callback_url: str,
        include_timestamp_in_signature: bool | None = None,
    ) -> NotificationSubscription:
        """Subscribe. Each call adds one more notification subscription, equal ones included."""
        body = calls.subscription_body_v1(notifications, callback_url, include_timestamp_in_signature)
        return self._run(calls.subscribe("1.0", body))

    def list(self) -> Subscriptions:
        """Return all of them. Whether AMPECO shows those that another token made is not documented."""
        return self._run(calls.list_subscriptions("1.0"))

    def read(self, subscription_id: str) -> NotificationSubscription:
        """One of them."""
        return self._run(calls.read_subscription("1.0", subscription_id))

    def update(
        self,
        subscription_id: str,
        notifications: Sequence[str],
        *,
        callback_url: str,
        include_timestamp_in_signature: bool | None = None,
    ) -> NotificationSubscription:
        """Replace what one of them holds; what becomes of a flag that is not given is not documented."""
        body = calls.subscription_body_v1(notifications, callback_url, include_timestamp_in_signature)
        return self._run(calls.update_subscription("1.0", subscription_id, body))

    def unsubscribe(self, subscription_id: str) -> None:
        """Remove one; fine when it is already gone."""
        self._run(calls.unsubscribe("1.0", subscription_id))
