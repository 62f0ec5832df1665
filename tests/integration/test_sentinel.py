"""Clients that sentinels guide: a server that stops being the master is left, and the new one is found."""

from __future__ import annotations

import asyncio
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator

import pytest
import redis
import redis.asyncio

from eventlog.connection.connect import connect, connect_sync
from eventlog.connection.pipeline import Channel
from eventlog.connection.sentinel import TooFewReplicas
from eventlog.durability import unguarded_master
from eventlog.waker import Waker
from tests.harness import soon
from tests.meta.repository import ROOT
from tests.watched import SERVICE, Deployment, watched

Check = Callable[[redis.asyncio.Redis], Awaitable[None]]


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Two servers and two sentinels, which change nothing by themselves."""
    with watched(tmp_path_factory.mktemp("watched"), replicas=1, sentinels=2) as made:
        yield made


def demote(deployment: Deployment) -> None:
    """Let the servers swap roles. Sentinel would also cut the connections of clients; here they stay."""
    old = deployment.master()
    new = next(server for server in deployment.servers if server is not old)
    new.client.replicaof("no", "one")
    old.client.replicaof("127.0.0.1", new.port)
    for sentinel in deployment.sentinels:
        sentinel.client.sentinel_remove(SERVICE)
        sentinel.client.sentinel_monitor(SERVICE, "127.0.0.1", new.port, 2)
    soon(deployment.whole)


def connected(url: str, check: Check, **options: float) -> None:
    async def run() -> None:
        async with connect(url, **options) as client:  # type: ignore[arg-type]
            await check(client)

    asyncio.run(run())


async def port_of(client: redis.asyncio.Redis) -> int:
    return int((await client.config_get("port"))["port"])


def test_a_demoted_master_is_left_with_the_first_refusal(deployment: Deployment, prefix: str) -> None:
    async def check(client: redis.asyncio.Redis) -> None:
        # Several connections, so that some lie in the pool while one finds out.
        await asyncio.gather(*(client.set(f"{prefix}{n}", n) for n in range(20)))
        demote(deployment)
        with pytest.raises(redis.ConnectionError):
            await client.set(prefix, "lost")
        await client.set(prefix, "kept")
        assert set(await asyncio.gather(*(port_of(client) for _ in range(20)))) == {deployment.master().port}

    connected(deployment.url, check, max_connections=4)
    assert deployment.master().client.get(prefix) == "kept"


def test_a_pipeline_on_a_demoted_master_fails_and_the_next_does_not(
    deployment: Deployment, prefix: str
) -> None:
    async def check(client: redis.asyncio.Redis) -> None:
        async def add() -> None:
            async with client.pipeline(transaction=True) as asked:
                await asked.incr(prefix).incr(prefix).execute()

        await add()
        demote(deployment)
        with pytest.raises(redis.ConnectionError):
            await add()
        await add()
        assert await client.get(prefix) == b"4"

    connected(deployment.url, check)


def test_a_channel_leaves_a_demoted_master(deployment: Deployment, prefix: str) -> None:
    async def check(client: redis.asyncio.Redis) -> None:
        add = client.register_script("return redis.call('incr', ARGV[1])")
        channel = Channel(client, prefix)

        async def added() -> list[object]:
            calls = [channel.call(add, [prefix], within_s=2.0) for _ in range(5)]
            return await asyncio.gather(*calls, return_exceptions=True)

        await channel.call(add, [prefix], within_s=2.0)  # so that no later call has to load the script
        assert await added() == [2, 3, 4, 5, 6]
        demote(deployment)
        assert all(isinstance(answer, redis.ConnectionError) for answer in await added())
        assert sorted(await added()) == [7, 8, 9, 10, 11]

    connected(deployment.url, check)


def test_callers_wait_for_a_connection_and_not_for_ever(deployment: Deployment) -> None:
    async def check(client: redis.asyncio.Redis) -> None:
        waits = [client.blpop(["nothing-there"], 0.2) for _ in range(4)]
        assert await asyncio.gather(*waits) == [None] * 4
        held = [asyncio.create_task(client.blpop(["nothing-there"], 3.0)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(redis.ConnectionError, match="No connection available"):
            await client.ping()
        await asyncio.wait(held)

    connected(deployment.url, check, max_connections=2, timeout_s=1.0)


def test_a_master_without_enough_replicas_is_named_as_such(deployment: Deployment, prefix: str) -> None:
    server = deployment.master()
    server.client.config_set("min-replicas-to-write", 2)
    try:

        async def check(client: redis.asyncio.Redis) -> None:
            assert await unguarded_master(client) is None
            with pytest.raises(TooFewReplicas):
                await client.set(prefix, 1)
            with pytest.raises(TooFewReplicas):
                await client.eval("return redis.call('set', ARGV[1], 1)", 0, prefix)
            assert await client.get(prefix) is None
            server.client.config_set("min-replicas-to-write", 0)
            assert await unguarded_master(client) == "min-replicas-to-write is 0"
            await client.set(prefix, 1)

        connected(deployment.url, check)
    finally:
        server.client.config_set("min-replicas-to-write", 0)


def test_nothing_is_missed_where_no_sentinel_guides(deployment: Deployment) -> None:
    async def check(client: redis.asyncio.Redis) -> None:
        assert await unguarded_master(client) is None

    connected(f"redis://127.0.0.1:{deployment.master().port}", check)


def test_any_sentinel_will_do_and_none_is_forgotten(deployment: Deployment) -> None:
    """redis-py's own list loses one of them when several ask at once while the first is away."""
    first, second = deployment.sentinels

    async def check(client: redis.asyncio.Redis) -> None:
        first.kill()
        await asyncio.gather(*(client.blpop(["nothing-there"], 0.1) for _ in range(20)))
        first.start()
        second.kill()
        await client.connection_pool.disconnect()
        assert await port_of(client) == port

    port = deployment.master().port
    try:
        connected(deployment.url, check)
    finally:
        first.kill()
        for sentinel in (first, second):
            sentinel.start()
        soon(deployment.whole)


