"""The process that keeps the registration right, and does nothing else: no public port, no event.

The receivers then run with `AWR_REGISTER=off` and with signing keys alone. This process holds the API token. It also
compares gaps with AMPECO's listings, because that needs the token. `registrar.py` decides when to check.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from typing import Any

from redis.exceptions import RedisError

from ampeco.client import AsyncClient
from ampeco.shared_budget import SharedBudget
from ampeco.signature import SigningKey
from eventlog.call_budget import CallBudget
from eventlog.clock import rfc3339
from eventlog.connection import credentials
from eventlog.connection.connect import connect, end_tasks
from eventlog.log import EventLog
from eventlog.ownership import check_tenant
from eventlog.subscription import SubscriptionStore
from eventlog.wakeups import Waker
from receiver.access import Clients, make_reconciler
from receiver.app import create_admin_app
from receiver.backfill import Backfill, Pace
from receiver.claim import rules_of
from receiver.connections import Connections, limits_of
from receiver.gap_keeper import GapKeeper
from receiver.health import Health
from receiver.http_server import serve_until
from receiver.logging import get_logger
from receiver.metrics import LogExposition, Metrics
from receiver.registrar import Registrar
from receiver.registration_check import REGISTERED
from receiver.secret_files import SecretFiles, warn_of_short_keys
from receiver.settings import Settings
from receiver.sockets import listening

PULSE_S = 1.0
KEY_NOT_ACCEPTED = "key-not-accepted"
_END_TASKS_S = 1.0
_UNREGISTER_S = 5.0

_log = get_logger(__name__)


class RegistrationWatch:
    """Checks the registration for receivers that cannot.

    Attributes:
        accepted: ids of the signing keys that every live receiver accepts; None while no receiver is alive.
        signed_with: id of the key that signs what AMPECO delivers; empty if it is unknown.
    """

    def __init__(self, settings: Settings, *, reload: Callable[[], Settings]) -> None:
        """
        Args:
            settings: with Redis, tenant, API token and public URL; registration is not `off`.
            reload: reads all settings again after a secret file changed.
        """
        assert settings.registration != "off"  # noqa: S101 - refused by the command
        assert settings.redis_url is not None  # noqa: S101 - demanded
        self._settings = settings
        self._reload = reload
        redis_url = settings.redis_url.get_secret_value()
        self._redis = connect(redis_url, max_connections=4)
        self._log = EventLog(
            self._redis, prefix=settings.key_prefix, lanes=settings.lanes, may_evict=settings.may_evict
        )
        self._store = SubscriptionStore(self._log)
        self._budget = SharedBudget(CallBudget(self._log, per_s=settings.api_calls_per_s))
        self._waker = Waker(redis_url)
        self._clients = Clients(self._budget)
        self._metrics = Metrics()
        # This is no endpoint. The alert for "no receiver is ready" takes the highest value of all pods.
        self._metrics.of_no_endpoint()
        self._of_log = LogExposition(self._log)
        self._health = Health(self._log.ready, self._check_tenant, self._metrics)
        self.accepted: frozenset[str] | None = None
        self.signed_with = ""
        self._registrar = self._make_registrar(settings)
        self._health.registration = self._registration
        self._health.registration_detail = self._registration_detail
        self._backfill_client = self._make_backfill_client(settings)
        self._gap_keeper = self._make_gap_keeper(settings)

    async def run(self, stop: asyncio.Event, on_open: Callable[[], object] = lambda: None) -> None:
        """Work until `stop` is set.

        Args:
            on_open: called once, when the admin port is open.

        Raises:
            LogMismatch: the log in this Redis belongs to another tenant.
            SettingsError: the admin port cannot be opened.
        """
        settings = self._settings
        try:
            await self._health.check()
            with listening(settings.admin_host, settings.admin_port, "AWR_ADMIN_PORT") as admin:
                _log.info("settings.loaded", **settings.summary())
                warn_of_short_keys(settings)
                _log.info("registration_watch.started", admin_port=admin.getsockname()[1])
                on_open()
                await self._work(admin, stop)
                _log.info("registration_watch.stopped")
        finally:
            self._waker.close()
            await self._clients.close()
            await self._budget.aclose()
            await self._redis.aclose()

    async def _work(self, admin: socket.socket, stop: asyncio.Event) -> None:
        app = create_admin_app(self._report, self._exposition)
        connections = Connections("admin", limits_of(self._settings), metrics=self._metrics.connections)
        ends = asyncio.Event()
        serving = asyncio.create_task(serve_until(app, admin, ends, connections))
        tasks: list[Awaitable[Any]] = [self._pulse(), self._registrar.run(), self._gap_keeper.run()]
        if self._settings.secrets_dir is not None:
            tasks.append(SecretFiles(self._settings.secrets_dir, self._reload, self._secrets_changed).run())
        background = [asyncio.ensure_future(task) for task in tasks]
        stopping = asyncio.create_task(stop.wait())
        try:
            ended, _ = await asyncio.wait(
                [stopping, serving, *background], return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            self._health.stopping = True
            await end_tasks([stopping, *background], within_s=_END_TASKS_S)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._registrar.close(), _UNREGISTER_S)
            ends.set()
            await asyncio.gather(serving, return_exceptions=True)
        for task in ended:
            task.result()

    async def _pulse(self) -> None:
        """Check Redis once a second, and read which keys the receivers accept."""
        while True:
            if await self._health.check():
                with contextlib.suppress(RedisError, OSError):  # the next check logs it
                    await self._read_keys()
            await asyncio.sleep(PULSE_S)

    async def _read_keys(self) -> None:
        alive = [one.accepted for one in await self._store.replicas()]
        self.accepted = frozenset.intersection(*alive) if alive else None
        self.signed_with = (await self._store.read()).get("key_id", "")

    async def _check_tenant(self) -> None:
        # No claim: the first receiver makes it, with its own entity key rules.
        await check_tenant(self._log, self._settings.tenant_url or "")
        await self._read_keys()  # before the first check of the registration

    def _registration(self) -> tuple[bool, str]:
        """Return whether AMPECO delivers to us what the receivers accept, and the state."""
        state = self._registrar.state
        if state == REGISTERED and self.signed_with and self.signed_with not in self._accepted_key_ids():
            return False, KEY_NOT_ACCEPTED
        return self._registrar.settled, state

    def _registration_detail(self) -> dict[str, Any]:
        confirmed_ms = self._registrar.confirmed_ms
        return {
            "registration_detail": self._registrar.detail or None,
            "registration_confirmed_at": rfc3339(confirmed_ms) if confirmed_ms else None,
        }

    def _accepted_key_ids(self) -> tuple[str, ...]:
        """Return the keys of the receivers. While none is alive nothing is known, so no key is called unknown."""
        if self.accepted is not None:
            return tuple(sorted(self.accepted))
        token = self._settings.api_token
        return (self.signed_with, SigningKey.of(token.get_secret_value()).key_id if token else "")

    async def _report(self) -> dict[str, Any]:
        return self._health.report(sorted(self.accepted or ()))

    async def _exposition(self) -> bytes:
        return await self._metrics.exposition(self._of_log)

    def _make_registrar(self, settings: Settings) -> Registrar:
        assert settings.registration != "off"  # noqa: S101 - see __init__
        # This process accepts no event, so only the keys that live receivers accept count as in use.
        reconciler = make_reconciler(settings, self._clients, self._log, lambda: ())
        return Registrar(
            reconciler,
            self._store,
            metrics=self._metrics,
            accepted_key_ids=self._accepted_key_ids,
            is_open=lambda: self._health.claimed,
            wake=self._waker.wake,
            mode=settings.registration,
            check_s=settings.registration_check_s,
        )

    def _make_gap_keeper(self, settings: Settings) -> GapKeeper:
        backfill = None
        if self._backfill_client is not None:
            backfill = Backfill(self._log, self._client, self._waker.wake, rules=rules_of(settings))
        return GapKeeper(
            self._log,
            backfill,
            settings.backfill or (),
            after_s=settings.backfill_after_s,
            metrics=self._metrics,
            is_open=lambda: self._health.claimed,
        )

    def _client(self) -> AsyncClient:
        assert self._backfill_client is not None  # noqa: S101 - made before the gap keeper
        return self._backfill_client

    def _make_backfill_client(self, settings: Settings) -> AsyncClient | None:
        if not settings.backfill or settings.tenant_url is None or settings.api_token is None:
            return None
        token = settings.api_token.get_secret_value()
        client = AsyncClient(settings.tenant_url, token, budget=Pace(self._budget))
        self._clients.add(client)
        return client

    def _secrets_changed(self, fresh: Settings) -> None:
        before, self._settings = self._settings, fresh
        if fresh.api_token is None:
            return
        if fresh.api_token != before.api_token:
            _log.info("api_token.changed")
            self._backfill_client = self._make_backfill_client(fresh) or self._backfill_client
        if (fresh.api_token, fresh.api_token_next) != (before.api_token, before.api_token_next):
            self._registrar.use(self._clients.access(fresh))
        old, new = (one.redis_url.get_secret_value() if one.redis_url else "" for one in (before, fresh))
        if credentials.without_login(new) != credentials.without_login(old):
            _log.warning("settings.restart_needed", setting="AWR_REDIS_URL")
        elif new != old:
            _log.info("redis.login_changed")
