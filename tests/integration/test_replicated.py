"""`replicated:n`: an event is accepted when so many replicas have it; else the receiver answers 503."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from commands.demo_stack import free_port
from eventlog.connection.embedded import EmbeddedServer
from eventlog.errors import NotReplicated
from eventlog.inspection.events import list_events
from tests.door import awr, door
from tests.harness import opened, soon


class Pair:
    """A server and a replica of it."""

    def __init__(self, folder: Path) -> None:
        self.first = EmbeddedServer(folder / "first", appendfsync="everysec")
        self.replica = EmbeddedServer(folder / "replica", appendfsync="everysec")

    def __enter__(self) -> Pair:
        for server in (self.first, self.replica):
            server.start()
        port = free_port()
        with redis.Redis.from_url(self.first.url) as client:
            client.config_set("port", port)
            client.config_set("repl-diskless-sync-delay", 0)
        with redis.Redis.from_url(self.replica.url) as client:
            client.execute_command("REPLICAOF", "127.0.0.1", str(port))
        soon(lambda: self.connected() == 1)
        return self

    def __exit__(self, *_: object) -> None:
        for server in (self.replica, self.first):
            server.stop()

    def connected(self) -> int:
        with redis.Redis.from_url(self.first.url) as client:
            return sum(
                slave["state"] == "online"
                for name, slave in client.info("replication").items()
                if name.startswith("slave") and isinstance(slave, dict)
            )


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with Pair(tmp_path) as running:
        yield running


def body() -> bytes:
    document = {"notification": "SessionUpdateNotification", "session": {"id": uuid.uuid4().hex[:8]}}
    return json.dumps({**document, "lastUpdatedAt": "2026-11-24T10:00:00Z"}).encode()


def bodies(url: str, prefix: str) -> Counter[bytes]:
    async def read() -> Counter[bytes]:
        async with opened(url, prefix) as log:
            return Counter(event.body for event in await list_events(log, limit=1000))

    return asyncio.run(read())


def test_who_finds_too_few_replicas_at_the_same_time_is_told_so_each(valkey, prefix: str) -> None:
    async def ask() -> list[object]:
        async with opened(valkey.url, prefix, replicas=1) as log:
            return await asyncio.gather(log.append([]), log.append([]), log.ready(), return_exceptions=True)

    assert [type(answer) for answer in asyncio.run(ask())] == [NotReplicated] * 3


def test_what_was_answered_200_is_on_the_replica(pair: Pair, prefix: str) -> None:
    with door(pair.first.url, prefix, {"AWR_DURABILITY": "replicated:1"}) as front:
        accepted = {body() for _ in range(40)}
        assert {front.post(one).status for one in accepted} == {202}
        pair.first.kill()
        assert bodies(pair.replica.url, prefix) == Counter(accepted)
        assert not front.said("redis.less_durable")


def test_a_replica_that_does_not_answer_costs_503_until_it_does(pair: Pair, prefix: str) -> None:
    with door(pair.first.url, prefix, {"AWR_DURABILITY": "replicated:1"}) as front:
        assert front.post(body()).status == 202
        os.kill(pair.replica.pid, signal.SIGSTOP)
        try:
            sent = body()
            answer = front.post(sent)
            assert (answer.status, answer.body) == (503, b"")
            assert front.line("event.rejected")["reason"] == "not-replicated"
            soon(lambda: front.ready()["reasons"] == ["redis-not-replicating"])
        finally:
            os.kill(pair.replica.pid, signal.SIGCONT)
        soon(lambda: front.post(sent).status == 202)
        assert bodies(pair.first.url, prefix)[sent] == 1
        soon(lambda: front.get("/health/ready").status == 200)
        assert front.metric("awr_events_duplicate_total") >= 1  # it was in the log already


def test_too_few_replicas_shut_the_door_and_say_why(pair: Pair, prefix: str) -> None:
    with door(pair.first.url, prefix, {"AWR_DURABILITY": "replicated:2"}) as front:
        assert front.line("redis.unreachable")["reason"] == "redis-not-replicating"
        assert front.post(body()).status == 503
        assert "redis-not-replicating" in front.ready()["reasons"]


@pytest.mark.parametrize("value", ["replicated", "replicated:0", "replicated:x", "sometimes"])
def test_an_impossible_durability_is_refused(value: str) -> None:
    done = awr("settings", environ={"AWR_DURABILITY": value})
    assert done.code == 2
    assert "AWR_DURABILITY" in done.err
    assert "replicated:n" in done.err


def test_an_embedded_store_has_no_replicas(tmp_path: Path) -> None:
    environ = {"AWR_DURABILITY": "replicated:1", "AWR_DATA_DIR": str(tmp_path), "AWR_REGISTER": "off"}
    done = awr("run", environ={**environ, "AWR_SIGNING_KEYS": "k"})
    assert done.code == 2
    assert "AWR_DURABILITY" in done.err
    assert "AWR_REDIS_URL" in done.err
