"""A web page cannot drive a simulator that its reader runs: neither with a form, nor under a name of its own."""

import asyncio
from collections.abc import Awaitable, Callable

import httpx2
import pytest

from ampeco.simulator.app import create_app
from ampeco.simulator.server import serving
from ampeco.simulator.tenant import Tenant

Scene = Callable[[httpx2.AsyncClient], Awaitable[None]]
JSON = {"Content-Type": "application/json"}


def play(scene: Scene, hosts: set[str] | None = None) -> None:
    async def run() -> None:
        transport = httpx2.ASGITransport(create_app(Tenant(["a-token"]), hosts))
        async with httpx2.AsyncClient(base_url="http://simulator", transport=transport) as client:
            await scene(client)

    asyncio.run(run())


@pytest.mark.parametrize(
    "kind",
    [
        None,
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=a",
        "application/json5",
    ],
)
@pytest.mark.parametrize(
    "path", ["start", "stop", "send", "faults", "tokens", "reset-counters", "subscriptions/1/enable"]
)
def test_what_a_form_can_send_is_refused(path: str, kind: str | None) -> None:
    async def scene(client: httpx2.AsyncClient) -> None:
        headers = {} if kind is None else {"Content-Type": kind}
        answer = await client.post(f"/simulator/{path}", content=b"{}", headers=headers)
        assert answer.status_code == 415
        assert (await client.post(f"/simulator/{path}", content=b"", headers=headers)).status_code == 415

    play(scene)


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; charset=utf-8"])
def test_json_is_taken(kind: str) -> None:
    async def scene(client: httpx2.AsyncClient) -> None:
        answer = await client.post("/simulator/stop", content=b"{}", headers={"Content-Type": kind})
        assert answer.status_code == 200

    play(scene)


@pytest.mark.parametrize("path", ["state", "tokens", "deliveries"])
@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8090",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "",
        "[::1",
        "@",
        "localhost@evil.example:1",
    ],
)
def test_another_name_reads_and_changes_nothing(path: str, host: str) -> None:
    async def scene(client: httpx2.AsyncClient) -> None:
        assert (await client.get(f"/simulator/{path}", headers={"Host": host})).status_code == 403
        stopped = await client.post("/simulator/stop", json={}, headers={"Host": host})
        assert stopped.status_code == 403
        removed = await client.delete("/simulator/tokens/x", headers={"Host": host})
        assert removed.status_code == 403

    play(scene, {"box.example"})


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:8090",
        "127.0.0.1:8090",
        "[::1]:8090",
        "10.0.0.7",
        "box.example:1",
        "BOX.example",
    ],
)
def test_the_names_of_this_machine_are_taken(host: str) -> None:
    async def scene(client: httpx2.AsyncClient) -> None:
        assert (await client.get("/simulator/state", headers={"Host": host})).status_code == 200

    play(scene, {"box.example"})


def test_two_hosts_are_one_too_many() -> None:
    async def scene(client: httpx2.AsyncClient) -> None:
        answer = await client.get(
            "/simulator/state", headers=[("Host", "localhost"), ("Host", "evil.example")]
        )
        assert answer.status_code == 403

    play(scene, set())


def test_a_served_one_knows_its_own_names_only() -> None:
    async def run() -> None:
        async with (
            serving(Tenant(["a-token"]), hosts=["box"]) as url,
            httpx2.AsyncClient(base_url=url, trust_env=False) as client,
        ):
            for host, status in ((None, 200), ("box", 200), ("evil.example", 403)):
                headers = {} if host is None else {"Host": host}
                assert (await client.get("/simulator/state", headers=headers)).status_code == status
            # The API asks for a token, so a name does not matter there.
            answer = await client.get("/public-api/notifications/v2.0", headers={"Host": "evil.example"})
            assert answer.status_code == 401

    asyncio.run(run())


@pytest.mark.parametrize("token", ["", "a b", "\ufeffa", '"a"', "Bearer a", "a,b", None, 7])
def test_a_token_that_was_copied_badly_is_refused(token: object) -> None:
    async def scene(client: httpx2.AsyncClient) -> None:
        answer = await client.post("/simulator/tokens", json={"token": token})
        assert answer.status_code == 422
        assert answer.json()["errors"]["token"][0].startswith("token ")

    play(scene)
