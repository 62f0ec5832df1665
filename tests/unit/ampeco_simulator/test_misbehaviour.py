"""Each switch does what it says, and the same seed does the same."""

import asyncio
import hashlib
import hmac
import json
import re
from dataclasses import replace
from typing import Any, get_args

import pytest

from ampeco.encodings import decoded
from ampeco.simulator.delivery.sender import Sender
from ampeco.simulator.switches import BodyEncoding, Habits
from tests.unit.ampeco_simulator.listening import TOKEN, subscribe, until
from tests.unit.ampeco_simulator.test_delivery import IMPATIENT, Scene, play


def with_habits(**changes: Any) -> Habits:
    return replace(IMPATIENT, **changes)


async def send_numbered(s: Scene, count: int) -> None:
    await subscribe(s.client, s.receiver.url, "BootNotification")
    for number in range(count):
        await s.send("BootNotification", str(number), 1)


def test_duplicates_are_equal_and_the_same_seed_picks_the_same() -> None:
    seen: list[list[bytes]] = []

    async def story(s: Scene) -> None:
        await send_numbered(s, 40)
        await until(lambda: s.tenant.pending == 0)
        seen.append(list(s.receiver.bodies))
        assert s.tenant.repeated == len(s.receiver.bodies) - 40 > 0

    play(story, with_habits(duplicate_share=0.2))
    play(story, with_habits(duplicate_share=0.2))
    play(story, with_habits(duplicate_share=0.2, seed=2))
    assert seen[0] == seen[1] != seen[2]
    assert len(set(seen[0])) == 40


def test_late_ones_come_behind_the_next_one() -> None:
    async def story(s: Scene) -> None:
        await send_numbered(s, 5)
        await until(lambda: s.tenant.pending == 0)
        # All would be late: each first one waits for its next, and the last one has none.
        assert s.receiver.bodies == [b"1", b"0", b"3", b"2", b"4"]

    play(story, with_habits(late_share=1.0, late_s=0.2))


def test_a_lost_answer_makes_the_tenant_send_again() -> None:
    async def story(s: Scene) -> None:
        await send_numbered(s, 30)
        await until(lambda: s.tenant.pending == 0)
        lost = s.tenant.answers["no-answer"]
        assert lost > 0
        assert len(s.receiver.bodies) == 30 + lost
        assert len(set(s.receiver.bodies)) == 30

    play(story, with_habits(lost_answer_share=0.2, retry_pauses_s=(0.01,) * 20))


def test_what_is_held_back_comes_in_order_once_it_is_let_go() -> None:
    async def story(s: Scene) -> None:
        await send_numbered(s, 5)
        await asyncio.sleep(0.1)
        assert s.receiver.bodies == []
        changed = await s.client.patch("/simulator/habits", json={"hold_deliveries": False})
        assert changed.json()["habits"]["hold_deliveries"] is False
        await until(lambda: s.tenant.pending == 0)
        assert s.receiver.bodies == [b"0", b"1", b"2", b"3", b"4"]

    play(story, with_habits(hold_deliveries=True))


@pytest.mark.parametrize("change", [{"burst_every_s": 0.05}, {"delay_s": 0.05}, {"deliveries_per_s": 200.0}])
def test_what_waits_arrives_complete_and_in_order(change: dict[str, Any]) -> None:
    async def story(s: Scene) -> None:
        await send_numbered(s, 8)
        await until(lambda: s.tenant.pending == 0)
        assert s.receiver.bodies == [str(number).encode() for number in range(8)]

    play(story, with_habits(**change))


def test_an_outage_ordered_for_a_while_ends_by_itself() -> None:
    async def story(s: Scene) -> None:
        outage = {"what": "habits", "to_s": 0.2, "habits": {"unreachable_share": 1.0}}
        await s.client.post("/simulator/faults", json=outage)
        await until(lambda: s.tenant.habits.unreachable_share == 1)
        await send_numbered(s, 3)
        await until(lambda: s.tenant.pending == 0)
        assert s.tenant.answers["connect-error"] > 0
        assert sorted(s.receiver.bodies) == [b"0", b"1", b"2"]
        assert s.tenant.habits.unreachable_share == 0

    play(story, with_habits(retry_pauses_s=(0.05,) * 50))


def test_a_subscription_is_disabled_after_failures_in_a_row() -> None:
    async def story(s: Scene) -> None:
        s.receiver.status = 503
        await send_numbered(s, 2)
        await until(lambda: not s.tenant.subscriptions[1].enabled)
        assert await s.send("BootNotification", "x") == 0

    play(story, with_habits(retry_pauses_s=(), disable_after=2))


