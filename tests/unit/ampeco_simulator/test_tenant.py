"""The rules of the simulator, without HTTP and with a clock that stands still."""

from datetime import UTC, datetime, timedelta

import pytest

from ampeco.simulator.model import Delivery, NotificationSubscription, Refused, SubscriptionRequest
from ampeco.simulator.switches import Habits
from ampeco.simulator.tenant import Tenant

START = datetime(2026, 11, 24, 12, tzinfo=UTC)
BOOT, HARDWARE = "BootNotification", "HardwareStatusNotification"


class Clock:
    def __init__(self) -> None:
        self.at = START

    def __call__(self) -> datetime:
        return self.at

    def forward(self, seconds: float) -> datetime:
        self.at += timedelta(seconds=seconds)
        return self.at


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tenant(clock: Clock) -> Tenant:
    return Tenant(["t0ken"], read_only_tokens=["r3ad"], habits=Habits(retry_pauses_s=(1, 5)), now=clock)


def subscribe(tenant: Tenant, *types: str) -> NotificationSubscription:
    request = SubscriptionRequest("webhook", types or (BOOT, HARDWARE), "http://receiver.example/hook")
    return tenant.subscribe(request, "t0ken")


def send(tenant: Tenant, notification: str = BOOT) -> Delivery:
    assert tenant.announce(notification, 1, b"{}") == 1
    return tenant.outbox.pop()


def give_up(tenant: Tenant, notification: str = BOOT) -> Delivery:
    delivery = send(tenant, notification)
    while tenant.attempted(delivery, "503") is not None:
        pass
    assert delivery.state == "failed"
    return delivery


def test_needs_a_token() -> None:
    with pytest.raises(ValueError, match="token"):
        Tenant([])
    with pytest.raises(ValueError, match="token"):
        Tenant(["t0ken", ""])


def test_admits_by_token_and_right(tenant: Tenant) -> None:
    assert tenant.access.admit("t0ken", writes=True) == "t0ken"
    assert tenant.access.admit("r3ad", writes=False) == "r3ad"
    for token, writes, status in (
        (None, False, 401),
        ("", False, 401),
        ("other", True, 401),
        ("r3ad", True, 403),
    ):
        with pytest.raises(Refused) as refusal:
            tenant.access.admit(token, writes=writes)
        assert refusal.value.status == status


def test_subscribing_twice_makes_two_and_everything_comes_twice(tenant: Tenant) -> None:
    assert subscribe(tenant).id != subscribe(tenant).id
    assert tenant.announce(BOOT, 1, b"{}") == 2
    assert tenant.counts_by_type()[BOOT]["sent"] == 2


def test_only_what_is_subscribed_is_sent(tenant: Tenant) -> None:
    subscribe(tenant, BOOT)
    assert tenant.wanted() == {BOOT}
    assert tenant.announce(HARDWARE, 1, b"{}") == 0
    assert tenant.pending == 0


def test_kafka_is_kept_and_gets_nothing(tenant: Tenant) -> None:
    tenant.subscribe(SubscriptionRequest("kafka", (BOOT,), None, {"topic": "t", "brokers": ["b"]}), "t0ken")
    assert tenant.wanted() == frozenset()
    assert tenant.announce(BOOT, 1, b"{}") == 0


def test_pauses_grow_and_then_it_is_given_up(tenant: Tenant) -> None:
    subscribe(tenant)
    delivery = send(tenant)
    assert [tenant.attempted(delivery, "503") for _ in range(3)] == [1, 5, None]
    assert delivery.state == "failed"
    assert (tenant.count("failed"), tenant.pending, tenant.attempts) == (1, 0, 3)


@pytest.mark.parametrize("answer", ["200", "202", "204"])
def test_any_2xx_is_delivered(tenant: Tenant, answer: str) -> None:
    subscribe(tenant)
    delivery = send(tenant)
    tenant.attempted(delivery, "time-out")
    assert tenant.attempted(delivery, answer) is None
    assert (tenant.count("delivered"), tenant.count("failed"), tenant.pending) == (1, 0, 0)
    assert tenant.answers == {"time-out": 1, answer: 1}


@pytest.mark.parametrize("answer", ["301", "404", "500", "connect-error", "2xx-like"])
def test_nothing_else_is(tenant: Tenant, answer: str) -> None:
    subscribe(tenant)
    assert tenant.attempted(send(tenant), answer) == 1


def test_resend_sends_what_failed_in_the_window_and_of_the_types(tenant: Tenant, clock: Clock) -> None:
    subscription = subscribe(tenant)
    before = give_up(tenant)
    start_at = clock.forward(10)
    inside, other_type = give_up(tenant), give_up(tenant, HARDWARE)
    end_at = clock.forward(0)
    clock.forward(10)
    after = give_up(tenant)
    assert tenant.resend(subscription, [BOOT], start_at, end_at) == 1
    assert list(tenant.outbox) == [inside]
    assert [d.state for d in (before, inside, other_type, after)] == ["failed", "pending", "failed", "failed"]
    assert tenant.resent == 1


