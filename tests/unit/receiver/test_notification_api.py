"""Calls about notification subscriptions: two tokens during a rotation, and version 1.0 where there is no other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import httpx2
import pytest

from ampeco.client import AsyncClient
from ampeco.errors import NotFound, Unauthorized
from receiver.notification_api import NotificationApi
from receiver.registration import reconcile

URL = "https://us.example/webhooks/ampeco"
A, B = "BootNotification", "SessionUpdateNotification"


class Pretended:
    """A tenant that answers each token by its own rules, and notes who asked for what."""

    def __init__(self) -> None:
        self.sees: dict[str, list[str]] = {"old": ["1"], "new": ["2"]}
        self.flags: dict[str, Any] = {}
        self.versions = {"1.0", "2.0"}
        self.revoked: set[str] = set()
        self.asked: list[tuple[str, str, str]] = []

    def answer(self, token: str) -> Callable[[httpx2.Request], httpx2.Response]:
        def answered(request: httpx2.Request) -> httpx2.Response:
            version, _, id_ = request.url.path.partition("/v")[2].partition("/")
            self.asked.append((token, f"{request.method} v{version}", id_))
            if token in self.revoked:
                return httpx2.Response(401, json={"message": "no"})
            if version not in self.versions or (id_ and id_ not in self.sees[token]):
                return httpx2.Response(404, json={"message": "no"})
            if request.method == "DELETE":
                self.sees[token].remove(id_)
                return httpx2.Response(204)
            shown = [self._shown(version, known) for known in self.sees[token]]
            return httpx2.Response(200, json={"data": shown if request.method == "GET" else shown[0]})

        return answered

    def _shown(self, version: str, id_: str) -> dict[str, Any]:
        if version == "1.0":
            return {"webhookId": id_, "callbackUrl": URL, "notifications": [A], **self.flags}
        return {
            "id": id_,
            "via": "webhook",
            "webhook": {"callbackUrl": URL},
            "notifications": [A],
            **self.flags,
        }


def run(scenario: Callable[[NotificationApi, Pretended], Coroutine[Any, Any, None]], *tokens: str) -> None:
    async def opened() -> None:
        tenant = Pretended()
        clients = {
            token: AsyncClient(
                "https://t.example", token, transport=httpx2.MockTransport(tenant.answer(token))
            )
            for token in tokens
        }
        await scenario(NotificationApi(clients), tenant)
        for client in clients.values():
            await client.aclose()

    asyncio.run(opened())


def test_what_either_token_sees_is_listed_once() -> None:
    async def scenario(api: NotificationApi, tenant: Pretended) -> None:
        assert [one.id for one in await api.list()] == ["1", "2"]
        tenant.sees["old"] = ["1", "2"]
        assert [one.id for one in await api.list()] == ["1", "2"]
        assert api.key_id == "old"

    run(scenario, "old", "new")


def test_a_revoked_token_hides_nothing_and_only_two_refusals_are_one() -> None:
    async def scenario(api: NotificationApi, tenant: Pretended) -> None:
        tenant.revoked = {"old"}
        assert [one.id for one in await api.list()] == ["2"]
        tenant.revoked = {"old", "new"}
        with pytest.raises(Unauthorized):
            await api.list()

    run(scenario, "old", "new")


def test_a_subscription_is_changed_with_the_token_that_made_or_sees_it() -> None:
    async def scenario(api: NotificationApi, tenant: Pretended) -> None:
        await api.list()
        tenant.asked.clear()
        await api.update("2", [A, B], callback_url=URL)
        assert tenant.asked == [("new", "PUT v2.0", "2")]
        tenant.asked.clear()
        tenant.sees["old"] = ["1", "2"]
        await api.update("2", [A, B], callback_url=URL, key_id="new")
        assert tenant.asked == [("new", "PUT v2.0", "2")]

    run(scenario, "old", "new")


def test_one_that_the_first_token_does_not_see_is_removed_with_the_second() -> None:
    async def scenario(api: NotificationApi, tenant: Pretended) -> None:
        await api.unsubscribe("2", key_id="old")
        assert tenant.sees == {"old": ["1"], "new": []}

    run(scenario, "old", "new")


def test_flags_that_were_set_by_hand_survive_an_update() -> None:
    async def scenario(api: NotificationApi, tenant: Pretended) -> None:
        tenant.flags = {"includeTimestampInSignature": True}
        bodies: list[bytes] = []

        def noting(request: httpx2.Request) -> httpx2.Response:
            bodies.append(request.content)
            return tenant.answer("old")(request)

        client = AsyncClient("https://t.example", "old", transport=httpx2.MockTransport(noting))
        api = NotificationApi({"old": client})
        await api.list()
        await api.update("1", [A, B], callback_url=URL)
        assert b'"includeTimestampInSignature":true' in bodies[-1]
        await client.aclose()

    run(scenario, "old")


def test_a_tenant_with_version_1_alone_is_served_with_it() -> None:
    async def scenario(api: NotificationApi, tenant: Pretended) -> None:
        tenant.versions = {"1.0"}
        (one,) = await api.list()
        assert reconcile([one], frozenset({A}), URL).action == "keep"
        tenant.asked.clear()
        await api.subscribe([A], callback_url=URL)
        await api.update("1", [A, B], callback_url=URL)
        await api.unsubscribe("1")
        assert [call for _, call, _ in tenant.asked] == ["POST v1.0", "PUT v1.0", "DELETE v1.0"]

    run(scenario, "old")


def test_a_tenant_with_neither_version_says_not_found() -> None:
    async def scenario(api: NotificationApi, tenant: Pretended) -> None:
        tenant.versions = set()
        with pytest.raises(NotFound):
            await api.list()

    run(scenario, "old")
