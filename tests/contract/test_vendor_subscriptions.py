"""Subscribe, update, list, read, unsubscribe and resend, in every version that the vendor's own document has."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest

from ampeco.client import Client
from ampeco.models.notification_subscription import KafkaTarget, NotificationSubscription
from ampeco.reconstruction import SOURCES, reconstructed
from tests.contract.vendor_bodies import LAX, UNKNOWN, variants
from tests.contract.vendor_document import Described, needs_the_document, operations, payloads, validator
from tests.contract.vendor_reading import fields_of
from tests.contract.vendor_stand_in import StandIn, table

pytestmark = needs_the_document

TYPES = ["SessionUpdateNotification", "chargePoint.changed"]
URL = "https://us.example/webhooks/ampeco"
KAFKA = KafkaTarget("t", ("a:9092", "b:9092"), "gzip", "SASL_SSL", "PLAIN", "user", "secret")


def operation(name: str, version: str) -> Described:
    return next(
        each
        for each in operations()
        if (ours := table()[each.method, each.path]).name == name and ours.version == version
    )


def calls(client: Client, version: str) -> Iterator[tuple[str, Any]]:
    """Each call of a version, by the name of its operation."""
    api = client.notifications if version == "2.0" else client.notifications_v1
    targets: list[dict[str, Any]] = [{"callback_url": URL}]
    if version == "2.0":
        targets += [{"kafka": KAFKA}, {"kafka": KafkaTarget("t", ("a:9092",))}]
    for target in targets:
        yield "notifications.subscribe", lambda t=target: api.subscribe(TYPES, **t)
        yield "notifications.update", lambda t=target: api.update("7", TYPES, **t)
    yield "notifications.list", api.list
    yield "notifications.read", lambda: api.read("7")
    yield "notifications.unsubscribe", lambda: api.unsubscribe("7")


@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_each_call_sends_a_valid_body_and_reads_every_valid_answer(
    client: Client, stand_in: StandIn, version: str
) -> None:
    count = 0
    for name, call in calls(client, version):
        each = operation(name, version)
        ((status, node),) = each.successes.items()
        answers = [None] if node is None else [_last(a) for _, a in variants(node, name, by_chance=3)]
        for answer in answers:
            content = b"" if answer is None else json.dumps(answer)
            stand_in.expect(each, httpx2.Response(status, content=content))
            found = call()
            count += 1
            if each.body is not None:
                (body,) = stand_in.bodies
                assert list(validator(each.body, without="readOnly").iter_errors(body)) == []
                assert set(body) <= set(fields_of(each.body))
            data = answer["data"] if isinstance(answer, dict) and "data" in answer else answer
            if data is None:
                assert found is None
            elif isinstance(data, list):
                assert [one.id for one in found] == [str(_id(one)) for one in data]
                for one, other in zip(found, data, strict=True):
                    _same(one, other)
            else:
                _same(found, data)
    assert stand_in.faults == {}
    assert count > 100


def _last(answer: Any) -> Any:
    """The last page."""
    if isinstance(answer, dict) and "data" in answer:
        return {"data": answer["data"]}
    return answer


def _id(data: dict[str, Any]) -> Any:
    return data.get("id", data.get("webhookId"))


def _same(found: NotificationSubscription, data: dict[str, Any]) -> None:
    assert found.id == str(_id(data))
    assert list(found.notifications) == data["notifications"]
    assert found.via == data.get("via", "webhook")
    webhook = data.get("webhook") or data
    assert found.callback_url == webhook.get("callbackUrl")
    if isinstance(data.get("kafka"), dict):
        assert found.kafka is not None
        sent = {name: value for name, value in data["kafka"].items() if name not in UNKNOWN}
        assert found.kafka.body() == {name: value for name, value in sent.items() if value is not None}


def test_a_resend_asks_as_the_document_says(client: Client, stand_in: StandIn) -> None:
    each = operation("notifications.resend-failed", "1.0")
    stand_in.expect(each, httpx2.Response(202))
    at = datetime(2026, 11, 24, 3, 50, 0, 500_000, tzinfo=UTC)
    client.actions.notifications.resend_failed("7", notifications=TYPES, start_time=at, end_time=at)
    assert each.body is not None
    assert list(validator(each.body).iter_errors(stand_in.bodies[0])) == []
    assert stand_in.bodies == [
        {"notifications": TYPES, "startTime": "2026-11-24T03:50:00Z", "endTime": "2026-11-24T03:50:01Z"}
    ]
    assert stand_in.faults == {}


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_a_notification_made_from_a_listing_is_one_that_the_document_allows(name: str) -> None:
    source = SOURCES[name]
    each = next(o for o in operations() if (o.method, o.path) == (source.listing.method, source.listing.path))
    filters = fields_of(each.query["filter"]["schema"])
    assert {pair[0] for pair in source.window(*2 * [datetime.now(UTC)])} <= {f"filter[{f}]" for f in filters}
    node = each.successes[200]
    assert node is not None
    entry = fields_of(node)["data"]["items"]
    for kind, document in variants(entry, name, by_chance=5, most=3):
        if kind in LAX or f"{source.changed}At" not in document:  # no listing finds it by that time
            continue
        body = reconstructed(name, document, datetime(2024, 1, 1, tzinfo=UTC))
        assert body is not None, kind
        errors = [error.message for error in validator(payloads()[name]).iter_errors(json.loads(body))]
        assert errors == [], kind
