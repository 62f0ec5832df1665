"""A worker over TLS with little processor time and a backlog: it comes up, and few connections are enough."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from eventlog.connection.connect import connect_sync
from eventlog.log import EventLog
from eventlog.registry import Declaration
from tests.harness import VERSION, event, on_log, position, soon, throttled, worker
from tests.servers import certificates, tls_server

HANDLERS, LANES, EVENTS = 10, 20, 1_000
NAMES = [f"recorder-{n}" for n in range(HANDLERS)]
FILE = """
import asyncio
from handlers import Context, Event, Raw, handler

def made(name):
    @handler(name, on=["*"], start="oldest")
    async def record(event: Event[Raw], ctx: Context) -> None:
        await asyncio.sleep(0.001)
    return record

HANDLERS = [made(f"recorder-{n}") for n in range(10)]
for each in HANDLERS:
    globals()[each.name.replace("-", "_")] = each
"""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if shutil.which("redis-server") is None:
        pytest.skip("the embedded Valkey is built without TLS, and Debian's Redis is not installed")
    folder = tmp_path_factory.mktemp("tls")
    with tls_server(folder, certificates(folder)) as url:
        yield url


def in_log(url: str, prefix: str, work: Callable[[EventLog], Any]) -> Any:
    return on_log(url, prefix, work, lanes=LANES)


async def fill(log: EventLog) -> None:
    """Make every (handler, lane) due before there is a worker."""
    await log.declare([Declaration(name, VERSION, ("*",), "default", "entity", "oldest") for name in NAMES])
    for first in range(0, EVENTS, 250):
        await log.append([event("t", f"session:{n}", n=n) for n in range(first, first + 250)])


async def is_settled(log: EventLog) -> bool:
    found = [await position(log, name) for name in NAMES]
    assert not any(one.dead for one in found)
    return all(one.stats.get("done") == EVENTS for one in found)


def test_a_worker_with_a_quarter_of_a_core_comes_up_and_settles_a_backlog(
    url: str, prefix: str, tmp_path: Path
) -> None:
    in_log(url, prefix, fill)
    (tmp_path / "handlers.py").write_text(FILE)
    environ = {"AWR_LANES": str(LANES), "AWR_HANDLERS_ALLOW": ",".join(NAMES)}
    connections = []
    with (
        connect_sync(url) as client,
        worker(url, prefix, [tmp_path / "handlers.py"], environ, tmp_path / "worker.log") as running,
        throttled(running.process.pid, share=0.25),
    ):

        def settled() -> bool:
            assert running.process.poll() is None, (tmp_path / "worker.log").read_text()
            connections.append(_clients(client))
            return bool(in_log(url, prefix, is_settled))

        soon(settled, within_s=240, every_s=0.5)
    assert max(connections) < 10


def _clients(client: redis.Redis) -> int:
    """Connections of the worker: all but ours."""
    return len(client.client_list()) - 1


def test_calls_of_one_moment_are_one_read_of_the_server(url: str, prefix: str) -> None:
    """It reads one TLS record at a time, and with `appendfsync always` it may write to its disk after each."""

    async def check(log: EventLog) -> None:
        echo = log.redis.register_script("return ARGV[1]")
        await log.channel.call(echo, ["first"])
        before = await reads(log)
        replies = await asyncio.gather(*(log.channel.call(echo, [str(n)]) for n in range(100)))
        assert replies == [b"%d" % n for n in range(100)]
        assert await reads(log) - before < 10

    in_log(url, prefix, check)


async def reads(log: EventLog) -> int:
    return int((await log.redis.info("stats"))["total_reads_processed"])
