"""The calls to AMPECO about notification subscriptions: with one API token or two, in version 2.0 or 1.0.

While a token is rotated, there are two. AMPECO does not document whether a token sees the subscriptions of another.
So both are asked for a list, and a subscription is changed with the token that made it, where that is known.
Version 1.0 is used by tenants that have nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from ampeco.errors import ApiError, FeatureDisabled, KeyRefused, NotFound, NotSupported
from ampeco.models.notification_subscription import NotificationSubscription

_NO_SUCH_VERSION = (NotFound, FeatureDisabled, NotSupported)


class Api(Protocol):
    """The client's calls, in either version."""

    async def subscribe(
        self, notifications: Sequence[str], /, *, callback_url: str
    ) -> NotificationSubscription: ...
    async def list(self) -> list[NotificationSubscription]: ...
    async def update(
        self, subscription_id: str, notifications: Sequence[str], /, *, callback_url: str, **flags: Any
    ) -> NotificationSubscription: ...
    async def unsubscribe(self, subscription_id: str) -> None: ...


class Client(Protocol):
    """The part of `AsyncClient` that is used here."""

    @property
    def notifications(self) -> Api: ...
    @property
    def notifications_v1(self) -> Api: ...


class NotificationApi:
    """Notification subscriptions of one tenant.

    Args:
        clients: by id of their API token; the first one subscribes.
    """

    def __init__(self, clients: Mapping[str, Any]) -> None:
        self._tokens = {key_id: _Token(client) for key_id, client in clients.items()}
        self._seen_by: dict[str, str] = {}
        self._flags: dict[str, Mapping[str, Any]] = {}

    @property
    def key_id(self) -> str:
        """Id of the API token that subscribes."""
        return next(iter(self._tokens))

    async def list(self) -> list[NotificationSubscription]:
        """Return all subscriptions that one of the tokens sees.

        Raises:
            ApiError: no token could list them, or one could not be asked.
        """
        found: dict[str, NotificationSubscription] = {}
        refusal: KeyRefused | None = None
        answered = False
        for key_id, token in self._tokens.items():
            try:
                listed = await token.list()
            except KeyRefused as error:
                refusal = refusal or error
                continue
            answered = True
            for one in listed:
                found.setdefault(one.id, one)
                self._seen_by.setdefault(one.id, key_id)
                self._flags[one.id] = one.flags
        if refusal is not None and not answered:
            raise refusal
        return list(found.values())

    async def subscribe(
        self, notifications: Sequence[str], *, callback_url: str, key_id: str = ""
    ) -> NotificationSubscription:
        """Subscribe with one of the tokens, by default the first. AMPECO will sign with it."""
        chosen = key_id or self.key_id
        made = await self._tokens[chosen].subscribe(notifications, callback_url)
        self._seen_by[made.id] = chosen
        return made

    async def update(
        self, id: str, notifications: Sequence[str], *, callback_url: str, key_id: str = ""
    ) -> NotificationSubscription:
        """Replace a subscription, with the flags that it had.

        Args:
            key_id: the token that made it; AMPECO does not document whether the one that updates becomes its key.
        """
        token = self._tokens[self._of(id, key_id)]
        return await token.update(id, notifications, callback_url, self._flags.get(id, {}))

    async def unsubscribe(self, id: str, *, key_id: str = "") -> None:
        """Remove a subscription; no error if it is already gone.

        A token that does not see it says the same as one for which it is gone, so the others are asked as well.
        """
        first = self._of(id, key_id)
        refusal: ApiError | None = None
        answered = False
        for name in (first, *(other for other in self._tokens if other != first)):
            try:
                await self._tokens[name].unsubscribe(id)
                answered = True
            except KeyRefused as error:
                refusal = refusal or error
        if refusal is not None and not answered:
            raise refusal

    def _of(self, id: str, key_id: str) -> str:
        return next(name for name in (key_id, self._seen_by.get(id, ""), self.key_id) if name in self._tokens)


class _Token:
    """One API token, and the version of the calls that the tenant has."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._is_v1 = False

    @property
    def _api(self) -> Api:
        return self._client.notifications_v1 if self._is_v1 else self._client.notifications

    async def list(self) -> list[NotificationSubscription]:
        try:
            return await self._api.list()
        except _NO_SUCH_VERSION:
            if self._is_v1:
                self._is_v1 = False  # a tenant that was updated
                raise
        try:
            found = await self._client.notifications_v1.list()
        except _NO_SUCH_VERSION:
            return await self._client.notifications.list()  # it says what is wrong
        self._is_v1 = True
        return found

    async def subscribe(self, notifications: Sequence[str], callback_url: str) -> NotificationSubscription:
        return await self._api.subscribe(notifications, callback_url=callback_url)

    async def update(
        self, id: str, notifications: Sequence[str], callback_url: str, flags: Mapping[str, Any]
    ) -> NotificationSubscription:
        kept = {name: value for name, value in flags.items() if not self._is_v1 or name in _FLAGS_OF_V1}
        return await self._api.update(id, notifications, callback_url=callback_url, **kept)

    async def unsubscribe(self, id: str) -> None:
        await self._api.unsubscribe(id)


_FLAGS_OF_V1 = frozenset({"include_timestamp_in_signature"})
