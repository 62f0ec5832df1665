"""What the log remembers of the notification subscription, its lock, and what the server says of durability."""

from __future__ import annotations

import asyncio
import json

import pytest
import redis
from redis.exceptions import RedisError

from eventlog.connection.embedded import EmbeddedServer
from eventlog.durability import shortfall
from eventlog.inspection.events import list_events, read_event
from eventlog.inspection.gaps import recorded_gaps
from eventlog.log import EventLog
from eventlog.registry import Declaration
from eventlog.replicas import (
    LIVE_MS,
    Replica,
    heard,
    leave,
    publish,
    replicas,
    silent_receivers,
)
from eventlog.rotation import Rotation, end_rotation, rotation, write_rotation
from eventlog.subscription import SubscriptionStore
from receiver.heard import Announcement, HeardKeys
from receiver.metrics import Metrics
from tests.clocked import jump
from tests.harness import opened


def test_what_is_remembered_replaces_what_was(log_url: str, prefix: str) -> None:
    async def scenario() -> None:
        async with opened(log_url, prefix) as log:
            store = SubscriptionStore(log)
            assert await store.read() == {}
            await store.remember({"id": "1", "types": "a,b", "key_id": "k"})
            await store.remember({"id": "2", "types": "ä"})
            assert await store.read() == {"id": "2", "types": "ä"}
            await store.forget()
            assert await store.read() == {}

    asyncio.run(scenario())


def test_the_lock_has_one_holder_who_alone_gives_it_back(log_url: str, prefix: str) -> None:
    async def scenario() -> None:
        async with opened(log_url, prefix) as log:
            store = SubscriptionStore(log)
            assert await store.lock("mine", 60_000)
            assert not await store.lock("yours", 60_000)
            await store.unlock("yours")
            assert not await store.lock("yours", 60_000)
            await store.unlock("mine")
            assert await store.lock("yours", 60_000)

    asyncio.run(scenario())


def test_a_short_lock_shortens_no_longer_one_and_only_its_holder_renews_it(log_url: str, prefix: str) -> None:
    async def scenario() -> None:
        async with opened(log_url, prefix) as log:
            store, key = SubscriptionStore(log), log.key("lock", "registration")
            assert await store.lock("mine", 60_000)
            assert not await store.lock("yours", 5_000)
            await store.renew("yours", 5_000)
            assert await log.redis.pttl(key) > 30_000
            await store.renew("mine", 5_000)
            assert await log.redis.pttl(key) <= 5_000

    asyncio.run(scenario())


def test_a_lock_whose_holder_died_is_free_again(log_url: str, prefix: str) -> None:
    async def scenario() -> None:
        async with opened(log_url, prefix) as log:
            store = SubscriptionStore(log)
            assert await store.lock("mine", 30)
            async with asyncio.timeout(60):
                while not await store.lock("yours", 60_000):
                    await asyncio.sleep(0.01)

    asyncio.run(scenario())


def test_a_server_weaker_than_promised_is_found_out(valkey: EmbeddedServer, prefix: str) -> None:
    async def said(durability: str) -> str | None:
        async with opened(valkey.url, prefix) as log:
            return await shortfall(log, durability)

    with redis.Redis.from_url(valkey.url) as client:
        assert asyncio.run(said("everysec")) is None
        assert asyncio.run(said("always")) == "appendfsync is everysec"
        client.config_set("appendfsync", "no")
        try:
            assert asyncio.run(said("everysec")) == "appendfsync is no"
            client.config_set("appendfsync", "always")
            assert asyncio.run(said("always")) is asyncio.run(said("everysec")) is None
        finally:
            client.config_set("appendfsync", "everysec")


STORED = {"id": "7", "callback_url": "https://us.example/hook", "types": "A,B", "key_id": "k"}


def test_a_confirmation_closes_what_was_missing_with_its_event_and_wakes_its_handler(on_each_server) -> None:
    async def check(log: EventLog) -> None:
        store = SubscriptionStore(log)
        wants = Declaration("h", "v1", ("receiver.gap.closed",), "default", "none", "now")
        await log.declare([wants])
        await store.set_two(4)
        await store.note_missing("not-subscribed", {"B"}, 2_000)
        await store.note_missing("not-subscribed", {"A"}, 1_000)
        await store.note_missing("not-subscribed", {"A"}, 3_000)
        closed = await store.confirm(STORED, state="registered", key_id="k", covers={"A", "B"})
        (gap,) = closed.gaps
        assert (gap.reason, gap.types, closed.wake) == ("not-subscribed", {"A", "B"}, ("default",))
        event = await read_event(log, gap.event_id)
        assert event is not None
        body = json.loads(event.body)
        assert body["callbackUrl"] == STORED["callback_url"]
        assert (body["from"], body["types"]) == ("1970-01-01T00:00:01.000Z", ["A", "B"])
        assert await store.read() == STORED
        assert await store.two_since() == 4
        found = await store.registration()
        assert (found.missing, found.covers, found.is_confirmed) == ({}, {"A", "B"}, True)
        assert found.now_ms - (found.confirmed_ms or 0) < 10_000
        assert len(await recorded_gaps(log)) == len(await list_events(log)) == 1

    on_each_server(check)


def test_a_failed_check_keeps_what_was_confirmed_and_bounds_what_ampeco_says(on_each_server) -> None:
    async def check(log: EventLog) -> None:
        store = SubscriptionStore(log)
        await store.confirm(STORED, state="registered", key_id="k", covers={"A"})
        before = await store.registration()
        await store.note_state("failed:forbidden", key_id="k", detail="x" * 10_000, retry_in_ms=5_000)
        after = await store.registration()
        assert (after.confirmed_ms, after.covers) == (before.confirmed_ms, before.covers)
        assert after.state == "failed:forbidden"
        assert len(after.detail) == 300
        assert (after.retry_ms or 0) - after.now_ms <= 5_000

    on_each_server(check)


