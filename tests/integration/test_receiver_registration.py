"""Registration against a simulator: one notification subscription, the right types, also after failures."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from ampeco.notifications import SessionStartStop
from ampeco.signature import SigningKey
from ampeco.simulator.model import NotificationSubscription, Refused, SubscriptionRequest
from ampeco.simulator.server import serving
from ampeco.simulator.switches import Habits
from ampeco.simulator.tenant import Tenant
from commands.demo_stack import free_port
from eventlog.call_budget import budget_standing
from eventlog.clock import now_ms
from eventlog.connection.embedded import EmbeddedServer
from eventlog.inspection.gaps import recorded_gaps
from eventlog.registry import Declaration
from eventlog.subscription import SubscriptionStore
from receiver.access import Clients, make_reconciler
from receiver.metrics import Metrics
from receiver.registrar import Registrar
from receiver.settings import load
from tests.door import TOKEN, Door, door
from tests.harness import eventually, opened
from tests.traffic import Traffic, arrived, deployment

A, B, C = "BootNotification", "SessionUpdateNotification", "cdr.received"
OLD, NEW = "SessionStartStopNotification", "session.start.stop.notification"
PUBLIC = "https://us.example"
URL = f"{PUBLIC}/webhooks/ampeco"


async def wants(url: str, prefix: str, *types: str, name: str = "h") -> None:
    """A worker declares a handler."""
    async with opened(url, prefix) as log:
        await log.declare([Declaration(name, "v1", types, "default", "none", "now")])


def settings(tenant_url: str, **more: str) -> dict[str, str]:
    return {"AWR_REGISTER": "auto", "AWR_TENANT_URL": tenant_url, "AWR_PUBLIC_URL": PUBLIC, **more}


def types(tenant: Tenant) -> list[set[str]]:
    """What is subscribed for us, one set per notification subscription."""
    return [
        set(one.request.notifications)
        for one in tenant.subscriptions.values()
        if one.request.callback_url and one.request.callback_url.startswith(PUBLIC)
    ]


async def comes_to(tenant: Tenant, *expected: set[str], within_s: float = 20.0) -> None:
    async def holds() -> bool:
        return types(tenant) == list(expected)

    await eventually(holds, within_s=within_s)


class Open:
    """A receiver in a process of its own, from within an event loop."""

    def __init__(self, url: str, prefix: str, environ: Mapping[str, str]) -> None:
        self._opening = door(url, prefix, environ)

    async def __aenter__(self) -> Door:
        return await asyncio.to_thread(self._opening.__enter__)

    async def __aexit__(self, *error: object) -> None:
        await asyncio.to_thread(self._opening.__exit__, None, None, None)


async def ready(front: Door) -> None:
    async def holds() -> bool:
        return (await asyncio.to_thread(front.get, "/health/ready")).status == 200

    await eventually(holds)


def test_it_subscribes_once_and_grows_with_what_handlers_want(valkey: EmbeddedServer, prefix: str) -> None:
    async def scenario() -> None:
        tenant = Tenant([TOKEN])
        async with serving(tenant) as tenant_url, Open(valkey.url, prefix, settings(tenant_url)) as front:
            await ready(front)
            assert (await asyncio.to_thread(front.ready))["registration"] == "nothing-wanted"
            assert types(tenant) == []
            await wants(valkey.url, prefix, A, "receiver.gap.closed")
            await comes_to(tenant, {A})
            await wants(valkey.url, prefix, B, name="other")
            await comes_to(tenant, {A, B})
            await asyncio.to_thread(front.line, "notification_subscription.reconciled", action="update")
            assert (await asyncio.to_thread(front.ready))["registration"] == "registered"
            async with opened(valkey.url, prefix) as log:
                remembered = await SubscriptionStore(log).read()
            assert remembered["callback_url"] == URL
            assert set(remembered["types"].split(",")) == {A, B}
            assert remembered["key_id"] == SigningKey.of(TOKEN).key_id
            assert list(map(str, tenant.subscriptions)) == [remembered["id"]]

    asyncio.run(scenario())


def test_its_calls_draw_on_the_budget_of_all_processes(valkey: EmbeddedServer, prefix: str) -> None:
    async def scenario() -> None:
        tenant = Tenant([TOKEN])
        async with serving(tenant) as tenant_url, Open(valkey.url, prefix, settings(tenant_url)):
            await wants(valkey.url, prefix, A)
            await comes_to(tenant, {A})
            async with opened(valkey.url, prefix) as log:

                async def drawn() -> bool:
                    found = await budget_standing(log)
                    return found.reserved >= 1 and found.ordinary >= 1  # subscribing, listing

                await eventually(drawn)

    asyncio.run(scenario())


def test_a_restart_keeps_what_is_there_and_touches_nothing_whose_key_it_does_not_know(
    valkey: EmbeddedServer, prefix: str
) -> None:
    async def scenario() -> None:
        tenant = Tenant([TOKEN])
        foreign = tenant.subscribe(SubscriptionRequest("webhook", (A,), "https://them.example/hook"), TOKEN)
        for found in ((A,), (A, C)):
            tenant.subscribe(SubscriptionRequest("webhook", found, URL), TOKEN)
        await wants(valkey.url, prefix, A, B)
        async with serving(tenant) as tenant_url:
            for _ in range(2):
                async with Open(valkey.url, prefix, settings(tenant_url)) as front:
                    await ready(front)
                    await asyncio.to_thread(front.line, "notification_subscription.reconciled")
                    await asyncio.to_thread(front.line, "notification_subscription.second")
                    assert await asyncio.to_thread(front.stop) == 0
        assert types(tenant) == [{A, B}, {A, C}]
        assert foreign.id in tenant.subscriptions
        assert len(tenant.subscriptions) == 3

    asyncio.run(scenario())


def test_several_replicas_at_once_make_one(valkey: EmbeddedServer, prefix: str) -> None:
    async def scenario() -> None:
        tenant = Tenant([TOKEN])
        await wants(valkey.url, prefix, A)
        async with serving(tenant) as tenant_url:
            replicas = [Open(valkey.url, prefix, settings(tenant_url)) for _ in range(4)]
            fronts = await asyncio.gather(*(one.__aenter__() for one in replicas))
            try:
                await asyncio.gather(*map(ready, fronts))
                assert types(tenant) == [{A}]
            finally:
                await asyncio.gather(*(one.__aexit__() for one in replicas))

    asyncio.run(scenario())


def test_ephemeral_goes_away_at_the_end_and_auto_stays(valkey: EmbeddedServer, prefix: str) -> None:
    async def scenario() -> None:
        tenant = Tenant([TOKEN])
        await wants(valkey.url, prefix, A)
        async with serving(tenant) as tenant_url:
            for mode, left in (("auto", [{A}]), ("ephemeral", [])):
                environ = settings(tenant_url, AWR_REGISTER=mode)
                async with Open(valkey.url, prefix, environ) as front:
                    await ready(front)
                    assert types(tenant) == [{A}]
                    assert await asyncio.to_thread(front.stop) == 0
                assert types(tenant) == left

    asyncio.run(scenario())


def test_pinned_types_are_subscribed_whatever_handlers_want(valkey: EmbeddedServer, prefix: str) -> None:
    async def scenario() -> None:
        tenant = Tenant([TOKEN])
        await wants(valkey.url, prefix, A)
        async with (
            serving(tenant) as tenant_url,
            Open(valkey.url, prefix, settings(tenant_url, AWR_NOTIFICATIONS=f"{B},{C}")),
        ):
            await comes_to(tenant, {B, C})

    asyncio.run(scenario())


class OldTenant(Tenant):
    """A tenant whose Subscribe does not know the newer spelling yet."""

    def subscribe(self, request: SubscriptionRequest, token: str) -> NotificationSubscription:
        if NEW in request.notifications:
            field = f"notifications.{request.notifications.index(NEW)}"
            raise Refused(422, "The given data was invalid.", errors={field: ["is not known"]})
        return super().subscribe(request, token)


@pytest.mark.parametrize(("kind", "spelling"), [(Tenant, NEW), (OldTenant, OLD)])
def test_of_two_spellings_one_is_subscribed_the_older_where_the_newer_is_refused(
    valkey: EmbeddedServer, prefix: str, kind: type[Tenant], spelling: str
) -> None:
    async def scenario() -> None:
        tenant = kind([TOKEN])
        await wants(valkey.url, prefix, A, *SessionStartStop.notification_types)
        async with serving(tenant) as tenant_url, Open(valkey.url, prefix, settings(tenant_url)) as front:
            await comes_to(tenant, {A, spelling})
            await ready(front)

    asyncio.run(scenario())


def test_a_tenant_that_is_away_costs_readiness_not_the_door_and_is_asked_again(
    valkey: EmbeddedServer, prefix: str
) -> None:
    async def scenario() -> None:
        tenant = Tenant([TOKEN])
        await wants(valkey.url, prefix, A)
        port = free_port()
        async with Open(valkey.url, prefix, settings(f"http://127.0.0.1:{port}")) as front:
            await asyncio.to_thread(front.line, "notification_subscription.failed", reason="not-sent")
            report = await asyncio.to_thread(front.ready)
            assert report["reasons"] == ["registration-failed:not-sent"]
            assert (await asyncio.to_thread(front.post, b'{"notification":"x"}')).status == 202
            async with serving(tenant, port=port):
                await comes_to(tenant, {A}, within_s=70)
                await ready(front)
                assert await asyncio.to_thread(front.stop) == 0
            _says_no_secret(front.lines)
        # What was registered before delivers here, and a new process may be sent it although the tenant is away.
        async with Open(valkey.url, prefix, settings(f"http://127.0.0.1:{port}")) as front:
            await asyncio.to_thread(front.line, "notification_subscription.failed", reason="not-sent")
            await ready(front)
            assert (await asyncio.to_thread(front.ready))["registration"] == "failed:not-sent"

    asyncio.run(scenario())


def test_a_token_the_tenant_refuses_is_said_without_showing_it(valkey: EmbeddedServer, prefix: str) -> None:
    async def scenario() -> None:
        await wants(valkey.url, prefix, A)
        async with (
            serving(Tenant(["another"])) as tenant_url,
            Open(valkey.url, prefix, settings(tenant_url)) as front,
        ):
            await asyncio.to_thread(front.line, "notification_subscription.failed", reason="unauthorized")
            assert (await asyncio.to_thread(front.get, "/health/ready")).status == 503
            _says_no_secret(front.lines)

    asyncio.run(scenario())


def _says_no_secret(lines: Iterable[object]) -> None:
    assert TOKEN not in json.dumps(list(lines))


def test_ten_registrars_that_start_together_make_one(valkey: EmbeddedServer, prefix: str) -> None:
    """Ten processes would only take longer: the lock and the record in Redis are what they share."""

    async def scenario() -> None:
        tenant = Tenant([TOKEN])
        await wants(valkey.url, prefix, A)
        async with serving(tenant) as tenant_url, contextlib.AsyncExitStack() as opened_ones:
            registrars = []
            for _ in range(10):
                log = await opened_ones.enter_async_context(opened(valkey.url, prefix))
                clients = Clients()
                opened_ones.push_async_callback(clients.close)
                environ = load(settings(tenant_url, AWR_API_TOKEN=TOKEN))
                key_ids = [key.key_id for key in environ.accepted_keys]
                reconciler = make_reconciler(environ, clients, log, lambda key_ids=key_ids: key_ids)
                registrars.append(
                    Registrar(
                        reconciler,
                        SubscriptionStore(log),
                        metrics=Metrics(),
                        accepted_key_ids=lambda key_ids=key_ids: key_ids,
                        is_open=lambda: True,
                    )
                )

            async def until_registered(registrar: Registrar) -> None:
                while registrar.state != "registered":
                    await registrar.check()
                    await asyncio.sleep(0.05)

            async with asyncio.timeout(60):
                await asyncio.gather(*map(until_registered, registrars))
            assert types(tenant) == [{A}]
            assert len([call for call in tenant.calls if call.operation == "notifications.list"]) == 1

    asyncio.run(scenario())


def test_deleted_by_hand_under_traffic_it_is_restored_and_the_time_is_a_gap(
    valkey: EmbeddedServer, prefix: str, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with deployment(valkey.url, prefix, tmp_path, TOKEN, check_s=5.0) as where:
            traffic = Traffic(where.tenant)
            async with traffic.running():
                await asyncio.sleep(1.0)
                (one,) = where.tenant.subscriptions.values()
                where.tenant.unsubscribe(one)
                deleted_ms = now_ms()

                async def restored() -> bool:
                    return len(where.tenant.subscriptions) == 1

                await eventually(restored)
                restored_ms = now_ms()
                await asyncio.to_thread(where.front.line, "notification_subscription.lost")
                closed = await asyncio.to_thread(where.front.line, "gap.closed", reason="not-subscribed")
                assert closed["types"] == 2
                await asyncio.sleep(1.0)
            async with opened(valkey.url, prefix) as log:
                found, _ = await arrived(log)
                (gap,) = await recorded_gaps(log)
                assert (await SubscriptionStore(log).registration()).state == "registered"
            assert set(traffic.sent) - found.keys() <= traffic.dropped()
            assert len(traffic.unsent) > 0
            assert gap.reason == "not-subscribed"
            assert gap.from_ms <= deleted_ms
            assert gap.to_ms >= restored_ms - 2_000
            assert await asyncio.to_thread(where.front.metric, "awr_registered") == 1
            assert await asyncio.to_thread(where.front.metric, "awr_registration_lost_total") == 1

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("habits", "reason"),
    [
        ({"api_fault_share": 1.0, "api_fault_status": 500}, "server-fault"),
        ({"api_fault_share": 1.0, "api_fault_status": 502, "api_fault_html": True}, "server-fault"),
        ({"refusals": {"notifications.list": 403}}, "forbidden"),
        ({"refusals": {"notifications.list": 404}}, "not-found"),
        ({"refusals": {"notifications.list": 409}}, "conflict"),
        ({"refusals": {"notifications.list": 422}}, "invalid"),
        ({"refusals": {"notifications.list": 429}}, "rate-limited"),
    ],
    ids=["500", "html", "403", "404", "409", "422", "429"],
)
def test_what_ampeco_refuses_is_one_state_and_known_keys_are_still_accepted(
    valkey: EmbeddedServer, prefix: str, habits: dict[str, Any], reason: str
) -> None:
    async def scenario() -> None:
        tenant = Tenant([TOKEN], habits=Habits(**habits))
        await wants(valkey.url, prefix, A)
        async with serving(tenant) as tenant_url, Open(valkey.url, prefix, settings(tenant_url)) as front:
            await asyncio.to_thread(front.line, "notification_subscription.failed", reason=reason)
            report = await asyncio.to_thread(front.ready)
            assert report["registration"] == f"failed:{reason}"
            assert report["registration_detail"]
            assert report["registration_confirmed_at"] is None
            assert await asyncio.to_thread(front.metric, "awr_registered") == 0
            assert (await asyncio.to_thread(front.post, b'{"notification":"x"}')).status == 202
            _says_no_secret(front.lines)

    asyncio.run(scenario())
