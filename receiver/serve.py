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
from functools import partial
from typing import Any

from redis.exceptions import RedisError
from starlette.types import ASGIApp

from eventlog.chores import Chores
from eventlog.clock import now_ms
from eventlog.connection.connect import connect, end_tasks
from eventlog.durability import replicas_of
from eventlog.housekeeping import tick_forever
from eventlog.log import AppendReply, Element, EventLog
from eventlog.loop_lag import LoopLag
from eventlog.readiness import try_append
from eventlog.server import server
from eventlog.subscription import SubscriptionStore
from eventlog.usage import standing
from eventlog.waker import Waker
from receiver.accepted_keys import AcceptedKeys
from receiver.app import create_admin_app, create_app
from receiver.claim import rules_of
from receiver.connections import connections_of
from receiver.durability_check import DurabilityCheck
from receiver.endpoint import WebhookEndpoint
from receiver.endpoint_log import EndpointLog
from receiver.fast_path import protocol_for
from receiver.group_commit import GroupCommit
from receiver.health import Health
from receiver.heard import Announcement, HeardKeys
from receiver.heartbeat import Heartbeat
from receiver.http_server import HttpServer
from receiver.intake import Intake
from receiver.metrics import LogExposition, Metrics
from receiver.recollection import Recollection
from receiver.request_body import Limits
from receiver.secret_files import SecretFiles, log_redis_change
from receiver.settings import Settings
from receiver.shape_watch import ShapeWatch
from receiver.sockets import Listeners, open_listeners
from receiver.tracing import Tracing
from receiver.upkeep import Upkeep
from receiver.verification import Verifier

_END_TASKS_S = 1.0


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
        assert settings.redis_url is not None  # noqa: S101 - demanded
        redis_url = settings.redis_url.get_secret_value()
        self._redis = connect(redis_url)
        self._log = EventLog(
            self._redis,
            prefix=settings.key_prefix,
            lanes=settings.lanes,
            duplicate_hours=settings.duplicate_hours,
            replicas=replicas_of(settings.durability),
            may_evict=settings.may_evict,
        )
        self._durability = DurabilityCheck(self._log, settings.durability)
        self._rules_version = rules.version
        self._waker = Waker(redis_url)
        self._chores = Chores()
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
        verifier = Verifier(
            settings.accepted_keys,
            settings.signature_scheme,
            tolerance_s=settings.signature_tolerance_s,
            on_stale=self._metrics.stale.inc,
        )
        self._keys = AcceptedKeys(verifier, settings)
        heard = HeardKeys(self._metrics)
        self._endpoint = WebhookEndpoint(
            verifier,
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
            SubscriptionStore(self._log).read,
            self._waker.wake,
            replica=replica,
            callback_url=settings.callback_url,
            metrics=self._metrics,
        )
        self._announcement = Announcement(
            self._log, heard, partial(self._keys.announced, replica), self._keys.drop
        )
        self._upkeep = Upkeep(
            settings,
            self._log,
            self._waker.wake,
            rules=lambda: rules,
            metrics=self._metrics,
            health=self._health,
            accepted_key_ids=lambda: self._keys.ids,
            own_key_ids=lambda: self._keys.ids,
        )

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
            await self._upkeep.aclose()
            await self._redis.aclose()

    async def _serve(self, public: socket.socket, admin: socket.socket, stop: asyncio.Event) -> None:
        path = self._settings.webhook_path
        senders, operators = connections_of(
            self._settings, self._metrics.connections, self._endpoint_log.refused
        )
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
            *(asyncio.create_task(work) for work in self._upkeep.work()),
        ]
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
            await self._upkeep.leave()  # AMPECO may still deliver; the endpoint answers until this is done
            with contextlib.suppress(RedisError, OSError, TimeoutError):
                async with asyncio.timeout(_END_TASKS_S):
                    await self._announcement.leave()
            for server in servers:
                server.should_exit = True
            await asyncio.gather(*serving, return_exceptions=True)
        for task in ended:
            task.result()

    async def _append(self, elements: Sequence[Element]) -> AppendReply:
        """Append a batch, remember what was accepted, and note what was dropped."""
        reply = await self._recollection.append(elements)
        self._endpoint_log.notes.dropped(elements, reply.answers)
        if reply.fault:
            self._chores.report("append", said=reply.fault)
        return reply

    async def _report(self) -> dict[str, Any]:
        return self._health.report(self._keys.ids)

    async def exposition(self) -> bytes:
        """Return the metrics of this process and of the log, in Prometheus's text format."""
        return await self._metrics.exposition(self._of_log)

    async def _pulse(self) -> None:
        """Check Redis, write the heartbeat, and write the counted log lines, once a second."""
        self._loop_lag.start()
        do = self._chores.run
        while True:
            if await self._health.check():
                with contextlib.suppress(RedisError, OSError):  # the next health check logs it
                    if await do("recollection", self._recollection.check()):
                        await do("durability", self._durability.run())
                    await do("heartbeat", self._heartbeat.beat())
                    await do("shapes", self._shapes.look())
            if self._health.redis == "ok":  # a full log, too
                with contextlib.suppress(RedisError, OSError):
                    await do("announcement", self._announcement.check())
                    await do("notes", self._endpoint_log.notes.write(self._log))
            self._endpoint_log.flush()
            # For the shared counts of several processes.
            self._metrics.waiting_bytes.set(self._commit.waiting_bytes)
            self._metrics.loop_lag.set(self._loop_lag.seconds)
            await asyncio.sleep(1.0)

    async def _claim(self) -> None:
        await self._log.claim(self._settings.tenant_url or "", self._rules_version)
        await try_append(self._log)
        # Before the first event is accepted.
        await self._chores.run("recollection", self._recollection.check())
        await self._durability.run()

    def _secrets_changed(self, fresh: Settings) -> None:
        self._keys.use(fresh)
        self._upkeep.use(fresh)
        log_redis_change(self._settings, fresh)
        self._settings = fresh