def test_what_was_resent_and_delivered_is_no_failure_any_more(tenant: Tenant, clock: Clock) -> None:
    subscription = subscribe(tenant)
    delivery = give_up(tenant)
    tenant.resend(subscription, [BOOT], None, None)
    tenant.attempted(delivery, "200")
    clock.forward(901)
    assert tenant.resend(subscription, [BOOT], None, None) == 0
    assert (tenant.count("delivered"), tenant.count("failed")) == (1, 0)
    assert tenant.counts_by_type()[BOOT]["sent"] == 1


def test_what_was_resent_in_vain_fails_again(tenant: Tenant, clock: Clock) -> None:
    subscription = subscribe(tenant)
    delivery = give_up(tenant)
    tenant.resend(subscription, [BOOT], None, None)
    assert [tenant.attempted(delivery, "503") for _ in range(3)] == [1, 5, None]
    clock.forward(901)
    assert tenant.resend(subscription, [BOOT], None, None) == 1


def test_resends_of_one_subscription_keep_15_minutes_apart(tenant: Tenant, clock: Clock) -> None:
    subscription, other = subscribe(tenant), subscribe(tenant)
    tenant.resend(subscription, [BOOT], None, None)
    clock.forward(0.5)
    with pytest.raises(Refused) as refusal:
        tenant.resend(subscription, [BOOT], None, None)
    assert (refusal.value.status, refusal.value.retry_after_s) == (429, 900)
    tenant.resend(other, [BOOT], None, None)
    clock.forward(899.5)
    tenant.resend(subscription, [BOOT], None, None)


def test_too_early_can_be_a_422(clock: Clock) -> None:
    tenant = Tenant(["t0ken"], habits=Habits(resend_every_s=2, too_early_status=422), now=clock)
    subscription = subscribe(tenant)
    tenant.resend(subscription, [BOOT], None, None)
    with pytest.raises(Refused) as refusal:
        tenant.resend(subscription, [BOOT], None, None)
    assert (refusal.value.status, refusal.value.retry_after_s, refusal.value.errors) == (422, None, {})


def test_a_disabled_subscription_gets_nothing_and_cannot_be_resent(tenant: Tenant) -> None:
    subscription = subscribe(tenant)
    subscription.enabled = False
    assert tenant.announce(BOOT, 1, b"{}") == 0
    with pytest.raises(Refused) as refusal:
        tenant.resend(subscription, [BOOT], None, None)
    assert refusal.value.status == 422


def test_unsubscribing_drops_what_is_on_its_way(tenant: Tenant) -> None:
    subscription = subscribe(tenant)
    waiting, in_flight = send(tenant), send(tenant)
    tenant.unsubscribe(subscription)
    assert (tenant.count("dropped"), tenant.pending) == (2, 0)
    assert tenant.attempted(waiting, "503") is None
    tenant.attempted(in_flight, "200")
    assert (tenant.count("dropped"), tenant.count("delivered"), tenant.count("failed")) == (1, 1, 0)
    with pytest.raises(Refused) as refusal:
        tenant.subscription(subscription.id)
    assert refusal.value.status == 404


def test_the_books_balance(tenant: Tenant, clock: Clock) -> None:
    """Every notification sent is in exactly one state."""
    subscription = subscribe(tenant)
    for number in range(60):
        delivery = send(tenant, BOOT if number % 2 else HARDWARE)
        for answer in ("503", "time-out", "200")[number % 4 :]:
            tenant.attempted(delivery, answer)
        if number % 7 == 0 and delivery.state == "pending":
            (
                tenant.attempted(delivery, "503"),
                tenant.attempted(delivery, "503"),
                tenant.attempted(delivery, "503"),
            )
    tenant.resend(subscription, [BOOT], None, None)
    counts = tenant.counts_by_type().values()
    assert sum(c["sent"] for c in counts) == 60
    for c in counts:
        assert c["sent"] == c["delivered"] + c["failed"] + c["pending"] + c["dropped"]
    assert tenant.pending == sum(c["pending"] for c in counts) > 0


def test_repr_shows_neither_token_nor_body(tenant: Tenant) -> None:
    subscription = subscribe(tenant)
    assert tenant.announce(BOOT, 1, b"b0dy") == 1
    delivery = tenant.outbox.pop()
    tenant.record("charge-point.reset", {"chargePoint": "1"}, {"secret": "payl0ad"})
    shown = f"{tenant!r} {tenant.access!r} {subscription!r} {delivery!r} {tenant.actions!r}"
    assert "t0ken" not in shown
    assert "payl0ad" not in shown
    assert "b0dy" not in repr(delivery)