def test_an_unknown_service_is_a_lost_connection(deployment: Deployment) -> None:
    url = deployment.url.replace(f"/{SERVICE}", "/other")
    with (
        connect_sync(url) as client,
        pytest.raises(redis.ConnectionError, match="No master found for 'other'"),
    ):
        client.ping()


def test_a_plain_client_leaves_a_demoted_master(deployment: Deployment, prefix: str) -> None:
    with connect_sync(deployment.url) as client:
        client.set(prefix, 1)
        demote(deployment)
        with pytest.raises(redis.ConnectionError):
            client.set(prefix, 2)
        client.set(prefix, 3)
        assert deployment.master().client.get(prefix) == "3"


def test_a_wait_that_is_broken_off_leaves_no_reply_to_the_next(deployment: Deployment) -> None:
    """RQ's signal handler ends the wait for a job by an exception."""

    class Stopped(Exception):
        pass

    def stop(signum: int, frame: object) -> None:
        raise Stopped

    before = signal.signal(signal.SIGALRM, stop)
    try:
        with connect_sync(deployment.url) as client:
            client.ping()
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            with pytest.raises(Stopped):
                client.blpop(["nothing-there"], 0.5)
            assert client.echo("mine") == b"mine"
    finally:
        signal.signal(signal.SIGALRM, before)


SERVES = """
import sys
from eventlog import wakeups as jobs
from workers.process.rq_loop import Serving

jobs.attach(lambda: print("woken", flush=True))
Serving(lambda: jobs.WakeUpWorker(sys.argv[1], "watched")).run()
"""


def test_wake_ups_arrive_again_after_a_failover(
    deployment: Deployment, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rq.queue.Queue.redis_queue_namespace_prefix", f"{prefix}rq:queue:")
    monkeypatch.setattr("rq.job.Job.redis_job_namespace_prefix", f"{prefix}rq:job:")
    process = subprocess.Popen(
        [sys.executable, "-c", SERVES, deployment.url],
        env={**os.environ, "RQ_KEY_PREFIX": f"{prefix}rq"},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    said: queue.Queue[str] = queue.Queue()
    reading = threading.Thread(target=lambda: [said.put(line) for line in process.stdout or ()], daemon=True)
    reading.start()
    waker = Waker(deployment.url)

    def woken() -> bool:
        waker.wake(["watched"])
        try:
            return said.get(timeout=0.5) == "woken\n"
        except queue.Empty:
            return False

    try:
        soon(woken)
        demote(deployment)
        soon(woken)
    finally:
        waker.close()
        process.kill()
        process.wait(60)
        reading.join(5)
        process.stdout.close()
