"""Clients of AMPECO for the registration: with the API token, and during a rotation also with the next token."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from ampeco.budget import AsyncBudget
from ampeco.client import AsyncClient
from ampeco.signature import SigningKey
from eventlog.log import EventLog
from eventlog.operation.handlers import released_types
from eventlog.registry import wants_by_handler
from eventlog.subscription import SubscriptionStore
from receiver.notification_api import NotificationApi
from receiver.reconciler import Reconciler
from receiver.registration_check import Access
from receiver.settings import Settings


class Clients:
    """Opens clients, and closes them all at the end. A client that is replaced may still be in use."""

    def __init__(self, budget: AsyncBudget | None = None) -> None:
        """
        Args:
            budget: asked before each call.
        """
        self._budget = budget
        self._open: dict[tuple[str, str], AsyncClient] = {}
        self._others: list[AsyncClient] = []

    def access(self, settings: Settings) -> Access:
        """Return how to reach AMPECO with these settings, which name a tenant and an API token."""
        assert settings.tenant_url is not None  # noqa: S101 - demanded
        assert settings.api_token is not None  # noqa: S101 - demanded
        tokens = [settings.api_token] + ([settings.api_token_next] if settings.api_token_next else [])
        clients = {}
        for token in tokens:
            secret = token.get_secret_value()
            key_id = SigningKey.of(secret).key_id
            place = (settings.tenant_url, secret)
            if place not in self._open:
                self._open[place] = AsyncClient(settings.tenant_url, secret, budget=self._budget)
            clients[key_id] = self._open[place]
        api = NotificationApi(clients)
        return Access(api, api.key_id)

    def add(self, client: AsyncClient) -> None:
        """Also close this client at the end."""
        self._others.append(client)

    async def close(self) -> None:
        """Close all connections."""
        for client in (*self._open.values(), *self._others):
            await client.aclose()


def make_reconciler(
    settings: Settings, clients: Clients, log: EventLog, accepted_key_ids: Callable[[], Iterable[str]]
) -> Reconciler:
    """Return the reconciler for settings that name a tenant, an API token and a public URL."""
    assert settings.callback_url is not None  # noqa: S101 - demanded
    return Reconciler(
        clients.access(settings),
        SubscriptionStore(log),
        settings.callback_url,
        wants=partial(wants_by_handler, log),
        accepted_key_ids=accepted_key_ids,
        pinned=settings.notifications,
        released_types=partial(released_types, log),
    )