@pytest.mark.parametrize(("habit", "made"), [("stops", 0), ("keeps-key", 1)])
def test_a_removed_token_stops_its_subscriptions_or_keeps_signing(habit: str, made: int) -> None:
    async def story(s: Scene) -> None:
        await subscribe(s.client, s.receiver.url, "BootNotification")
        tokens = (await s.client.get("/simulator/tokens")).json()["tokens"]
        assert TOKEN not in str(tokens)
        await s.client.delete(f"/simulator/tokens/{tokens[0]['key_id']}")
        assert (await s.client.get("/public-api/notifications/v2.0")).status_code == 401
        assert await s.send("BootNotification", "x") == made
        await s.client.post("/simulator/tokens", json={"token": TOKEN})
        assert await s.send("BootNotification", "y") == 1
        await until(lambda: len(s.receiver.bodies) == made + 1)

    play(story, with_habits(removed_token=habit))


def test_bodies_can_be_wrapped_snake_case_and_with_other_ids() -> None:
    async def story(s: Scene) -> None:
        await subscribe(s.client, s.receiver.url, "BootNotification")
        body = {"notification": "BootNotification", "chargePointId": 7, "session": {"id": 8, "userIds": []}}
        await s.send("BootNotification", body)
        await until(lambda: s.receiver.bodies)
        assert json.loads(s.receiver.bodies[0]) == {
            "data": {
                "notification": "BootNotification",
                "charge_point_id": "7",
                "session": {"id": "8", "user_ids": []},
            }
        }

    play(story, with_habits(wrapped_payloads=True, payload_case="snake", payload_ids="text"))


@pytest.mark.parametrize("encoding", get_args(BodyEncoding))
def test_bodies_can_be_encoded_and_the_signature_covers_what_is_sent(encoding: str) -> None:
    async def story(s: Scene) -> None:
        await subscribe(s.client, s.receiver.url, "BootNotification")
        await s.send("BootNotification", {"notification": "BootNotification", "chargePointId": 7})
        await until(lambda: s.receiver.bodies)
        text, found = decoded(s.receiver.bodies[0])
        assert found == ("" if encoding == "utf-8" else encoding)
        assert json.loads(text) == {"notification": "BootNotification", "chargePointId": 7}

    play(story, with_habits(body_encoding=encoding))


@pytest.mark.parametrize(
    ("order", "separator"), [("timestamp-body", "."), ("timestamp-body", ""), ("body-timestamp", ".")]
)
def test_the_time_is_signed_when_it_was_asked_for(order: str, separator: str) -> None:
    async def story(s: Scene) -> None:
        wish = {
            "via": "webhook",
            "notifications": ["BootNotification"],
            "webhook": {"callbackUrl": s.receiver.url},
            "includeTimestampInSignature": True,
        }
        made = await s.client.post("/public-api/notifications/v2.0", json=wish)
        assert made.json()["data"]["includeTimestampInSignature"] is True
        await s.send("BootNotification", "x")
        sent = s.tenant.deliveries[-1]
        signed = Sender(s.tenant)._headers(sent, sent.body, s.tenant.habits)
        parts = [signed["X-Timestamp"], "x"][:: 1 if order == "timestamp-body" else -1]
        message = separator.join(parts).encode()
        assert signed["X-Signature"] == hmac.digest(TOKEN.encode(), message, hashlib.sha256).hex()

    habits = {"timestamp_order": order, "timestamp_separator": separator}
    play(story, with_habits(timestamp_signature="asked", **habits))


def headers_of(s: Scene, notification: str) -> dict[str, str]:
    sent = next(made for made in reversed(s.tenant.deliveries) if made.notification == notification)
    return Sender(s.tenant)._headers(sent, sent.body, s.tenant.habits)


def test_each_delivery_has_the_documented_headers() -> None:
    async def story(s: Scene) -> None:
        await subscribe(s.client, s.receiver.url, "AuthorizationNotification", "BootNotification")
        for notification in ("AuthorizationNotification", "BootNotification"):
            await s.send(notification, "x")
        boot, authorization = headers_of(s, "BootNotification"), headers_of(s, "AuthorizationNotification")
        assert boot.keys() == {"X-Signature", "X-Timestamp", "X-Tenant"}
        assert boot["X-Tenant"] == "1"
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", boot["X-Timestamp"])
        assert authorization.keys() - boot.keys() == {"X-Webhook-Id", "X-Webhook-Type"}
        assert authorization["X-Webhook-Type"] == "AuthorizationNotification"
        s.tenant.change(replace(s.tenant.habits, webhook_headers="all"))
        assert headers_of(s, "BootNotification")["X-Webhook-Type"] == "BootNotification"
        s.tenant.change(replace(s.tenant.habits, timestamp_of="event"))
        assert headers_of(s, "BootNotification") == headers_of(s, "BootNotification")

    play(story)


