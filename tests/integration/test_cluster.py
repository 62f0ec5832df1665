"""Clients in a cluster: they follow the owner of the log's slot, and no script runs on half of a log."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import uuid
from collections.abc import Iterator

import pytest
import redis

from commands.demo_stack import free_port
from eventlog.clock import now_ms
from eventlog.connection.cluster import for_log
from eventlog.connection.connect import connect, connect_sync
from eventlog.connection.embedded import EmbeddedServer
from eventlog.entity_records import PutState, PutTimer, records_of, states
from eventlog.errors import LogMismatch
from eventlog.inspection.events import list_events
from eventlog.lease import Lease, Settlement
from eventlog.log import EventLog
from eventlog.operation.handlers import rename
from eventlog.record import OpenRecord
from eventlog.registry import Declaration
from tests.cluster import Cluster, Move, cluster
from tests.door import awr
from tests.harness import event, opened
from tests.watched import Server

SERVERS = [None, *filter(None, [shutil.which("redis-server")])]
DECLARED = Declaration("h", "v1", ("*",), "default", "entity", "oldest")


@pytest.fixture(scope="module", params=SERVERS, ids=lambda binary: "redis" if binary else "valkey")
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("cluster"), binary=request.param) as running:
        yield running


@pytest.fixture
def prefix() -> str:
    return f"{{t{uuid.uuid4().hex[:10]}}}:"


def moved(made: Cluster, prefix: str) -> Server:
    """Move the slot of a log at once; the new owner."""
    move = Move(made, prefix)
    move.begin()
    move.finish()
    return move.target


def test_a_slot_that_moved_is_followed(made: Cluster, prefix: str) -> None:
    async def check() -> None:
        async with connect(for_log(made.url, prefix), max_connections=4) as client:
            # Several connections, so that some lie in the pool while one finds out.
            await asyncio.gather(*(client.set(f"{prefix}{n}", n) for n in range(20)))
            target = moved(made, prefix)
            with pytest.raises(redis.ConnectionError):
                await client.set(prefix, "lost")
            await client.set(prefix, "kept")
            ports = await asyncio.gather(*(client.config_get("port") for _ in range(20)))
            assert {int(found["port"]) for found in ports} == {target.port}
            assert target.client.get(prefix) == "kept"

    asyncio.run(check())


def test_a_blocking_client_follows_too(made: Cluster, prefix: str) -> None:
    with connect_sync(for_log(made.url, prefix)) as client:
        client.set(prefix, 1)
        target = moved(made, prefix)
        with pytest.raises(redis.ConnectionError):
            client.set(prefix, 2)
        client.set(prefix, 3)
        assert target.client.get(prefix) == "3"


def test_any_node_will_do(made: Cluster, prefix: str) -> None:
    """The first address is dead; the second belongs to a node that does not own the slot."""
    other = made.others(prefix)[0].port
    url = for_log(f"redis+cluster://127.0.0.1:{free_port()},127.0.0.1:{other}", prefix)

    async def check() -> None:
        async with connect(url) as client:
            await client.set(prefix, 1)

    asyncio.run(check())
    with connect_sync(url) as client:
        assert client.get(prefix) == b"1"


def everything(server: Server, move: Move) -> dict[str, object]:
    """What a node holds of a slot."""
    names = server.client.execute_command("CLUSTER GETKEYSINSLOT", move.slot, 1_000)
    with redis.Redis(port=server.port) as client:
        return {name: client.dump(name) for name in names}


async def taken(log: EventLog) -> tuple[Lease, str, Settlement]:
    """A lease on the only lane, the id of the only event, and a step that parks it for a retry."""
    await log.declare([DECLARED])
    await log.append([event()])
    lease = Lease(log, "h", 0, "default")
    assert await lease.take() is not None
    (found,) = (await lease.step(Settlement(), after="0-0", count=1)).events
    record = OpenRecord(found, "retry", attempts=1, due_ms=1)
    return lease, found.stream_id, Settlement(cur=found.stream_id, puts=[record])


def test_a_script_is_refused_before_it_begins_while_the_slot_moves(made: Cluster, prefix: str) -> None:
    async def check() -> None:
        async with opened(for_log(made.url, prefix), prefix, lanes=1) as log:
            lease, stream_id, settlement = await taken(log)
            move = Move(made, prefix)
            move.begin()
            before = everything(move.source, move)
            for call in (lambda: log.append([event(n=2)]), lambda: log.declare([DECLARED]), log.ready):
                with pytest.raises(redis.ConnectionError):
                    await call()
            assert everything(move.source, move) == before
            assert everything(move.target, move) == {}

            # The same step without the declared key begins, and ends at `open`, which does not exist yet. The cursor
            # moves last, so the retry is not lost.
            source = move.source.client
            asked = [
                prefix,
                "h",
                0,
                "default",
                lease.token,
                2,
                6000,
                "work",
                stream_id,
                "",
                0,
                1,
                "",
                "",
                "",
                0,
            ]
            with pytest.raises(redis.ResponseError, match="non local key"):
                source.evalsha(log.scripts.step.sha, 0, *asked, *settlement.arguments())
            assert source.hget(f"{prefix}cur", "h|0") == "0-0"
            with pytest.raises(redis.exceptions.AskError):
                source.hgetall(f"{prefix}open:h:0")
            move.finish()

    asyncio.run(check())


def test_a_step_waits_for_a_slot_that_moves_and_is_applied_once(made: Cluster, prefix: str) -> None:
    async def check() -> None:
        async with opened(for_log(made.url, prefix), prefix, lanes=1) as log:
            lease, stream_id, settlement = await taken(log)
            move = Move(made, prefix)
            move.begin()
            move.move(f"{prefix}cur", f"{prefix}lease:h:0")
            waiting = asyncio.create_task(lease.step(settlement))
            await asyncio.sleep(0.2)
            assert not waiting.done()
            move.finish()
            assert not (await waiting).changed
            target = move.target.client
            assert target.hget(f"{prefix}cur", "h|0") == stream_id
            assert target.hlen(f"{prefix}open:h:0") == 1
            await log.append([event(n=2)])
            assert len(await list_events(log)) == 2

    asyncio.run(check())


def test_timers_and_states_move_with_the_slot_of_their_log(made: Cluster, prefix: str) -> None:
    async def check() -> None:
        async with opened(for_log(made.url, prefix), prefix, lanes=1) as log:
            lease, _, _ = await taken(log)
            kept = [PutTimer("e:1", "e:1", "check", "one", 0, "0-1-0", ""), PutState("e:1", '{"n":1}')]
            await lease.step(Settlement(kept=kept))
            moved(made, prefix)
            with contextlib.suppress(redis.ConnectionError):  # the client finds out
                await log.redis.exists(prefix)
            (found,) = (await records_of(log, "h", {"e:1": 0})).values()
            assert ([timer.name for timer in found.timers], found.state) == (["check"], '{"n":1}')
            assert [key async for key, _, _ in states(log, "h")] == ["e:1"]
            await log.redis.delete(log.key("lease", "h", 0))
            await rename(log, "h", "new", now_ms=now_ms())
            assert [key async for key, _, _ in states(log, "new")] == ["e:1"]

    asyncio.run(check())


async def claim(url: str, prefix: str) -> None:
    async with opened(url, prefix) as log:
        await log.claim("", "")


def test_one_node_is_not_taken_for_a_server(made: Cluster, prefix: str) -> None:
    with pytest.raises(LogMismatch, match=r"AWR_REDIS_URL.*write redis\+cluster://"):
        asyncio.run(claim(f"redis://127.0.0.1:{made.owner(prefix).port}", prefix))
    environ = {
        "AWR_REDIS_URL": f"redis://127.0.0.1:{made.others(prefix)[0].port}",
        "AWR_KEY_PREFIX": prefix,
    }
    done = awr("handlers", "list", environ=environ)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "write redis+cluster://" in done.err
    asyncio.run(claim(for_log(made.url, prefix), prefix))


def test_one_server_is_not_taken_for_a_cluster(server: EmbeddedServer, prefix: str) -> None:
    port = free_port()
    with redis.Redis.from_url(server.url) as client:
        client.config_set("port", port)
    single = for_log(f"redis+cluster://127.0.0.1:{port}", prefix)
    with pytest.raises(LogMismatch, match=r"AWR_REDIS_URL.*for a single server"):
        asyncio.run(claim(single, prefix))
    with connect_sync(single) as blocking, pytest.raises(LogMismatch):
        blocking.ping()
    environ = {"AWR_REDIS_URL": f"redis+cluster://127.0.0.1:{port}", "AWR_REGISTER": "off"}
    environ |= {"AWR_SIGNING_KEYS": "k", "AWR_PORT": "0", "AWR_ADMIN_PORT": "0"}
    for role in ("serve", "worker"):
        done = awr(role, environ=environ)
        assert done.code == 2
        assert "for a single server" in done.err
