"""The tasks of a process that need the API token: keep the registration right, and follow gaps to their end.

A receiver does both while it serves; `registration watch` does nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any

from ampeco.client import AsyncClient
from ampeco.notifications import EntityKeyRules
from ampeco.shared_budget import SharedBudget
from eventlog.call_budget import CallBudget
from eventlog.clock import rfc3339
from eventlog.log import EventLog
from eventlog.subscription import SubscriptionStore
from receiver.access import Clients, make_reconciler
from receiver.backfill import Backfill, Pace
from receiver.gap_keeper import GapKeeper
from receiver.health import Health
from receiver.logging import get_logger
from receiver.metrics import Metrics
from receiver.registrar import Registrar
from receiver.settings import Settings

_UNREGISTER_S = 5.0

_log = get_logger(__name__)


class Upkeep:
    """The registrar and the gap keeper of one process, and the clients with which they call AMPECO."""

    def __init__(
        self,
        settings: Settings,
        log: EventLog,
        wake: Callable[[Sequence[str]], None],
        *,
        rules: Callable[[], EntityKeyRules],
        metrics: Metrics,
        health: Health,
        accepted_key_ids: Callable[[], Sequence[str]],
        own_key_ids: Callable[[], Iterable[str]],
    ) -> None:
        """
        Args:
            wake: called with the queues to wake; must not block.
            rules: returns where to find entity keys; called only if gaps are compared with listings.
            health: shows the state of the registration from now on, unless `AWR_REGISTER=off`.
            accepted_key_ids: returns the ids of the keys that the endpoint accepts.
            own_key_ids: returns those that this process accepts itself.
        """
        self._settings = settings
        self._budget = SharedBudget(CallBudget(log, per_s=settings.api_calls_per_s))
        self._clients = Clients(self._budget)
        self._registrar: Registrar | None = None
        if settings.registration != "off":
            self._registrar = Registrar(
                make_reconciler(settings, self._clients, log, own_key_ids),
                SubscriptionStore(log),
                metrics=metrics,
                accepted_key_ids=accepted_key_ids,
                is_open=lambda: health.claimed,
                wake=wake,
                mode=settings.registration,
                check_s=settings.registration_check_s,
            )
            _show(self._registrar, health)
        self._backfill_client = self._make_backfill_client(settings)
        backfill = None
        if self._backfill_client is not None:
            backfill = Backfill(log, self._used_client, wake, rules=rules())
        self._gap_keeper = GapKeeper(
            log,
            backfill,
            settings.backfill or (),
            after_s=settings.backfill_after_s,
            metrics=metrics,
            is_open=lambda: health.claimed,
        )

    def work(self) -> list[Coroutine[Any, Any, None]]:
        """Return the coroutines to run until they are cancelled."""
        registering = [] if self._registrar is None else [self._registrar.run()]
        return [self._gap_keeper.run(), *registering]

    def use(self, fresh: Settings) -> None:
        """Call AMPECO with the tokens of settings that were read again."""
        before, self._settings = self._settings, fresh
        is_other = fresh.api_token != before.api_token
        if self._registrar is not None and fresh.api_token is not None:
            if is_other:
                _log.info("api_token.changed")
            if is_other or fresh.api_token_next != before.api_token_next:
                self._registrar.use(self._clients.access(fresh))
        if is_other and self._backfill_client is not None:
            self._backfill_client = self._make_backfill_client(fresh) or self._backfill_client

    async def leave(self) -> None:
        """On clean shutdown, remove an ephemeral notification subscription. AMPECO may deliver until then."""
        if self._registrar is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_UNREGISTER_S):
                    await self._registrar.close()

    async def aclose(self) -> None:
        """Close all connections to AMPECO."""
        await self._clients.close()
        await self._budget.aclose()

    def _make_backfill_client(self, settings: Settings) -> AsyncClient | None:
        if not settings.backfill or settings.tenant_url is None or settings.api_token is None:
            return None
        token = settings.api_token.get_secret_value()
        client = AsyncClient(settings.tenant_url, token, budget=Pace(self._budget))
        self._clients.add(client)
        return client

    def _used_client(self) -> AsyncClient:
        assert self._backfill_client is not None  # noqa: S101 - there is no backfill without it
        return self._backfill_client


def _show(registrar: Registrar, health: Health) -> None:
    """Show the registrar's findings in the health of the process."""
    health.registration = lambda: (registrar.settled, registrar.state)
    health.registration_detail = lambda: {
        "registration_detail": registrar.detail or None,
        "registration_confirmed_at": rfc3339(registrar.confirmed_ms) if registrar.confirmed_ms else None,
    }
