"""What the log remembers of the notification subscription, its lock, and what the server says of durability."""

from __future__ import annotations

import asyncio

import redis

from eventlog.connection.embedded import EmbeddedServer
from eventlog.durability import shortfall
from eventlog.subscription import SubscriptionStore
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


def test_a_lock_whose_holder_died_is_free_again(log_url: str, prefix: str) -> None:
    async def scenario() -> None:
        async with opened(log_url, prefix) as log:
            store = SubscriptionStore(log)
            assert await store.lock("mine", 30)
            async with asyncio.timeout(10):
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
