"""The whole API answers: actions with checks and effects, resources over one store, refusals on order."""

from dataclasses import replace
from typing import Any

import httpx2
import pytest

from ampeco.operations import VERSIONS
from ampeco.simulator.fleet.scenario_files import ScenarioError, load, load_file, names
from ampeco.simulator.switches import Habits
from ampeco.simulator.tenant import Tenant
from tests.unit.ampeco_simulator.listening import TOKEN, subscribe, until
from tests.unit.ampeco_simulator.test_app import play
from tests.unit.ampeco_simulator.test_delivery import IMPATIENT, Scene
from tests.unit.ampeco_simulator.test_delivery import play as serve

USERS = "/public-api/resources/users/v1.1"
ACTIONS = "/public-api/actions"


def behaving(**habits: Any) -> Tenant:
    return Tenant([TOKEN], habits=Habits(**habits))


def test_every_endpoint_is_found_and_asks_for_a_token() -> None:
    async def scene(client: httpx2.AsyncClient) -> None:
        for operation in VERSIONS.values():
            path = operation.path.replace("{", "").replace("}", "")
            answer = await client.request(operation.method, path, headers={"Authorization": "Bearer no"})
            assert answer.status_code == 401, operation

    play(scene)


def test_no_endpoint_fails_whatever_is_sent() -> None:
    async def scene(client: httpx2.AsyncClient) -> None:
        for operation in VERSIONS.values():
            path = operation.path.replace("{type}", "soft")
            for name in operation.parameters:
                path = path.replace(f"{{{name}}}", "1")
            for content in (b"", b"{}", b"[1]", b"{"):
                content = b"" if operation.method == "GET" else content
                answer = await client.request(operation.method, path, content=content)
                assert answer.status_code in {200, 201, 202, 204, 404, 422, 429}, (operation, answer.text)

    play(scene)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"amount": 5}, "reason"),
        ({"amount": "5", "reason": "x"}, "amount"),
        ({"amount": True, "reason": "x"}, "amount"),
        ({"amount": 5, "reason": None}, "reason"),
    ],
)
def test_a_wrong_body_is_422_unless_told_otherwise(body: dict[str, Any], field: str) -> None:
    path = f"{ACTIONS}/users/v1.0/5001/add-balance"

    async def strict(client: httpx2.AsyncClient) -> None:
        answer = await client.post(path, json=body)
        assert (answer.status_code, list(answer.json()["errors"])) == (422, [field])
        assert (await client.get("/simulator/actions")).json()["actions"] == []

    async def lax(client: httpx2.AsyncClient) -> None:
        assert (await client.post(path, json=body)).status_code == 202

    play(strict)
    play(lax, tenant=behaving(strict_bodies=False))


def test_an_action_can_be_refused_with_a_code() -> None:
    async def scene(client: httpx2.AsyncClient) -> None:
        answer = await client.post(f"{ACTIONS}/evse/v1.0/11/start", json={"userId": 5001})
        assert (answer.status_code, answer.json()["errorCode"]) == (202, "USER_IS_DISABLED")
        assert answer.json()["success"] is False

    play(scene, tenant=behaving(refused_actions={"evse.start": "USER_IS_DISABLED"}))


def test_a_started_session_lives_and_can_be_stopped() -> None:
    async def story(s: Scene) -> None:
        await subscribe(s.client, s.receiver.url)
        await s.start(charge_points=3, rate=5, behaviour={"fault_at_first": False, "idle_s": [90000, 90001]})
        await until(lambda: s.tenant.count("delivered") >= 6)  # all have booted and are idle
        unknown = await s.client.post(f"{ACTIONS}/charge-point/v1.0/9/start/91", json={})
        assert unknown.status_code == 404
        started = await s.client.post(f"{ACTIONS}/charge-point/v1.0/2/start/21", json={"userId": 5007})
        assert started.json()["success"] is True
        again = await s.client.post(f"{ACTIONS}/charge-point/v1.0/2/start/21", json={"userId": 5007})
        assert again.json()["errorCode"] == "SESSION_ALREADY_RUNNING"
        session = f"/public-api/resources/sessions/v1.0/{started.json()['sessionId']}"

        async def status() -> str:
            data = (await s.client.get(session)).json()["data"]
            assert (data["userId"], data["chargePointId"]) == (5007, 2)
            return str(data["status"])

        def told() -> int:
            return s.tenant.counts_by_type().get("SessionStartStopNotification", {}).get("delivered", 0)

        assert await status() in {"pending", "active"}
        await until(lambda: told() == 1)
        stop = f"{ACTIONS}/charge-point/v1.0/2/stop/{started.json()['sessionId']}"
        assert (await s.client.post(stop)).status_code == 202
        await until(lambda: told() == 2)
        assert await status() == "finished"
        paid = (await s.client.get("/public-api/resources/transactions/v1.0")).json()["data"]
        assert [str(one["sessionId"]) for one in paid] == [str(started.json()["sessionId"])]

    serve(story)


