"""The process that keeps the registration right, and does nothing else: no public port, no event.

The receivers then run with `AWR_REGISTER=off` and with signing keys alone. This process holds the API token. It also
compares gaps with AMPECO's listings, because that needs the token. `registrar.py` decides when to check.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from functools import partial
from typing import Any

from redis.exceptions import RedisError

from ampeco.signature import SigningKey
from eventlog.connection.connect import connect, end_tasks
from eventlog.log import EventLog
from eventlog.ownership import check_tenant
from eventlog.subscription import SubscriptionStore
from eventlog.waker import Waker
from receiver.app import create_admin_app
from receiver.claim import rules_of
from receiver.connections import Connections, limits_of
from receiver.health import Health
from receiver.http_server import serve_until
from receiver.logging import get_logger
from receiver.metrics import LogExposition, Metrics
from receiver.registration_check import REGISTERED
from receiver.secret_files import SecretFiles, log_redis_change, warn_of_short_keys
from receiver.settings import Settings
from receiver.sockets import listening
from receiver.upkeep import Upkeep

PULSE_S = 1.0
KEY_NOT_ACCEPTED = "key-not-accepted"
_END_TASKS_S = 1.0

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
        self._waker = Waker(redis_url)
        self._metrics = Metrics()
        # This is not an endpoint. The alert for "no receiver is ready" takes the highest value of all pods.
        self._metrics.of_no_endpoint()
        self._of_log = LogExposition(self._log)
        self._health = Health(self._log.ready, self._check_tenant, self._metrics)
        self.accepted: frozenset[str] | None = None
        self.signed_with = ""
        self._upkeep = Upkeep(
            settings,
            self._log,
            self._waker.wake,
            rules=partial(rules_of, settings),
            metrics=self._metrics,
            health=self._health,
            accepted_key_ids=self._accepted_key_ids,
            # This process accepts no event, so only the keys that live receivers accept count as in use.
            own_key_ids=lambda: (),
        )
        self._at_ampeco = self._health.registration
        self._health.registration = self._registration

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
            await self._upkeep.aclose()
            await self._redis.aclose()

    async def _work(self, admin: socket.socket, stop: asyncio.Event) -> None:
        app = create_admin_app(self._report, self._exposition)
        connections = Connections("admin", limits_of(self._settings), metrics=self._metrics.connections)
        ends = asyncio.Event()
        serving = asyncio.create_task(serve_until(app, admin, ends, connections))
        tasks = [self._pulse(), *self._upkeep.work()]
        if self._settings.secrets_dir is not None:
            tasks.append(SecretFiles(self._settings.secrets_dir, self._reload, self._secrets_changed).run())
        background = [asyncio.create_task(task) for task in tasks]
        stopping = asyncio.create_task(stop.wait())
        try:
            ended, _ = await asyncio.wait(
                [stopping, serving, *background], return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            self._health.stopping = True
            await end_tasks([stopping, *background], within_s=_END_TASKS_S)
            await self._upkeep.leave()
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
        settled, state = self._at_ampeco()
        if state == REGISTERED and self.signed_with and self.signed_with not in self._accepted_key_ids():
            return False, KEY_NOT_ACCEPTED
        return settled, state

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

    def _secrets_changed(self, fresh: Settings) -> None:
        self._upkeep.use(fresh)
        log_redis_change(self._settings, fresh)
        self._settings = fresh
