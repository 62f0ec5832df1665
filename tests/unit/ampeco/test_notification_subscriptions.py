"""The notifications API in both versions, through both clients: what is sent, and what is made of the answers."""

from traceback import format_exception
from typing import Any

import httpx2
import pytest

from ampeco.client import Client, NotificationSubscription
from ampeco.errors import Invalid, ServerFault, Unauthorized
from ampeco.models.notification_subscription import KafkaTarget
from ampeco.operations import OPERATIONS
from ampeco.wire import build
from tests.unit.ampeco.scripted import TOKEN, URL, Caller, Tenant, ok, subscription


def test_subscribes(through: Caller) -> None:
    tenant = Tenant([ok({"data": subscription(7)}, 201)])
    found = through(
        tenant, lambda c: c.notifications.subscribe(["a"], callback_url="https://us.example/hook")
    )
    assert found == NotificationSubscription("7", "webhook", ("a",), "https://us.example/hook")
    [request] = tenant.requests
    assert (request.method, str(request.url)) == ("POST", f"{URL}/public-api/notifications/v2.0")
    assert request.headers["authorization"] == f"Bearer {TOKEN}"
    assert request.headers["user-agent"].startswith("ampeco-receiver/")
    assert request.headers["content-type"] == "application/json"
    assert tenant.bodies == [
        {"via": "webhook", "notifications": ["a"], "webhook": {"callbackUrl": "https://us.example/hook"}}
    ]


def test_lists_all_pages(through: Caller) -> None:
    tenant = Tenant(
        [
            ok({"data": [subscription(1), subscription(2)], "meta": {"next_cursor": "p2"}}),
            ok({"data": [subscription(2), subscription(3)], "meta": {"next_cursor": None}}),
        ]
    )
    found = through(tenant, lambda c: c.notifications.list())
    assert [entry.id for entry in found] == ["1", "2", "3"]
    assert [dict(request.url.params) for request in tenant.requests] == [
        {"per_page": "100"},
        {"cursor": "p2", "per_page": "100"},
    ]


def test_a_list_that_goes_round_in_circles_is_a_fault(through: Caller) -> None:
    part = {"data": [subscription(1)], "meta": {"next_cursor": "same"}}
    with pytest.raises(ServerFault, match="leads back to an earlier page"):
        through(Tenant([ok(part), ok(part)]), lambda c: c.notifications.list())


def test_a_list_that_never_ends_is_given_up() -> None:
    def endless(request: httpx2.Request) -> httpx2.Response:
        return ok({"data": [], "meta": {"next_cursor": request.url.params.get("cursor", "") + "x"}})

    with Client(URL, TOKEN, transport=httpx2.MockTransport(endless)) as client, pytest.raises(ServerFault):
        client.notifications.list()


def test_reads_both_shapes_of_a_notification_subscription(through: Caller) -> None:
    old = {"webhookId": 7, "notifications": ["a"], "callbackUrl": "https://us.example/hook"}
    for document in ({"data": subscription(7)}, subscription(7), old):
        tenant = Tenant([ok(document)])
        found = through(tenant, lambda c: c.notifications.read("7"))
        assert found == NotificationSubscription("7", "webhook", ("a",), "https://us.example/hook")
        assert tenant.requests[0].url.path == "/public-api/notifications/v2.0/7"


def test_kafka_has_no_callback_url(through: Caller) -> None:
    document = {"data": {"id": 1, "via": "kafka", "notifications": ["a"], "kafka": {"topic": "t"}}}
    assert through(Tenant([ok(document)]), lambda c: c.notifications.read("1")).callback_url is None


@pytest.mark.parametrize("document", [None, [], {"data": {}}, {"data": {"id": None}}, {"data": "x"}])
def test_an_answer_without_a_notification_subscription_is_their_fault(through: Caller, document: Any) -> None:
    with pytest.raises(ServerFault):
        through(Tenant([ok(document)]), lambda c: c.notifications.subscribe(["a"], callback_url="https://x"))