def test_a_resource_is_made_listed_changed_and_removed() -> None:
    async def scene(client: httpx2.AsyncClient) -> None:
        for name in ("Ada", "Ben", "Ada"):
            assert (await client.post(USERS, json={"firstName": name})).status_code == 201
        found = (await client.get(USERS, params={"filter[firstName]": "Ada"})).json()["data"]
        assert [user["id"] for user in found] == [1, 3]
        changed = await client.patch(f"{USERS}/1", json={"lastName": "L", "id": 9})
        assert changed.json().keys() == {"data"}
        assert changed.json()["data"].pop("lastUpdatedAt")
        assert changed.json()["data"].items() >= {"id": 1, "firstName": "Ada", "lastName": "L"}.items()
        note = await client.post(f"{USERS}/1/notes", json={"text": "hello"})
        assert (await client.get(f"{USERS}/1/notes/{note.json()['data']['id']}")).status_code == 200
        assert (await client.post(f"{USERS}/7/notes", json={})).status_code == 404
        assert (await client.post(USERS, json=[])).status_code == 422
        assert (await client.delete(f"{USERS}/1")).status_code == 204
        assert (await client.get(f"{USERS}/1")).status_code == 404

    play(scene)


def test_ten_thousand_charge_points_announce_and_can_be_listed() -> None:
    async def story(s: Scene) -> None:
        await subscribe(s.client, s.receiver.url)
        await s.start(charge_points=10_000, rate=None, count=2_000)
        await s.settled(2_000)
        page = await s.client.get("/public-api/resources/charge-points/v2.0", params={"cursor": "null"})
        assert len(page.json()["data"]) == 100
        following = (await s.client.get(page.json()["links"]["next"])).json()
        assert following["data"][0]["id"] == 101

    serve(story, replace(IMPATIENT, timeout_s=10))


def test_a_tenant_without_cursors_answers_pages_and_the_other_name_is_spelt() -> None:
    async def pages(client: httpx2.AsyncClient) -> None:
        assert "current_page" in (await client.get(USERS, params={"cursor": "null"})).json()["meta"]

    async def named(client: httpx2.AsyncClient) -> None:
        meta = (await client.get(USERS, params={"cursor": ""})).json()["meta"]
        assert "cursor" in meta
        assert "next_cursor" not in meta

    play(pages, tenant=behaving(listings="page"))
    play(named, tenant=behaving(cursor_name="cursor"))


def test_too_many_calls_are_429_and_a_proxy_fails_as_often_as_ordered() -> None:
    async def limited(client: httpx2.AsyncClient) -> None:
        answers = [await client.get(USERS) for _ in range(3)]
        assert [answer.status_code for answer in answers][-1] == 429
        assert answers[-1].headers["retry-after"].endswith("GMT")

    async def failing(client: httpx2.AsyncClient) -> None:
        answer = await client.post(f"{ACTIONS}/charge-point/v1.0/1/reset/soft")
        assert (answer.status_code, answer.text[:6]) == (502, "<html>")
        assert (
            len((await client.get("/simulator/actions")).json()["actions"]) == 1
        )  # carried out all the same
        (call,) = (await client.get("/simulator/calls")).json()["calls"]
        assert (call["operation"], call["status"]) == ("charge-point.reset", 502)

    play(limited, tenant=behaving(requests_per_s=1.0, retry_after="date"))
    play(failing, tenant=behaving(api_fault_share=1.0, api_fault_after=True))


def test_the_old_notifications_api_answers_its_own_shape() -> None:
    async def scene(client: httpx2.AsyncClient) -> None:
        wish = {"callbackUrl": "https://receiver.example/", "notifications": ["BootNotification"]}
        made = await client.post("/public-api/notifications/v1.0", json=wish)
        assert made.json() == {"webhookId": 1, **wish}
        assert (await client.get("/public-api/notifications/v2.0/1")).json()["data"]["via"] == "webhook"
        assert (await client.post("/public-api/notifications/v1.0", json={})).status_code == 422

    play(scene)


def test_deliveries_are_read_by_page_and_counters_start_anew() -> None:
    async def story(s: Scene) -> None:
        await subscribe(s.client, s.receiver.url)
        for number in range(5):
            await s.send("BootNotification", f"{number}", 1)
        await s.settled(5)
        first = (await s.client.get("/simulator/deliveries", params={"limit": 3, "body": 1})).json()
        assert [made["body"] for made in first["deliveries"]] == [0, 1, 2]
        rest = (await s.client.get("/simulator/deliveries", params={"after": first["next"]})).json()
        assert [made["answers"] for made in rest["deliveries"]] == [["200"], ["200"]]
        assert rest["next"] is None
        assert (await s.client.post("/simulator/reset-counters", json={})).json()["sent"] == 0

    serve(story)


@pytest.mark.parametrize("name", names())
def test_a_shipped_scenario_can_be_played(name: str) -> None:
    async def story(s: Scene) -> None:
        answer = await s.client.post("/simulator/start", json={"scenario": name})
        assert answer.status_code == 200, answer.text
        assert answer.json()["scenario"]["about"] == load(name)["about"]

    serve(story)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("rate = ", "is not TOML"),
        ("speed = 3", "speed is unknown; there are about, charge_points"),
        ("[behaviour]\nfault_share = 3", "behaviour.fault_share"),
        ("[habits]\nlate_shar = 1", "habits.late_shar is unknown"),
        ("[[faults]]\nwhat = 'habits'\nhabits = {seed = 'x'}", "faults.0.habits.seed"),
        ("[[faults]]\nwhat = 'remove-token'\nfrom_s = 5\nto_s = 1", "to_s"),
    ],
)
def test_a_scenario_that_cannot_be_played_names_file_and_place(tmp_path: Any, text: str, says: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ScenarioError) as error:
        load_file(path)
    assert "mine.toml: " in error.value.message
    assert says in error.value.message
