"""The API answers as AMPECO documents it, and the control endpoints say what they do."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest

from ampeco.simulator.app import create_app
from ampeco.simulator.switches import Habits
from ampeco.simulator.tenant import Tenant
from tests.unit.ampeco_simulator.listening import READ_ONLY, TOKEN, TYPES, api, state, subscribe

NOTIFICATIONS = "/public-api/notifications/v2.0"
ACTIONS = "/public-api/actions"
HOOK = "https://receiver.example/hook"
START = datetime(2026, 11, 24, 12, tzinfo=UTC)
WEBHOOK = {"via": "webhook", "notifications": ["BootNotification"], "webhook": {"callbackUrl": HOOK}}

Scene = Callable[[httpx2.AsyncClient], Awaitable[None]]


def play(scene: Scene, *, token: str = TOKEN, tenant: Tenant | None = None) -> None:
    """Run a scene against the app, without a server."""
    tenant = tenant or Tenant([TOKEN], read_only_tokens=[READ_ONLY], now=lambda: START)

    async def run() -> None:
        transport = httpx2.ASGITransport(create_app(tenant))
        async with api("http://tenant.example", token, transport=transport) as client:
            await scene(client)

    asyncio.run(run())


CALLS = [
    ("GET", NOTIFICATIONS),
    ("POST", NOTIFICATIONS),
    ("GET", f"{NOTIFICATIONS}/1"),
    ("PUT", f"{NOTIFICATIONS}/1"),
    ("DELETE", f"{NOTIFICATIONS}/1"),
    ("POST", f"{ACTIONS}/notifications/v1.0/1/resend"),
    ("POST", f"{ACTIONS}/charge-point/v1.0/1/reset/soft"),
    ("POST", f"{ACTIONS}/charge-point/v1.0/1/unlock/11"),
]


@pytest.mark.parametrize(("method", "path"), CALLS)
@pytest.mark.parametrize("header", [None, "Bearer wrong", "Bearer ", f"Basic {TOKEN}", TOKEN])
def test_a_call_without_a_known_token_is_401(method: str, path: str, header: str | None) -> None:
    async def scene(client: httpx2.AsyncClient) -> None:
        del client.headers["Authorization"]
        answer = await client.request(method, path, headers={"Authorization": header} if header else {})
        assert answer.status_code == 401
        assert answer.json().keys() == {"message"}
        assert TOKEN not in answer.text

    play(scene)


@pytest.mark.parametrize(("method", "path"), [call for call in CALLS if call[0] != "GET"])
def test_a_read_only_token_may_change_nothing(method: str, path: str) -> None:
    async def scene(client: httpx2.AsyncClient) -> None:
        answer = await client.request(method, path)
        assert answer.status_code == 403
        assert answer.json().keys() == {"message"}
        assert (await client.get(NOTIFICATIONS)).status_code == 200

    play(scene, token=READ_ONLY)


@pytest.mark.parametrize("id_", ["7", "0", "-1", "x", "1.0", "9" * 5000])
def test_an_unknown_notification_subscription_is_404(id_: str) -> None:
    async def scene(client: httpx2.AsyncClient) -> None:
        await subscribe(client, HOOK)
        for call in (
            client.get(f"{NOTIFICATIONS}/{id_}"),
            client.put(f"{NOTIFICATIONS}/{id_}", json=WEBHOOK),
            client.delete(f"{NOTIFICATIONS}/{id_}"),
            client.post(
                f"{ACTIONS}/notifications/v1.0/{id_}/resend", json={"notifications": ["BootNotification"]}
            ),
        ):
            answer = await call
            assert answer.status_code == 404
            assert answer.json().keys() == {"message"}

    play(scene)


def test_unknown_paths_and_methods_answer_json() -> None:
    async def scene(client: httpx2.AsyncClient) -> None:
        for answer, status in (
            (await client.get("/public-api/nowhere"), 404),
            (await client.patch(NOTIFICATIONS), 405),
        ):
            assert answer.status_code == status
            assert answer.json().keys() == {"message"}

    play(scene)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({**WEBHOOK, "via": "mail"}, "via"),
        ({**WEBHOOK, "notifications": []}, "notifications"),
        ({**WEBHOOK, "notifications": "BootNotification"}, "notifications"),
        ({**WEBHOOK, "notifications": ["BootNotification", "Boot"]}, "notifications.1"),
        ({**WEBHOOK, "notifications": [{}]}, "notifications.0"),
        ({**WEBHOOK, "webhook": None}, "webhook.callbackUrl"),
        ({**WEBHOOK, "webhook": {"callbackUrl": "ftp://receiver.example"}}, "webhook.callbackUrl"),
        ({**WEBHOOK, "webhook": {"callbackUrl": "http://a\r\nX-Evil: 1/"}}, "webhook.callbackUrl"),
        ({**WEBHOOK, "webhook": {"callbackUrl": "http://a:port/"}}, "webhook.callbackUrl"),
        ({"via": "kafka", "notifications": ["BootNotification"]}, "kafka"),
        ({"via": "kafka", "notifications": ["BootNotification"], "kafka": {"topic": "t"}}, "kafka.brokers"),
        ({}, "via"),
    ],
)
def test_an_invalid_subscription_is_422_and_names_the_field(body: dict[str, Any], field: str) -> None:
    async def scene(client: httpx2.AsyncClient) -> None:
        answer = await client.post(NOTIFICATIONS, json=body)
        assert answer.status_code == 422
        assert answer.json().keys() == {"message", "errors"}
        assert all(isinstance(text, str) for text in answer.json()["errors"][field])
        assert (await client.get(NOTIFICATIONS)).json()["data"] == []

    play(scene)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"1", b"\xff", b"[" * 100_000])
def test_a_body_that_is_no_json_object_is_422(content: bytes) -> None:
    async def scene(client: httpx2.AsyncClient) -> None:
        answer = await client.post(NOTIFICATIONS, content=content)
        assert answer.status_code == 422
        assert answer.json().keys() == {"message"}

    play(scene)


def test_a_subscription_is_made_read_replaced_and_removed() -> None:
    async def scene(client: httpx2.AsyncClient) -> None:
        made = await client.post(NOTIFICATIONS, json={**WEBHOOK, "id": 99})
        assert made.status_code == 201
        data = made.json()["data"]
        assert data == {"id": 1, **WEBHOOK}
        assert (await client.get(f"{NOTIFICATIONS}/1")).json() == {"data": data}
        changed = {**WEBHOOK, "notifications": ["cdr.received"]}
        assert (await client.put(f"{NOTIFICATIONS}/1", json=changed)).json() == {"data": {"id": 1, **changed}}
        assert (await client.put(f"{NOTIFICATIONS}/1", json={"via": "webhook"})).status_code == 422
        gone = await client.delete(f"{NOTIFICATIONS}/1")
        assert (gone.status_code, gone.content) == (204, b"")
        assert (await client.delete(f"{NOTIFICATIONS}/1")).status_code == 404

    play(scene)


def test_ids_are_not_used_again() -> None:
    async def scene(client: httpx2.AsyncClient) -> None:
        await client.delete(f"{NOTIFICATIONS}/{await subscribe(client, HOOK)}")
        assert await subscribe(client, HOOK) == 2

    play(scene)


def test_a_kafka_password_is_not_shown() -> None:
    async def scene(client: httpx2.AsyncClient) -> None:
        kafka = {"topic": "t", "brokers": ["b"], "saslUsername": "u", "saslPassword": "hunter2"}
        await client.post(
            NOTIFICATIONS, json={"via": "kafka", "notifications": ["cdr.received"], "kafka": kafka}
        )
        listed = await client.get(NOTIFICATIONS)
        assert listed.json()["data"][0]["kafka"] == {"topic": "t", "brokers": ["b"], "saslUsername": "u"}
        assert "hunter2" not in (await client.get("/simulator/state")).text

    play(scene)


@pytest.mark.parametrize("first", ["null", ""])
def test_the_listing_is_walked_by_cursor(first: str) -> None:
    async def scene(client: httpx2.AsyncClient) -> None:
        ids = [await subscribe(client, HOOK) for _ in range(5)]
        found: list[int] = []
        cursor: str | None = first
        pages = 0
        while cursor is not None:
            page = (await client.get(NOTIFICATIONS, params={"cursor": cursor, "per_page": 2})).json()
            found += [resource["id"] for resource in page["data"]]
            cursor = page["meta"]["next_cursor"]
            assert (page["links"]["next"] is None) == (cursor is None)
            pages += 1
        assert (found, pages) == (ids, 3)
        assert (await client.get(NOTIFICATIONS, params={"cursor": "nonsense"})).status_code == 422

    play(scene, tenant=Tenant([TOKEN], habits=Habits(listings="both")))


def test_the_listing_is_walked_by_page_and_by_link() -> None:
    async def scene(client: httpx2.AsyncClient) -> None:
        ids = [await subscribe(client, HOOK) for _ in range(101)]
        first = (await client.get(NOTIFICATIONS)).json()
        assert [resource["id"] for resource in first["data"]] == ids[:100]
        assert (first["meta"]["last_page"], first["meta"]["total"]) == (2, 101)
        second = (await client.get(first["links"]["next"])).json()
        assert [resource["id"] for resource in second["data"]] == ids[100:]
        assert second["links"]["next"] is None
        assert (await client.get(NOTIFICATIONS, params={"page": 3})).json()["data"] == []

    play(scene)


def test_actions_are_recorded_and_answered_with_success() -> None:
    async def scene(client: httpx2.AsyncClient) -> None:
        subscription = await subscribe(client, HOOK)
        wish = {"notifications": ["BootNotification"], "startTime": "2026-11-24T11:00:00Z"}
        resent = await client.post(f"{ACTIONS}/notifications/v1.0/{subscription}/resend", json=wish)
        assert (resent.status_code, resent.content) == (202, b"")
        for path in ("reset/soft", "reset/Hard", "unlock/121"):
            answer = await client.post(f"{ACTIONS}/charge-point/v1.0/12/{path}")
            assert (answer.status_code, answer.json()) == (202, {"success": True})
        at = START.isoformat()
        recorded = (await client.get("/simulator/actions")).json()["actions"]
        assert recorded == [
            {
                "operation": "notifications.resend-failed",
                "params": {"notification": "1"},
                "at": at,
                "body": wish,
            },
            {
                "operation": "charge-point.reset",
                "params": {"chargePoint": "12", "type": "soft"},
                "at": at,
                "body": None,
            },
            {
                "operation": "charge-point.reset",
                "params": {"chargePoint": "12", "type": "hard"},
                "at": at,
                "body": None,
            },
            {
                "operation": "charge-point.unlock",
                "params": {"chargePoint": "12", "evse": "121"},
                "at": at,
                "body": None,
            },
        ]
        shown = await state(client)
        assert shown["actions"] == recorded[::-1]
        assert shown["action_counts"] == {
            "charge-point.reset": 2, "charge-point.unlock": 1, "notifications.resend-failed": 1,
        }  # fmt: skip

    play(scene)


def test_refused_actions_are_not_recorded() -> None:
    async def scene(client: httpx2.AsyncClient) -> None:
        subscription = await subscribe(client, HOOK)
        resend = f"{ACTIONS}/notifications/v1.0/{subscription}/resend"
        types = ["BootNotification"]
        for path, body, status in (
            (f"{ACTIONS}/charge-point/v1.0/12/reset/gently", None, 422),
            (f"{ACTIONS}/charge-point/v1.0/x/reset/soft", None, 404),
            (f"{ACTIONS}/charge-point/v1.0/12/unlock/x", None, 404),
            (resend, {}, 422),
            (resend, {"notifications": ["Nonsense"]}, 422),
            (resend, {"notifications": types, "startTime": "yesterday"}, 422),
            (
                resend,
                {
                    "notifications": types,
                    "startTime": "2026-11-24 11:00:00",
                    "endTime": "2026-11-24 10:00:00",
                },
                422,
            ),
        ):
            assert (await client.post(path, json=body)).status_code == status
        assert (await state(client))["action_counts"] == {}

    play(scene)


def test_a_resend_before_its_time_is_429_with_a_pause() -> None:
    async def scene(client: httpx2.AsyncClient) -> None:
        resend = f"{ACTIONS}/notifications/v1.0/{await subscribe(client, HOOK)}/resend"
        wish = {"notifications": ["BootNotification"]}
        assert (await client.post(resend, json=wish)).status_code == 202
        early = await client.post(resend, json=wish)
        assert (early.status_code, early.headers["retry-after"]) == (429, "900")
        assert early.json().keys() == {"message"}

    play(scene)


def test_a_resend_before_its_time_can_be_422_without_fields() -> None:
    async def scene(client: httpx2.AsyncClient) -> None:
        resend = f"{ACTIONS}/notifications/v1.0/{await subscribe(client, HOOK)}/resend"
        wish = {"notifications": ["BootNotification"]}
        await client.post(resend, json=wish)
        early = await client.post(resend, json=wish)
        assert early.status_code == 422
        assert early.json().keys() == {"message"}
        assert "retry-after" not in early.headers

    play(scene, tenant=Tenant([TOKEN], habits=Habits(too_early_status=422)))


def test_a_disabled_subscription_cannot_be_resent_until_it_is_enabled() -> None:
    async def scene(client: httpx2.AsyncClient) -> None:
        subscription = await subscribe(client, HOOK)
        wish = {"notifications": ["BootNotification"]}
        disabled = await client.post(f"/simulator/subscriptions/{subscription}/disable", json={})
        assert disabled.json()["subscription"]["enabled"] is False
        resend = f"{ACTIONS}/notifications/v1.0/{subscription}/resend"
        assert (await client.post(resend, json=wish)).status_code == 422
        await client.post(f"/simulator/subscriptions/{subscription}/enable", json={})
        assert (await client.post(resend, json=wish)).status_code == 202

    play(scene)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"charge_points": 0}, "charge_points"),
        ({"charge_points": True}, "charge_points"),
        ({"rate": 0}, "rate"),
        ({"rate": -1}, "rate"),
        ({"rate": "fast"}, "rate"),
        ({"count": -1}, "count"),
        ({"seed": 1.5}, "seed"),
        ({"start_at": "soon"}, "start_at"),
        ({"chargepoints": 3}, "chargepoints"),
    ],
)
def test_an_impossible_scenario_is_refused(body: dict[str, Any], field: str) -> None:
    async def scene(client: httpx2.AsyncClient) -> None:
        answer = await client.post("/simulator/start", json=body)
        assert answer.status_code == 422
        assert field in answer.json()["errors"]
        assert (await state(client))["scenario"]["running"] is False

    play(scene)


@pytest.mark.parametrize("body", [{}, {"notification": "x", "body": 1}, {"notification": 1, "body": {}}])
def test_a_notification_by_hand_needs_a_type_and_a_body_that_can_be_sent(body: dict[str, Any]) -> None:
    async def scene(client: httpx2.AsyncClient) -> None:
        assert (await client.post("/simulator/send", json=body)).status_code == 422

    play(scene)


def test_the_state_of_a_fresh_tenant() -> None:
    async def scene(client: httpx2.AsyncClient) -> None:
        await subscribe(client, HOOK)
        shown = await state(client)
        scenario = shown.pop("scenario")
        assert shown == {
            "sent": 0, "attempts": 0, "delivered": 0, "failed": 0, "pending": 0, "dropped": 0, "resent": 0,
            "repeated": 0,
            "answers": {}, "types": {}, "actions": [], "action_counts": {},
            "subscriptions": [
                {
                    "id": 1, "via": "webhook", "notifications": list(TYPES), "webhook": {"callbackUrl": HOOK},
                    "enabled": True, "silenced": False,
                    "key_id": shown["subscriptions"][0]["key_id"], "resent_at": None,
                }
            ],
        }  # fmt: skip
        assert len(shown["subscriptions"][0]["key_id"]) == 8
        assert (scenario["running"], scenario["made"]) == (False, 0)

    play(scene)