def test_updates_and_believes_an_empty_answer(through: Caller) -> None:
    tenant = Tenant([ok()])
    found = through(tenant, lambda c: c.notifications.update("7", ["a", "b"], callback_url="https://x"))
    assert found == NotificationSubscription("7", "webhook", ("a", "b"), "https://x")
    assert tenant.requests[0].method == "PUT"
    assert tenant.bodies[0]["via"] == "webhook"


@pytest.mark.parametrize("status", [200, 204, 404])
def test_unsubscribing_what_is_gone_is_fine(through: Caller, status: int) -> None:
    tenant = Tenant([ok(status=status)])
    through(tenant, lambda c: c.notifications.unsubscribe("7"))
    assert tenant.requests[0].method == "DELETE"


def test_unsubscribing_without_permission_is_not(through: Caller) -> None:
    with pytest.raises(Unauthorized):
        through(Tenant([ok(status=401)]), lambda c: c.notifications.unsubscribe("7"))


def test_an_empty_answer_to_a_listing_is_not_taken_for_no_subscriptions(through: Caller) -> None:
    """Believed, it would make the registration subscribe a second time."""
    with pytest.raises(ServerFault):
        through(Tenant([ok()]), lambda c: c.notifications.list())


def test_a_kafka_topic_is_subscribed_with_what_is_given_and_nothing_else(through: Caller) -> None:
    target = KafkaTarget("events", ("one:9092", "two:9092"), "gzip", "SASL_SSL", "PLAIN", "us", "s3cret")
    shown = {"topic": "events", "brokers": ["one:9092", "two:9092"], "compressionCodec": "gzip"}
    answer = {"data": {"id": 3, "via": "kafka", "notifications": ["a"], "kafka": shown}}
    tenant = Tenant([ok(answer, 201), ok(answer, 201)])
    found = through(tenant, lambda c: c.notifications.subscribe(["a"], kafka=target))
    assert (found.id, found.via, found.callback_url) == ("3", "kafka", None)
    assert found.kafka == KafkaTarget("events", ("one:9092", "two:9092"), "gzip")
    through(tenant, lambda c: c.notifications.update("3", ["a"], kafka=KafkaTarget("events", ("one:9092",))))
    assert tenant.bodies == [
        {
            "via": "kafka",
            "notifications": ["a"],
            "kafka": {
                "topic": "events",
                "brokers": ["one:9092", "two:9092"],
                "compressionCodec": "gzip",
                "securityProtocol": "SASL_SSL",
                "saslMechanism": "PLAIN",
                "saslUsername": "us",
                "saslPassword": "s3cret",
            },
        },
        {"via": "kafka", "notifications": ["a"], "kafka": {"topic": "events", "brokers": ["one:9092"]}},
    ]


def test_the_kafka_password_shows_nowhere(through: Caller) -> None:
    target = KafkaTarget("events", ("one:9092",), sasl_password="s3cret")
    tenant = Tenant([ok({"message": "no"}, 422), ok({"data": {"id": 3, "kafka": target.body()}})])
    with pytest.raises(Invalid) as caught:
        through(tenant, lambda c: c.notifications.subscribe(["a"], kafka=target))
    found = through(tenant, lambda c: c.notifications.read("3"))
    assert found.kafka.sasl_password == "s3cret"
    request = build(OPERATIONS["notifications.subscribe"], body=target.body())
    assert "s3cret" not in f"{target} {found} {request}" + "".join(format_exception(caught.value))


def test_flags_are_sent_only_when_given(through: Caller) -> None:
    tenant = Tenant([ok(subscription(7)), ok(subscription(7))])
    through(
        tenant,
        lambda c: c.notifications.subscribe(
            ["a"],
            callback_url="https://x",
            suppress_self_notifications=True,
            skip_roaming_infrastructure=False,
            include_timestamp_in_signature=None,
        ),
    )
    through(
        tenant,
        lambda c: c.notifications.update(
            "7", ["a"], callback_url="https://x", include_timestamp_in_signature=True
        ),
    )
    webhook = {"via": "webhook", "notifications": ["a"], "webhook": {"callbackUrl": "https://x"}}
    assert tenant.bodies == [
        {**webhook, "suppressSelfNotifications": True, "skipRoamingInfrastructure": False},
        {**webhook, "includeTimestampInSignature": True},
    ]