@pytest.mark.parametrize("both", [False, True])
def test_who_subscribes_to_two_spellings_gets_an_event_once_or_twice(both: bool) -> None:
    old, new = "SessionStartStopNotification", "session.start.stop.notification"

    async def story(s: Scene) -> None:
        await subscribe(s.client, s.receiver.url, old, new)
        assert [await s.send(name, "x") for name in (old, new)] == [int(both), 1]
        assert s.tenant.wanted() == ({old, new} if both else {new})
        await subscribe(s.client, s.receiver.url, old)
        assert await s.send(old, "x") == 1 + both

    play(story, with_habits(both_spellings=both))


def test_starts_and_stops_can_be_nested_as_some_tenant_might_send_them() -> None:
    async def story(s: Scene) -> None:
        await subscribe(s.client, s.receiver.url, "session.start.stop.notification")
        await s.client.post("/simulator/send", json={"notification": "session.start.stop.notification"})
        await until(lambda: s.receiver.bodies)
        body = json.loads(s.receiver.bodies[0])
        assert body.keys() == {"notification", "session"}
        assert (body["session"]["status"], type(body["session"]["id"])) == ("finished", str)

    play(story, with_habits(session_start_stop="nested"))


@pytest.mark.parametrize("bodies", ["same", "fresh"])
def test_a_resend_repeats_the_body_or_carries_a_newer_one(bodies: str) -> None:
    async def story(s: Scene) -> None:
        subscription = await subscribe(s.client, s.receiver.url, "evse.changed")
        s.receiver.status = 500
        at = "2026-11-24T08:15:30Z"
        await s.send("evse.changed", {"notification": "evse.changed", "evseId": 11, "lastUpdatedAt": at})
        await until(lambda: s.tenant.count("failed"))
        s.receiver.status = 200
        path = f"/public-api/actions/notifications/v1.0/{subscription}/resend"
        wish = {"notifications": ["evse.changed"]}
        assert (await s.client.post(path, json=wish)).status_code == 202
        await until(lambda: s.receiver.bodies)
        body = json.loads(s.receiver.bodies[0])
        assert body["evseId"] == 11
        assert (body["lastUpdatedAt"] == at) is (bodies == "same")

    play(story, with_habits(resend_bodies=bodies))


def test_a_token_may_see_its_own_notification_subscriptions_alone() -> None:
    async def story(s: Scene) -> None:
        await subscribe(s.client, s.receiver.url)
        other = {"Authorization": "Bearer second-token"}
        listing = "/public-api/notifications/v2.0"
        assert len((await s.client.get(listing, headers=other)).json()["data"]) == 1
        s.tenant.change(replace(s.tenant.habits, listing_scope="own"))
        assert (await s.client.get(listing, headers=other)).json()["data"] == []
        assert len((await s.client.get(listing)).json()["data"]) == 1

    play(story)


def test_subscribe_takes_the_documented_types_and_what_it_is_told_to() -> None:
    async def story(s: Scene) -> None:
        async def status(*types: str) -> int:
            wish = {"via": "webhook", "notifications": types, "webhook": {"callbackUrl": s.receiver.url}}
            return (await s.client.post("/public-api/notifications/v2.0", json=wish)).status_code

        assert [await status("new.type"), await status("evse.changed")] == [422, 201]
        wider = replace(s.tenant.habits, extra_types=("new.type",), refused_types=("evse.changed",))
        s.tenant.change(wider)
        assert [await status("new.type"), await status("evse.changed")] == [201, 422]

    play(story)


@pytest.mark.parametrize("status", [409, 422, 429])
def test_a_resend_before_its_time_is_refused_as_told(status: int) -> None:
    async def story(s: Scene) -> None:
        subscription = await subscribe(s.client, s.receiver.url)
        path = f"/public-api/actions/notifications/v1.0/{subscription}/resend"
        wish = {"notifications": ["BootNotification"]}
        answers = [await s.client.post(path, json=wish) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [202, status]
        assert ("X-RateLimit-Reset" in answers[1].headers) is (status == 429)

    play(story, with_habits(too_early_status=status, resend_every_s=900.0))


@pytest.mark.parametrize("status", [406, 501])
def test_an_operation_is_refused_on_demand_and_does_nothing(status: int) -> None:
    async def story(s: Scene) -> None:
        answer = await s.client.post("/public-api/actions/charge-point/v1.0/12/reset/soft")
        assert (answer.status_code, s.tenant.action_counts) == (status, {})

    play(story, with_habits(refusals={"charge-point.reset": status}))