def test_only_a_bounded_number_of_made_subscriptions_and_dropped_keys_is_kept(on_each_server) -> None:
    async def check(log: EventLog) -> None:
        store = SubscriptionStore(log)
        for number in range(50):
            await store.note_made(str(number), "k")
            await store.drop_key(f"{number:08x}")
        assert [*(await store.registration()).made] == [str(number) for number in range(30, 50)]
        noted = await publish(log, Replica("r", frozenset({"k"})), types={}, subscriptions=[])
        assert len(noted.dropped) == 20

    on_each_server(check)


def test_a_field_that_a_later_release_adds_changes_nothing(on_each_server) -> None:
    async def check(log: EventLog) -> None:
        store = SubscriptionStore(log)
        await store.confirm(STORED, state="registered", key_id="k", covers={"A"})
        await log.redis.hset(log.key("registration"), "novel", "1")
        assert (await store.registration()).state == "registered"

    on_each_server(check)


def test_live_receivers_say_what_they_accept_and_go_when_they_leave_or_fall_silent(on_each_server) -> None:
    async def check(log: EventLog) -> None:
        one = Replica("one", frozenset({"k1", "k2"}), "k1", "https://us.example/hook")
        two = Replica("two", frozenset({"k3"}))
        for replica in (one, two):
            await publish(log, replica, types={}, subscriptions=[])
        assert await replicas(log) == [one, two]
        await leave(log, "two")
        assert await replicas(log) == [one]
        raw = await log.redis.hget(log.key("replicas"), "one")
        at_ms, _, says = raw.decode().partition("|")
        await log.redis.hset(log.key("replicas"), "one", f"{int(at_ms) - LIVE_MS - 1}|{says}")
        assert await replicas(log) == []
        await publish(log, two, types={}, subscriptions=[])
        assert await log.redis.hkeys(log.key("replicas")) == [b"two"]

    on_each_server(check)


def test_a_receiver_that_beats_and_says_nothing_of_its_keys_is_named(on_each_server) -> None:
    async def check(log: EventLog) -> None:
        await log.beat("old", hole_after_ms=3_000)
        await log.beat("new", hole_after_ms=3_000)
        await publish(log, Replica("new", frozenset({"k"})), types={}, subscriptions=[])
        assert await silent_receivers(log, await replicas(log)) == ["old"]

    on_each_server(check)


def test_a_beat_from_before_the_clock_of_redis_went_back_names_no_receiver(on_each_server) -> None:
    async def check(log: EventLog) -> None:
        await jump(log, 86_400)
        await log.beat("gone", hole_after_ms=3_000)
        assert await silent_receivers(log, []) == []

    on_each_server(check)


def test_what_a_receiver_heard_while_redis_was_away_is_written_afterwards(on_each_server) -> None:
    async def check(log: EventLog) -> None:
        keys, replica = HeardKeys(Metrics()), Replica("one", frozenset({"k"}))
        keys.event("k", "A", 5_000)
        keys.subscription("k", [(b"x-webhook-id", b"17")], 5_000)
        async with opened("redis://127.0.0.1:1", log.prefix) as away:
            with pytest.raises((RedisError, OSError)):
                await Announcement(away, keys, lambda: replica, lambda dropped: None).check()
        await Announcement(log, keys, lambda: replica, lambda dropped: None).check()
        found = await heard(log)
        assert (found.types, found.subscriptions) == ({("k", "A"): 5_000}, {"17": {"k": 5_000}})

    on_each_server(check)


def test_what_was_heard_goes_forward_only_and_is_bounded(on_each_server) -> None:
    async def check(log: EventLog) -> None:
        replica = Replica("one", frozenset({"k"}))
        key = "0123abcd"
        await publish(log, replica, types={(key, "A"): 9_000}, subscriptions=[("17", key, 5_000)])
        await publish(log, replica, types={(key, "A"): 8_000, (key, "B|#"): 2}, subscriptions=[])
        found = await heard(log)
        assert found.types == {(key, "A"): 9_000, (key, "B|#"): 2}
        assert (found.subscriptions, found.by_key) == ({"17": {key: 5_000}}, {key: 9_000})
        assert found.recent_keys() == frozenset()
        await publish(log, replica, types={(key, "A"): 9_999_999_999_999}, subscriptions=[])
        found = await heard(log)
        assert found.types[key, "A"] <= found.now_ms
        assert found.recent_keys() == {key}
        for start in range(0, 3_000, 500):
            types = {(key, f"t{number}"): found.now_ms for number in range(start, start + 500)}
            await publish(log, replica, types=types, subscriptions=[])
        # One entry more: that of the key. What is a week old made room.
        assert 2_000 <= await log.redis.hlen(log.key("heard")) <= 2_001
        assert (key, "B|#") not in (await heard(log)).types
        await publish(log, replica, types={("89abcdef", "late"): found.now_ms}, subscriptions=[])
        found = await heard(log)
        assert "89abcdef" in found.recent_keys()
        assert ("89abcdef", "late") not in found.types

    on_each_server(check)


def test_a_rotation_is_read_as_it_was_written_and_a_later_field_is_ignored(on_each_server) -> None:
    async def check(log: EventLog) -> None:
        assert await rotation(log) is None
        state = Rotation("subscribed", "old", "new", 1, ("7",), "8", 2)
        await write_rotation(log, state)
        raw = json.loads(await log.redis.hget(log.key("rotation"), "state"))
        await log.redis.hset(log.key("rotation"), "state", json.dumps({**raw, "novel": 1}))
        assert await rotation(log) == state
        await end_rotation(log)
        assert await rotation(log) is None

    on_each_server(check)