def test_flags_and_what_nobody_knows_are_read(through: Caller) -> None:
    data = {**subscription(7), "suppressSelfNotifications": True, "status": "disabled"}
    found = through(Tenant([ok({"data": data})]), lambda c: c.notifications.read("7"))
    assert found.flags == {"suppress_self_notifications": True}
    assert found.unknown == {"status": "disabled"}


@pytest.mark.parametrize(
    "targets",
    [{}, {"callback_url": "https://x", "kafka": KafkaTarget("t", ())}, {"callback_url": None, "kafka": None}],
)
def test_a_subscription_needs_one_target(through: Caller, targets: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="either"):
        through(Tenant([]), lambda c: c.notifications.subscribe(["a"], **targets))


def test_an_unknown_option_is_refused(through: Caller) -> None:
    with pytest.raises(TypeError, match="no_such"):
        through(
            Tenant([]), lambda c: c.notifications.subscribe(["a"], callback_url="https://x", no_such=True)
        )


@pytest.mark.parametrize("wrap", [False, True])
def test_version_1_speaks_of_webhooks(through: Caller, wrap: bool) -> None:
    old = {"webhookId": 7, "notifications": ["a"], "callbackUrl": "https://x"}
    answer = {"data": old} if wrap else old
    tenant = Tenant([ok(answer), ok(answer), ok(answer), ok(), ok(status=404)])
    expected = NotificationSubscription("7", "webhook", ("a",), "https://x")
    assert (
        through(tenant, lambda c: c.notifications_v1.subscribe(["a"], callback_url="https://x")) == expected
    )
    assert through(tenant, lambda c: c.notifications_v1.read("7")) == expected
    updates = {"callback_url": "https://x", "include_timestamp_in_signature": True}
    assert through(tenant, lambda c: c.notifications_v1.update("7", ["a"], **updates)) == expected
    changed = through(tenant, lambda c: c.notifications_v1.update("7", ["b"], **updates))
    assert (changed.id, changed.notifications, changed.callback_url) == ("7", ("b",), "https://x")
    through(tenant, lambda c: c.notifications_v1.unsubscribe("7"))
    root = "/public-api/notifications/v1.0"
    assert tenant.lines == [
        ("POST", root),
        ("GET", f"{root}/7"),
        ("PUT", f"{root}/7"),
        ("PUT", f"{root}/7"),
        ("DELETE", f"{root}/7"),
    ]
    assert tenant.bodies[0] == {"callbackUrl": "https://x", "notifications": ["a"]}
    assert tenant.bodies[2] == {**tenant.bodies[0], "includeTimestampInSignature": True}


def test_version_1_is_listed_in_full(through: Caller) -> None:
    def part(number: int) -> httpx2.Response:
        old = {"webhookId": number, "notifications": ["a"], "callbackUrl": "https://x"}
        return ok({"data": [old], "meta": {"current_page": number, "last_page": 3}})

    tenant = Tenant([part(1), part(2), part(3)])
    assert [one.id for one in through(tenant, lambda c: c.notifications_v1.list())] == ["1", "2", "3"]
    assert [dict(request.url.params) for request in tenant.requests] == [
        {"per_page": "100"},
        *({"page": str(number), "per_page": "100"} for number in (2, 3)),
    ]


def test_a_tenant_that_answers_page_numbers_is_listed_in_full(through: Caller) -> None:
    parts = [
        ok({"data": [subscription(n)], "meta": {"current_page": n, "last_page": 2}, "links": {"next": None}})
        for n in (1, 2)
    ]
    tenant = Tenant(parts)
    assert [one.id for one in through(tenant, lambda c: c.notifications.list())] == ["1", "2"]
    assert dict(tenant.requests[1].url.params) == {"page": "2", "per_page": "100"}
