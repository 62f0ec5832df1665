"""What a receiver remembers of verified events: bounded, by key and type, and by notification subscription."""

from __future__ import annotations

import pytest

from receiver.heard import HeardKeys
from receiver.metrics import Metrics

A, B = "BootNotification", "SessionUpdateNotification"


def test_the_last_moment_of_each_key_and_type_is_kept_until_it_is_taken() -> None:
    heard = HeardKeys(Metrics())
    heard.event("k1", A, 1)
    heard.event("k1", A, 5)
    heard.event("k2", B, 3)
    assert heard.take() == ({("k1", A): 5, ("k2", B): 3}, [])
    assert heard.take() == ({}, [])


def test_types_without_end_take_no_memory_without_end() -> None:
    heard = HeardKeys(Metrics())
    for number in range(10_000):
        heard.event("k1", f"type-{number}", number)
    types, _ = heard.take()
    assert len(types) <= 501
    assert types["k1", "(other)"] == 9_999


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (b"17", [("17", "k1", 9)]),
        (b"", []),
        (b"17|x", []),
        (b"k1#17", []),
        (b"1" * 21, []),
        (b"\xff", []),
        ("\u0663".encode(), []),
    ],
)
def test_only_an_id_names_a_subscription(value: bytes, named: list[tuple[str, str, int]]) -> None:
    heard = HeardKeys(Metrics())
    heard.subscription("k1", [(b"x-signature", b"1"), (b"x-webhook-id", value)], 9)
    assert heard.take()[1] == named


def test_subscriptions_without_end_take_no_memory_without_end() -> None:
    heard = HeardKeys(Metrics())
    for number in range(10_000):
        heard.subscription("k1", [(b"x-webhook-id", b"%d" % number)], 9)
    assert len(heard.take()[1]) <= 50


def test_what_could_not_be_written_is_kept_and_what_came_since_is_newer() -> None:
    heard = HeardKeys(Metrics())
    heard.event("k1", A, 1)
    heard.event("k1", B, 1)
    heard.subscription("k1", [(b"x-webhook-id", b"17")], 1)
    heard.subscription("k1", [(b"x-webhook-id", b"18")], 1)
    taken = heard.take()
    heard.event("k1", B, 2)
    heard.subscription("k1", [(b"x-webhook-id", b"18")], 2)
    heard.again(*taken)
    types, subscriptions = heard.take()
    assert types == {("k1", A): 1, ("k1", B): 2}
    assert sorted(subscriptions) == [("17", "k1", 1), ("18", "k1", 2)]


def test_what_is_kept_for_later_takes_no_memory_without_end() -> None:
    heard = HeardKeys(Metrics())
    for round_ in range(10):
        for number in range(400):
            heard.event("k1", f"type-{round_}-{number}", number)
            heard.subscription("k1", [(b"x-webhook-id", b"%d" % (round_ * 400 + number))], 9)
        heard.again(*heard.take())
    types, subscriptions = heard.take()
    assert len(types) <= 501
    assert len(subscriptions) <= 50


def test_verified_notifications_are_counted_by_key() -> None:
    metrics = Metrics()
    heard = HeardKeys(metrics)
    for key_id in ("k1", "k1", "k2"):
        heard.event(key_id, A, 1)
    heard.count()
    heard.count()
    for key_id, number in (("k1", 2), ("k2", 1)):
        assert metrics.registry.get_sample_value("awr_events_verified_total", {"key_id": key_id}) == number
