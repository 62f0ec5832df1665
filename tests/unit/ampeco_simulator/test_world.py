"""What the API shows of a fleet, with and without a subscriber, and what a notification sent by hand names."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ampeco.client import Client
from ampeco.contract.samples import sampled
from ampeco.errors import NotFound
from ampeco.simulator.testing import Box, tenant_in_a_box
from tests.unit.ampeco_simulator.contract_rules import CALLBACKS, payload_faults

NOUNS = {
    "authorizationId": "authorizations",
    "chargePointId": "charge_points",
    "circuitId": "circuits",
    "evseId": "evses",
    "idTagsId": "id_tags",
    "locationId": "locations",
    "parkingSpaceId": "parking_spaces",
    "partnerId": "partners",
    "partnerInviteId": "partner_invites",
    "planId": "subscription_plans",
    "reservationId": "reservations",
    "roamingPlatformId": "roaming_platforms",
    "sessionId": "sessions",
    "transactionId": "transactions",
    "userId": "users",
}
OWNERS = {
    "chargePoint": "charge_points",
    "installerJob": "installer_jobs",
    "location": "locations",
    "session": "sessions",
    "settlementReport": "partner_settlement_reports",
    "subOperator": "sub_operators",
    "tariff": "tariffs",
    "user": "users",
}


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    with tenant_in_a_box() as made:
        yield made


def test_without_a_subscriber_a_started_fleet_shows_its_things(box: Box) -> None:
    box.start("quiet-night")
    with Client(box.url, box.token) as client:
        sessions = list(client.resources.sessions.list())
        finished = [session for session in sessions if session.status == "finished"]
        assert finished
        assert len(sessions) > len(finished)
        session = finished[0]
        assert client.resources.users.read(session.user_id).id == str(session.user_id)
        assert client.resources.evses.read(session.evse_id).charge_point_id == session.charge_point_id
        (cdr,) = client.resources.cdrs.list(filters={"roamingId": f"SIM-CDR-{session.id}"})
        assert cdr.session_id == session.id
    assert box.state()["sent"] == 0
    box.stop()


def test_a_listing_is_narrowed_by_the_time_of_a_change(box: Box) -> None:
    box.sample("BootNotification")
    with Client(box.url, box.token) as client:
        sessions = list(client.resources.sessions.list())
        last = max(session.last_updated_at for session in sessions)
        newest = list(client.resources.sessions.list(filters={"lastUpdatedAfter": last}))
        rest = list(client.resources.sessions.list(filters={"lastUpdatedBefore": last}))
        assert 0 < len(newest) < len(sessions) == len(rest)


def test_with_the_clock_of_the_wall_a_listing_shows_what_changed_since_a_moment() -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    with tenant_in_a_box() as box, Client(box.url, box.token) as client:
        client.notifications.subscribe(["SessionUpdateNotification"], callback_url="http://127.0.0.1:9/x")
        box.start(charge_points=3, rate=200, wall_clock=True)
        box.wait(lambda state: state["sent"] >= 3)
        box.stop()
        updated = {sent["body"]["session"]["id"] for sent in box.deliveries()}
        changed = {found.id for found in client.resources.sessions.list(filters={"lastUpdatedAfter": before})}
        assert updated <= changed
        earlier = {"lastUpdatedBefore": before - timedelta(days=1)}
        assert not [*client.resources.sessions.list(filters=earlier)]
        assert not [*client.resources.charge_points.list(filters={"lastUpdatedAfter": before})]
        client.resources.charge_points.update(2, {"name": "Gate"})
        (found,) = client.resources.charge_points.list(filters={"lastUpdatedAfter": before})
        assert (found.id, found.name) == ("2", "Gate")


@pytest.mark.parametrize("notification", sampled())
def test_a_notification_by_hand_names_things_that_the_api_knows(box: Box, notification: str) -> None:
    body = box.sample(notification)
    assert body["notification"] == notification
    if notification in CALLBACKS:
        assert payload_faults(notification, body) == []
        with Client(box.url, box.token) as client:
            for noun, id_ in named(body, notification.split(".")[0]):
                try:
                    getattr(client.resources, noun).read(id_)
                except NotFound:
                    pytest.fail(f"{notification} names {noun} {id_}, which the API does not know")


def named(value: Any, owner: str) -> Iterator[tuple[str, Any]]:
    """Resource and id of everything that is named."""
    if isinstance(value, list):
        for element in value:
            yield from named(element, owner.removesuffix("s"))
    elif isinstance(value, dict):
        for name, inner in value.items():
            noun = OWNERS.get(owner) if name == "id" else NOUNS.get(name)
            if noun and isinstance(inner, int | str):
                yield noun, inner
            else:
                yield from named(inner, name)


def test_what_is_named_belongs_together(box: Box) -> None:
    body = box.sample("session.start.stop.notification")
    other = box.sample("chargingProfile.applied")
    assert other["evseId"] == body["evseId"] == body["chargePointId"] * 10 + 1
    assert box.sample("HardwareStatusNotification", charge_point=3)["evseId"] == 31


def test_an_unknown_type_is_its_name_alone(box: Box) -> None:
    assert box.sample("new.type") == {"notification": "new.type"}
    assert json.loads(json.dumps(box.sample("evse.changed")))["evseId"] > 0
