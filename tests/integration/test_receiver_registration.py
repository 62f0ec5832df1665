"""Registration against a simulator: one notification subscription, the right types, also after failures."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterable, Mapping

import pytest

from ampeco.notifications import SessionStartStop
from ampeco.signature import SigningKey
from ampeco.simulator.model import NotificationSubscription, Refused, SubscriptionRequest
from ampeco.simulator.server import serving
from ampeco.simulator.tenant import Tenant
from eventlog.call_budget import budget_standing
from eventlog.connection.embedded import EmbeddedServer
from eventlog.registry import Declaration
from eventlog.subscription import SubscriptionStore
from tests.door import TOKEN, Door, door
from tests.harness import eventually, opened

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


def test_a_restart_keeps_what_is_there_and_removes_what_is_there_twice(
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
                    await comes_to(tenant, {A, B, C})
                    await ready(front)
                    await asyncio.to_thread(front.line, "notification_subscription.reconciled", unwanted=[C])
                    assert await asyncio.to_thread(front.stop) == 0
        assert types(tenant) == [{A, B, C}]
        assert foreign.id in tenant.subscriptions

    asyncio.run(scenario())


def test_several_replicas_at_once_make_one(valkey: EmbeddedServer, prefix: str) -> None:
    async def scenario() -> None:
        tenant = Tenant([TOKEN])
        await wants(valkey.url, prefix, A)
        async with serving(tenant) as tenant_url:
            replicas = [Open(valkey.url, prefix, settings(tenant_url)) for _ in range(3)]
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
        port = _free_port()
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


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
