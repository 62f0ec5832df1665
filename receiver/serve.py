"""The serving process: builds the parts, serves, runs the background tasks, and closes everything in order.

It decides nothing about a request.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from redis.exceptions import RedisError
from starlette.types import ASGIApp

from ampeco.client import AsyncClient
from ampeco.notifications import EntityKeyRules
from ampeco.shared_budget import SharedBudget
from ampeco.signature import SigningKey
from eventlog.call_budget import CallBudget
from eventlog.clock import now_ms, rfc3339
from eventlog.connection import credentials
from eventlog.connection.connect import connect, end_tasks
from eventlog.durability import DurabilityUnknown, replicas_of, shortfall, unguarded_master
from eventlog.housekeeping import tick_forever
from eventlog.log import AppendReply, Element, EventLog
from eventlog.loop_lag import LoopLag
from eventlog.readiness import try_append
from eventlog.replicas import Replica
from eventlog.server import server
from eventlog.subscription import SubscriptionStore
from eventlog.usage import standing
from eventlog.wakeups import Waker
from receiver import descriptors
from receiver.access import Clients, make_reconciler
from receiver.app import create_admin_app, create_app
from receiver.backfill import Backfill, Pace
from receiver.claim import rules_of
from receiver.connections import Connections, limits_of
from receiver.endpoint import WebhookEndpoint
from receiver.endpoint_log import EndpointLog
from receiver.fast_path import protocol_for
from receiver.gap_keeper import GapKeeper
from receiver.gaps import Heartbeat
from receiver.group_commit import GroupCommit
from receiver.health import Health
from receiver.heard import Announcement, HeardKeys
from receiver.http_server import HttpServer
from receiver.intake import Intake
from receiver.logging import get_logger
from receiver.metrics import LogExposition, Metrics
from receiver.recollection import Recollection
from receiver.registrar import Registrar
from receiver.request_body import Limits
from receiver.secret_files import SecretFiles
from receiver.settings import Settings
from receiver.shape_watch import ShapeWatch
from receiver.sockets import Listeners, open_listeners
from receiver.tracing import Tracing
from receiver.verification import Verifier

_T = TypeVar("_T")
_END_TASKS_S = 1.0
_UNREGISTER_S = 5.0

_log = get_logger(__name__)


class Receiver:
    """One serving process: the endpoint and the background tasks that run with it."""

    def __init__(
        self,
        settings: Settings,
        *,
        reload: Callable[[], Settings] | None = None,
        tracing: Tracing | None = None,
        console: ASGIApp | None = None,
    ) -> None:
        """
        Args:
            settings: those that `serving_needs` names are set.
            reload: reads all settings again after a secret file changed.
            tracing: follows verified requests; None where traces are off.
            console: pages for operators, on the admin port; None for none.
        """
        self._settings = settings
        self._console = console
        self._reload = reload
        rules = rules_of(settings)
        redis_url = _needed(settings.redis_url).get_secret_value()
        self._redis = connect(redis_url)
        self._log = EventLog(
            self._redis,
            prefix=settings.key_prefix,
            lanes=settings.lanes,
            duplicate_hours=settings.duplicate_hours,
            replicas=replicas_of(settings.durability),
            may_evict=settings.may_evict,
        )
        self._durability_unknown = False
        self._rules_version = rules.version
        self._store = SubscriptionStore(self._log)
        self._budget = SharedBudget(CallBudget(self._log, per_s=settings.api_calls_per_s))
        self._waker = Waker(redis_url)
        self._metrics = Metrics()
        self._of_log = LogExposition(self._log, size=False)
        self._loop_lag = LoopLag()
        self._endpoint_log = EndpointLog(self._metrics, self._waker.wake)
        self._health = Health(
            self._log.ready,
            self._claim,
            self._metrics,
            standing=partial(standing, self._log),
            server=partial(server, self._log),
            may_evict=settings.may_evict,
        )
        self._recollection = Recollection(self._log, self._waker.wake, self._metrics)
        self._shapes = ShapeWatch(
            self._log, self._recollection.accepted_since, self._waker.wake, self._metrics
        )
        self._commit = GroupCommit(self._append, self._endpoint_log)
        self._metrics.waiting_bytes.set_function(lambda: self._commit.waiting_bytes)
        self._verifier = Verifier(
            settings.accepted_keys,
            settings.signature_scheme,
            tolerance_s=settings.signature_tolerance_s,
            on_stale=self._metrics.stale.inc,
        )
        heard = HeardKeys(self._metrics)
        self._endpoint = WebhookEndpoint(
            self._verifier,
            Intake(
                self._commit,
                rules=rules,
                max_body_bytes=settings.max_body_bytes,
                is_open=lambda: self._health.claimed,
                evicts=lambda: self._health.evicts,
                heard=heard.event,
            ),
            self._endpoint_log,
            accept_status=settings.accept_status,
            now_ms=now_ms,
            limits=Limits(body_bytes=settings.max_body_bytes),
            heard=heard.subscription,
            tracing=tracing,
        )
        replica = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(2)}"
        self._heartbeat = Heartbeat(
            self._log,
            self._store.read,
            self._waker.wake,
            replica=replica,
            callback_url=settings.callback_url,
            metrics=self._metrics,
        )
        self._announcement = Announcement(self._log, heard, lambda: self._announced(replica), self._drop_keys)
        self._clients = Clients(self._budget)
        self._registrar = self._make_registrar()
        self._backfill_client = self._make_backfill_client(settings)
        self._gap_keeper = self._make_gap_keeper(rules)

    async def run(
        self,
        stop: asyncio.Event,
        on_open: Callable[[], object] = lambda: None,
        *,
        listeners: Listeners | None = None,
    ) -> None:
        """Serve until `stop` is set, then finish open requests.

        Args:
            on_open: called once, when both ports are open.
            listeners: where to serve. If None, the ports of the settings are opened.

        Raises:
            LogMismatch: the log in this Redis belongs to another tenant or setting.
            SettingsError: a port cannot be opened.
        """
        try:
            await self._health.check()
            with listeners or open_listeners(self._settings) as (public, admin):
                on_open()
                await self._serve(public, admin, stop)
                self._endpoint_log.flush()
        finally:
            self._waker.close()
            await self._clients.close()
            await self._budget.aclose()
            await self._redis.aclose()

    async def _serve(self, public: socket.socket, admin: socket.socket, stop: asyncio.Event) -> None:
        path = self._settings.webhook_path
        senders, operators = self._connections()
        servers = [
            HttpServer(
                create_app(self._endpoint, path, self._health.reasons),
                senders,
                protocol_for(self._endpoint, path, senders),
            ),
            HttpServer(create_admin_app(self._report, self.exposition, self._console), operators),
        ]
        pairs = zip(servers, (public, admin), strict=True)
        serving = [asyncio.create_task(server.serve(sockets=[listener])) for server, listener in pairs]
        background: list[asyncio.Task[Any]] = [
            asyncio.create_task(self._pulse()),
            asyncio.create_task(tick_forever(self._log, self._waker, stop, self._settings.keep)),
            asyncio.create_task(self._gap_keeper.run()),
        ]
        if self._registrar is not None:
            background.append(asyncio.create_task(self._registrar.run()))
        if self._settings.secrets_dir is not None and self._reload is not None:
            files = SecretFiles(self._settings.secrets_dir, self._reload, self._secrets_changed)
            background.append(asyncio.create_task(files.run()))
        stopping = asyncio.create_task(stop.wait())
        try:
            ended, _ = await asyncio.wait(
                [stopping, *serving, *background], return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            self._health.stopping = True
            await end_tasks([stopping, *background], within_s=_END_TASKS_S)
            if self._registrar is not None:
                # AMPECO may still deliver; the endpoint answers until this is done
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._registrar.close(), _UNREGISTER_S)
            with contextlib.suppress(RedisError, OSError, TimeoutError):
                await asyncio.wait_for(self._announcement.leave(), _END_TASKS_S)
            for server in servers:
                server.should_exit = True
            await asyncio.gather(*serving, return_exceptions=True)
        for task in ended:
            task.result()

    def _connections(self) -> tuple[Connections, Connections]:
        """Return the limits of the public port and of the admin port."""
        wanted = self._settings.max_connections
        most = descriptors.for_senders(wanted)
        if most < wanted:
            _log.warning("connections.limited", wanted=wanted, limit=most, reserved=descriptors.RESERVED)
        limits, metrics = limits_of(self._settings), self._metrics.connections
        return (
            Connections(
                "public", replace(limits, open=most), metrics=metrics, refused=self._endpoint_log.refused
            ),
            Connections("admin", limits, metrics=metrics),
        )

    async def _append(self, elements: Sequence[Element]) -> AppendReply:
        """Append a batch, remember what was accepted, and note what was dropped."""
        reply = await self._recollection.append(elements)
        self._endpoint_log.notes.dropped(elements, reply.answers)
        return reply

    async def _report(self) -> dict[str, Any]:
        return self._health.report(self._verifier.key_ids)

    async def exposition(self) -> bytes:
        """Return the metrics of this process and of the log, in Prometheus's text format."""
        return await self._metrics.exposition(self._of_log)

    async def _pulse(self) -> None:
        """Check the log, beat, and write the counted log lines, once a second."""
        self._loop_lag.start()
        while True:
            if await self._health.check():
                with contextlib.suppress(RedisError, OSError):  # the next health check logs it
                    if await self._recollection.check():
                        await self._check_durability()
                    await self._heartbeat.beat()
                    await self._shapes.look()
            if self._health.redis == "ok":  # a full log, too
                with contextlib.suppress(RedisError, OSError):
                    await self._announcement.check()
                    await self._endpoint_log.notes.write(self._log)
            self._endpoint_log.flush()
            # For the shared counts of several processes.
            self._metrics.waiting_bytes.set(self._commit.waiting_bytes)
            self._metrics.loop_lag.set(self._loop_lag.seconds)
            await asyncio.sleep(1.0)

    async def _claim(self) -> None:
        await self._log.claim(self._settings.tenant_url or "", self._rules_version)
        await try_append(self._log)
        await self._recollection.check()  # before the first event is accepted
        await self._check_durability()

    async def _check_durability(self) -> None:
        """Warn if the current Redis is less durable than configured. Runs again after every failover."""
        weaker = None
        try:
            weaker = await shortfall(self._log, self._settings.durability)
        except DurabilityUnknown:
            if not self._durability_unknown:
                self._durability_unknown = True
                _log.warning("redis.durability_unknown", wanted=self._settings.durability)
        if weaker:
            _log.warning("redis.less_durable", wanted=self._settings.durability, found=weaker)
        if unguarded := await unguarded_master(self._redis):
            _log.warning("redis.less_durable", wanted="min-replicas-to-write >= 1", found=unguarded)

    def _make_registrar(self) -> Registrar | None:
        settings = self._settings
        if settings.registration == "off":
            return None
        reconciler = make_reconciler(settings, self._clients, self._log, lambda: self._verifier.key_ids)
        registrar = Registrar(
            reconciler,
            self._store,
            metrics=self._metrics,
            accepted_key_ids=lambda: self._verifier.key_ids,
            is_open=lambda: self._health.claimed,
            wake=self._waker.wake,
            mode=settings.registration,
            check_s=settings.registration_check_s,
        )
        self._health.registration = lambda: (registrar.settled, registrar.state)
        self._health.registration_detail = lambda: {
            "registration_detail": registrar.detail or None,
            "registration_confirmed_at": rfc3339(registrar.confirmed_ms) if registrar.confirmed_ms else None,
        }
        return registrar

    def _announced(self, name: str) -> Replica:
        token = self._settings.api_token
        api_key = SigningKey.of(token.get_secret_value()).key_id if token else ""
        return Replica(name, frozenset(self._verifier.key_ids), api_key, self._settings.callback_url or "")

    def _drop_keys(self, dropped: frozenset[str]) -> None:
        """Accept a key no longer that was rotated away, unless the settings still name it."""
        configured = self._settings.accepted_keys
        keys = [key for key in self._verifier.keys if key in configured or key.key_id not in dropped]
        if keys and len(keys) < len(self._verifier.keys):
            self._verifier.replace(keys)
            _log.info("signing_keys.changed", accepted_key_ids=list(self._verifier.key_ids))

    def _make_gap_keeper(self, rules: EntityKeyRules) -> GapKeeper:
        settings, backfill = self._settings, None
        if self._backfill_client is not None:
            backfill = Backfill(
                self._log, lambda: _needed(self._backfill_client), self._waker.wake, rules=rules
            )
        return GapKeeper(
            self._log,
            backfill,
            settings.backfill or (),
            after_s=settings.backfill_after_s,
            metrics=self._metrics,
            is_open=lambda: self._health.claimed,
        )

    def _make_backfill_client(self, settings: Settings) -> AsyncClient | None:
        if not settings.backfill or settings.tenant_url is None or settings.api_token is None:
            return None
        token = settings.api_token.get_secret_value()
        client = AsyncClient(settings.tenant_url, token, budget=Pace(self._budget))
        self._clients.add(client)
        return client

    def _secrets_changed(self, fresh: Settings) -> None:
        keys = list(fresh.accepted_keys)
        if fresh.signing_keys is None:
            # AMPECO keeps signing with the token that subscribed, even when we call it with another token.
            keys += [key for key in self._verifier.keys if key not in keys]
        if keys != list(self._verifier.keys):
            self._verifier.replace(keys)
            _log.info("signing_keys.changed", accepted_key_ids=list(self._verifier.key_ids))
        if self._registrar is not None and fresh.api_token is not None:
            if fresh.api_token != self._settings.api_token:
                _log.info("api_token.changed")
            if _tokens(fresh) != _tokens(self._settings):
                self._registrar.use(self._clients.access(fresh))
        if fresh.api_token != self._settings.api_token and self._backfill_client is not None:
            self._backfill_client = self._make_backfill_client(fresh) or self._backfill_client
        before, now = (
            each.redis_url.get_secret_value() if each.redis_url else "" for each in (self._settings, fresh)
        )
        if credentials.without_login(now) != credentials.without_login(before):
            _log.warning("settings.restart_needed", setting="AWR_REDIS_URL")
        elif now != before:
            _log.info("redis.login_changed")
        self._settings = fresh


def _tokens(settings: Settings) -> tuple[object, object]:
    return settings.api_token, settings.api_token_next


def _needed(value: _T | None) -> _T:
    """Return a setting that `load` demanded."""
    assert value is not None  # noqa: S101
    return value
