"""Methods of the async client that are not made from the table: names, arguments and words for callers.

`calls` builds what a method sends. The typed surfaces of actions and resources build on this module.

`ampeco/endpoints.py` is made from this file (`make generate`).
"""

from collections.abc import AsyncIterator, Callable, Sequence
from functools import cached_property
from typing import Protocol, TypeVar, Unpack

from ampeco import calls
from ampeco.calls import Call
from ampeco.listing import Listing
from ampeco.models.notification_subscription import Flags, KafkaTarget, NotificationSubscription

T = TypeVar("T")
N = TypeVar("N")
Subscriptions = list[NotificationSubscription]


class AsyncRun(Protocol):
    """Carries out a call and returns its result."""

    async def __call__(self, call: Call[T], /) -> T:
        """Carry it out."""


class AsyncWalk(Protocol):
    """Requests one page of a list after the other."""

    def __call__(self, listing: Listing[T], /) -> AsyncIterator[T]:
        """Yield the entries. The next page is requested when the caller wants more."""


class AsyncNoun:
    """A resource or a kind of logs."""

    _name = ""

    def __init__(self, run: AsyncRun, walk: AsyncWalk, name: str = "") -> None:
        self._run = run
        self._walk = walk
        self._name = name or self._name


class AsyncChild(cached_property[N]):
    """A noun below another one; made when it is first used. Its name in the table is that of the attribute."""

    def __init__(self, kind: Callable[[AsyncRun, AsyncWalk, str], N]) -> None:
        def made(parent: AsyncNoun) -> N:
            name = f"{parent._name}.{self.attrname}".replace("_", "-")  # noqa: SLF001 - the same family
            return kind(parent._run, parent._walk, name)  # noqa: SLF001

        super().__init__(made)


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
        """Return all of them. AMPECO does not document whether that includes those of other tokens."""
        return await self._run(calls.list_subscriptions("2.0"))

    async def read(self, subscription_id: str) -> NotificationSubscription:
        """Read one of them."""
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
        """Replace a whole subscription. AMPECO does not document what happens to flags that are not given."""
        body = calls.subscription_body(notifications, callback_url, kafka, flags)
        return await self._run(calls.update_subscription("2.0", subscription_id, body))

    async def unsubscribe(self, subscription_id: str) -> None:
        """Remove one; no error if it is already gone."""
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
        """Return all of them. AMPECO does not document whether that includes those of other tokens."""
        return await self._run(calls.list_subscriptions("1.0"))

    async def read(self, subscription_id: str) -> NotificationSubscription:
        """Read one of them."""
        return await self._run(calls.read_subscription("1.0", subscription_id))

    async def update(
        self,
        subscription_id: str,
        notifications: Sequence[str],
        *,
        callback_url: str,
        include_timestamp_in_signature: bool | None = None,
    ) -> NotificationSubscription:
        """Replace a whole subscription. AMPECO does not document what happens to a flag that is not given."""
        body = calls.subscription_body_v1(notifications, callback_url, include_timestamp_in_signature)
        return await self._run(calls.update_subscription("1.0", subscription_id, body))

    async def unsubscribe(self, subscription_id: str) -> None:
        """Remove one; no error if it is already gone."""
        await self._run(calls.unsubscribe("1.0", subscription_id))
