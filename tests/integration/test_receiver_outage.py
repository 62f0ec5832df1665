"""Redis away, stuck or read-only: 503 while it lasts, and back by itself, with the gap noticed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
import uuid
from itertools import pairwise

import redis

from eventlog.connection.embedded import EmbeddedServer
from eventlog.inspection.events import list_events
from eventlog.record import StoredEvent
from eventlog.registry import Declaration
from tests.door import TOKEN, Door, door
from tests.harness import opened, soon


def body() -> bytes:
    return json.dumps({"notification": "x.changed", "sessionId": uuid.uuid4().hex}).encode()


def refused_and_asked_again(front: Door) -> None:
    answer = front.post(body())
    assert (answer.status, answer.body) == (503, b"")
    assert int(answer.headers["retry-after"]) > 0


def accepts_again(front: Door) -> None:
    soon(lambda: front.post(body()).status == 202)
    soon(lambda: front.get("/health/ready").status == 200)
    assert front.process.poll() is None


def events(url: str, prefix: str, **filters: str) -> list[StoredEvent]:
    async def read() -> list[StoredEvent]:
        async with opened(url, prefix) as log:
            return await list_events(log, limit=1000, **filters)  # type: ignore[arg-type]

    return asyncio.run(read())


def closed_gaps(url: str, prefix: str) -> list[tuple[str, str]]:
    """When each closed gap began and ended. A start of more than three seconds leaves one too."""
    gaps = [json.loads(event.body) for event in events(url, prefix, type="receiver.gap.closed")]
    return sorted((gap["from"], gap["to"]) for gap in gaps)


def beating(front: Door, url: str, prefix: str, doors: int = 1) -> None:
    """Wait until receivers have said that they are open: what was never open has no gap."""
    with redis.Redis.from_url(url) as client:
        soon(lambda: client.hlen(f"{prefix}door") >= doors)
    soon(lambda: front.get("/health/ready").status == 200)


def test_a_killed_redis_costs_503_until_it_is_back_and_nothing_accepted_is_lost(
    server: EmbeddedServer, prefix: str
) -> None:
    with door(server.url, prefix) as front:
        accepted = [body() for _ in range(50)]
        assert {front.post(one).status for one in accepted} == {202}
        server.kill()
        refused_and_asked_again(front)
        soon(lambda: front.get("/health/ready").status == 503)
        assert front.get("/health/live").status == 200
        assert front.ready()["reasons"] == ["redis-unreachable"]
        server.start()
        accepts_again(front)
        assert {event.body for event in events(server.url, prefix)} >= set(accepted)
        assert len(front.said("redis.unreachable")) < 6
        front.line("redis.recovered")


def test_a_redis_that_takes_the_place_of_another_is_checked_again(
    server: EmbeddedServer, prefix: str
) -> None:
    with door(server.url, prefix) as front:
        soon(lambda: len(front.said("redis.less_durable")) == 1)
        server.kill()
        server.start()
        assert front.line("redis.less_durable")["found"] == "appendfsync is everysec"


def test_a_stuck_redis_is_not_waited_for(server: EmbeddedServer, prefix: str) -> None:
    with door(server.url, prefix) as front:
        assert front.post(body()).status == 202
        os.kill(server.pid, signal.SIGSTOP)
        try:
            refused_and_asked_again(front)
            assert front.get("/health/live").status == 200
        finally:
            os.kill(server.pid, signal.SIGCONT)
        accepts_again(front)


def test_a_read_only_redis_is_503_and_says_so(server: EmbeddedServer, prefix: str) -> None:
    with door(server.url, prefix) as front, redis.Redis.from_url(server.url) as client:
        assert front.post(body()).status == 202
        client.execute_command("REPLICAOF", "127.0.0.1", "1")
        refused_and_asked_again(front)
        soon(lambda: front.ready()["reasons"] == ["redis-read-only"])
        client.execute_command("REPLICAOF", "NO", "ONE")
        accepts_again(front)


def test_a_full_redis_is_503_and_recovers(server: EmbeddedServer, prefix: str) -> None:
    with door(server.url, prefix) as front, redis.Redis.from_url(server.url) as client:
        assert front.post(body()).status == 202
        client.config_set("maxmemory", "1mb")
        refused_and_asked_again(front)
        client.config_set("maxmemory", "0")
        accepts_again(front)


def test_serve_starts_without_redis_says_so_and_waits(server: EmbeddedServer, prefix: str) -> None:
    server.stop()
    with door(server.url, prefix) as front:
        front_said = front.said("redis.unreachable")
        assert front_said
        refused_and_asked_again(front)
        assert front.get("/health/live").status == 200
        assert front.get("/health/ready").status == 503
        assert front.ready()["reasons"] == ["redis-unreachable", "log-not-claimed"]
        server.start()
        accepts_again(front)
        assert front.stop() == 0


def test_a_log_that_turns_out_to_be_anothers_ends_it(server: EmbeddedServer, prefix: str) -> None:
    """Nothing may be appended to it, not even in the moment before it is known."""

    async def claim_for_another() -> None:
        async with opened(server.url, prefix) as log:
            await log.claim("https://another.example", "")

    asyncio.run(claim_for_another())
    server.stop()
    with door(server.url, prefix, {"AWR_TENANT_URL": "https://ours.example"}) as front:
        server.start()
        assert front.process.wait(60) == 2
        soon(lambda: "https://another.example" in str(front.lines[-1]))
    assert events(server.url, prefix) == []


def test_an_outage_of_the_receiver_becomes_a_gap_with_its_types(valkey: EmbeddedServer, prefix: str) -> None:
    async def someone_wants() -> None:
        async with opened(valkey.url, prefix) as log:
            await log.declare(
                [
                    Declaration(
                        "h", "v1", ("b.changed", "a.changed", "receiver.gap.closed"), "default", "none", "now"
                    )
                ]
            )

    asyncio.run(someone_wants())
    with door(valkey.url, prefix) as front:
        beating(front, valkey.url, prefix)
        front.post(body())
        assert front.stop() == 0
    stopped_at = time.time()
    assert [e for e in events(valkey.url, prefix) if e.type.startswith("receiver.")] == []
    time.sleep(3.5)  # the outage itself: shorter holes are no gap
    with door(valkey.url, prefix, {"AWR_PUBLIC_URL": "https://us.example"}) as front:
        line = front.line("gap.closed")
        (gap,) = events(valkey.url, prefix, type="receiver.gap.closed")
        assert line["event_id"] == gap.event_id
        document = json.loads(gap.body)
        assert document["types"] == ["a.changed", "b.changed"]
        assert document["callbackUrl"] == "https://us.example/webhooks/ampeco"
        assert document["from"] < document["to"]
        assert 3 < line["duration_s"] < 3.5 + 1.5 + (time.time() - stopped_at)
        front.stop()
    with door(valkey.url, prefix) as front:
        soon(lambda: front.get("/health/ready").status == 200)
        assert front.stop() == 0
    begun = [from_at for from_at, _ in closed_gaps(valkey.url, prefix)]
    assert begun.count(document["from"]) == 1


def test_a_start_is_announced_to_those_who_want_to_know(valkey: EmbeddedServer, prefix: str) -> None:
    async def someone_wants() -> None:
        async with opened(valkey.url, prefix) as log:
            await log.declare([Declaration("h", "v1", ("receiver.started",), "default", "none", "now")])

    asyncio.run(someone_wants())
    for _ in range(2):  # the second start comes within the pause
        with door(valkey.url, prefix) as front:
            beating(front, valkey.url, prefix)
            soon(lambda: events(valkey.url, prefix, type="receiver.started") != [])
            assert front.stop() == 0
    (started,) = events(valkey.url, prefix, type="receiver.started")
    assert started.key == "receiver:door"
    assert json.loads(started.body)["replica"]


def test_a_stopped_and_continued_receiver_notices_its_own_gap(valkey: EmbeddedServer, prefix: str) -> None:
    with door(valkey.url, prefix) as front:
        beating(front, valkey.url, prefix)
        os.kill(front.process.pid, signal.SIGSTOP)
        time.sleep(3.5)
        os.kill(front.process.pid, signal.SIGCONT)
        front.line("gap.closed")
        assert front.post(body()).status == 202


def test_two_receivers_close_a_gap_once_and_one_that_stays_leaves_none(
    valkey: EmbeddedServer, prefix: str
) -> None:
    with door(valkey.url, prefix) as first, door(valkey.url, prefix) as second:
        beating(first, valkey.url, prefix, doors=2)
        os.kill(first.process.pid, signal.SIGSTOP)
        time.sleep(3.5)
        os.kill(first.process.pid, signal.SIGCONT)
        assert first.post(body()).status == 202
        assert events(valkey.url, prefix, type="receiver.gap.closed") == []
        for one in (first, second):
            os.kill(one.process.pid, signal.SIGSTOP)
        time.sleep(3.5)
        for one in (first, second):
            os.kill(one.process.pid, signal.SIGCONT)
        soon(lambda: len(events(valkey.url, prefix, type="receiver.gap.closed")) > 0)
        for one in (first, second):
            assert one.post(body()).status == 202
            assert one.stop() == 0
    closed = closed_gaps(valkey.url, prefix)
    assert all(earlier[1] <= later[0] for earlier, later in pairwise(closed)), "each gap is closed once"
    assert TOKEN not in json.dumps(first.lines + second.lines)
