"""`serve --processes` as an operator runs it: one port, and it survives the loss of any process behind it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import redis

from eventlog.connection.embedded import EmbeddedServer
from eventlog.inspection.events import list_events
from tests.door import TOKEN, Door, awr, door, read_reply, signed_head
from tests.e2e.process_tree import started
from tests.harness import opened, soon

ACCEPTED = "awr_events_accepted_total"
SERVING = {"AWR_REGISTER": "off", "AWR_API_TOKEN": TOKEN, "AWR_PORT": "0", "AWR_ADMIN_PORT": "0"}
REGISTERING = {"AWR_TENANT_URL": "https://ours.example", "AWR_PUBLIC_URL": "https://us.example"}


def body() -> bytes:
    return json.dumps({"notification": "x.changed", "sessionId": uuid.uuid4().hex}).encode()


def in_log(url: str, prefix: str) -> set[bytes]:
    """The bodies of all events."""

    async def read() -> set[bytes]:
        async with opened(url, prefix) as log:
            return {event.body for event in await list_events(log, limit=100_000)}

    return asyncio.run(read())


def children(front: Door, count: int) -> dict[str, int]:
    """Process ids by name, once all of them are ready."""
    soon(lambda: front.ready()["ready"])

    def pids() -> dict[str, int]:
        return {line["process"]: line["pid"] for line in front.said("endpoint.opened") if "pid" in line}

    names = {f"serve-{number}" for number in range(1, count + 1)}
    soon(lambda: pids().keys() == names)  # what they have written may still be on its way
    return pids()


@pytest.fixture
def front(valkey: EmbeddedServer, prefix: str, tmp: Path) -> Iterator[Door]:
    with door(valkey.url, prefix, {"TMPDIR": str(tmp)}, "--processes", "2") as running:
        yield running


def listening_ports(pids: list[int]) -> set[int]:
    """TCP ports at which these processes listen."""
    found = set()
    for pid in pids:
        ours = set()
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                ours.add(str(link.readlink()))
        found |= {one.port for one in tcp() if one.state == LISTENING and f"socket:[{one.inode}]" in ours}
    return found


LISTENING = "0A"


class Tcp(NamedTuple):
    """One TCP socket of this machine, as the kernel tells of it."""

    port: int
    peer_port: int
    state: str
    unread_bytes: int
    inode: str


def tcp() -> list[Tcp]:
    found = []
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        port, peer_port = (int(place.rpartition(":")[2], 16) for place in fields[1:3])
        found.append(Tcp(port, peer_port, fields[3], int(fields[4].rpartition(":")[2], 16), fields[9]))
    return found


def was_read(connection: socket.socket, port: int) -> bool:
    """Whether a process behind this port has taken the connection and read all of what was sent."""
    ours = connection.getsockname()[1]
    return any(
        (one.port, one.peer_port, one.unread_bytes) == (port, ours, 0) and one.inode != "0" for one in tcp()
    )


class Senders:
    """Signed events over several lasting connections, for as long as the block lasts.

    Attributes:
        accepted: bodies that were answered 202.
        cut: connections that ended without an answer.
        answers: every status.
    """

    def __init__(self, front: Door, connections: int) -> None:
        self._front = front
        self._connections = connections
        self._stop = threading.Event()
        self.accepted: list[bytes] = []
        self.answers: set[int] = set()
        self.cut = 0

    def _send(self) -> None:
        while not self._stop.is_set():
            with self._front.connect() as connection:
                try:
                    while not self._stop.is_set():
                        sent = body()
                        connection.sendall(signed_head(sent) + sent)
                        status = read_reply(connection).status
                        self.answers.add(status)
                        if status == 202:
                            self.accepted.append(sent)
                except (AssertionError, ConnectionError):
                    self.cut += 1

    def __enter__(self) -> Senders:
        self._pool = ThreadPoolExecutor(self._connections)
        self._sending = [self._pool.submit(self._send) for _ in range(self._connections)]
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._pool.shutdown()
        for one in self._sending:
            one.result()


def test_a_killed_process_costs_no_more_than_its_connections(
    front: Door, valkey: EmbeddedServer, prefix: str
) -> None:
    pids = children(front, 2)
    counts = [0.0]

    def counted() -> float:
        counts.append(front.metric(ACCEPTED))
        return counts[-1]

    with Senders(front, 6) as senders:
        soon(lambda: counted() > 100)
        os.kill(pids["serve-1"], signal.SIGKILL)
        soon(lambda: "process-not-started" in front.ready()["reasons"], every_s=0.002)
        before = len(senders.accepted)
        soon(lambda: len(senders.accepted) > before + 50)
        ended = front.line("process.ended", process="serve-1")
        assert ended["exit_code"] == -signal.SIGKILL
        again = front.line("endpoint.opened", process="serve-1")
        while again["pid"] == pids["serve-1"]:
            again = front.line("endpoint.opened", process="serve-1")
        soon(lambda: counted() > 0 and front.ready()["ready"])
    # The restarted process takes part: its counters go on from those of its predecessor.
    soon(
        lambda: front.post(body()).status == 202 and counted() > 0 and accepted_by(front, "serve-1", again),
        every_s=0.005,
    )
    assert senders.answers == {202}
    assert senders.cut <= 6
    stored = in_log(valkey.url, prefix)
    assert set(senders.accepted) <= stored
    assert counts == sorted(counts)
    # A batch that was in the log, but whose process did not live to count it: one at most.
    total = front.metric(ACCEPTED)
    assert len(stored) - 6 <= total <= len(stored)
    assert front.metric("awr_append_batch_events_count") <= total
    assert front.metric("awr_ready") == 1
    assert front.metric("awr_redis_up") == 1, "the parent answers the scrape, and no child knows"
    assert front.metric('awr_child_resident_memory_bytes{child="serve-1"}') > 0
    for _ in range(10):
        assert front.post(body()).status == 202
    assert front.metric(ACCEPTED) == total + 10


def accepted_by(front: Door, name: str, since: dict[str, Any]) -> bool:
    """Whether a process has said after this line that it accepted something."""
    return any(
        line["process"] == name and line["timestamp"] > since["timestamp"]
        for line in front.said("event.accepted")
    )


def test_one_that_hangs_is_told_and_the_others_serve(front: Door) -> None:
    pids = children(front, 2)
    assert listening_ports([front.process.pid, *pids.values()]) == {front.port, front.admin_port}
    assert front.ready()["processes"] == 2
    os.kill(pids["serve-2"], signal.SIGSTOP)
    try:
        reply = front.get("/health/ready", admin=True)
        found = json.loads(reply.body)
        assert (reply.status, found["reasons"]) == (503, ["process-not-answering"])
        assert (found["redis"], found["log_claimed"]) == ("ok", True)
        assert front.get("/health/live", admin=True).status == 200
        assert front.metric("awr_ready") == 0
        for _ in range(20):
            assert front.post(body()).status == 202
        assert front.get("/health/ready").status == 200
    finally:
        os.kill(pids["serve-2"], signal.SIGCONT)
    soon(lambda: front.ready()["ready"])
    assert front.metric(ACCEPTED) == 20


def test_sigterm_answers_what_is_under_way_and_leaves_nothing(
    front: Door, valkey: EmbeddedServer, prefix: str, tmp: Path
) -> None:
    pids = children(front, 2)
    (folder,) = tmp.iterdir()
    assert folder.stat().st_mode & 0o777 == 0o700
    sent = body()
    with contextlib.ExitStack() as held:
        # Each of these is known to be under way: the receiver has asked for the rest.
        waiting = [held.enter_context(front.connect()) for _ in range(6)]
        for connection in waiting:
            connection.sendall(signed_head(sent, expect="100-continue"))
            assert read_reply(connection).status == 100
        front.process.terminate()
        # As systemd does, which asks every process of a service.
        for pid in pids.values():
            os.kill(pid, signal.SIGTERM)
        soon(lambda: refuses(front.port))
        report = json.loads(front.get("/health/ready", admin=True).body)
        assert (report["ready"], report["reasons"], report["processes"]) == (False, ["stopping"], 2)
        assert front.metric("awr_ready") == 0
        for connection in waiting:
            connection.sendall(sent)
            assert read_reply(connection).status == 202
    assert front.ends() == 0
    assert in_log(valkey.url, prefix) == {sent}
    assert {line.get("process") for line in front.said("endpoint.closed")} == {None, "serve-1", "serve-2"}
    assert front.said("endpoint.closed")[-1].get("process") is None
    assert not list(tmp.iterdir())


def refuses(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionError:
        return True
    return False


def test_an_append_under_way_is_answered_at_sigterm(tmp: Path, prefix: str) -> None:
    with (
        EmbeddedServer(tmp / "valkey") as server,
        door(server.url, prefix, None, "--processes", "2") as front,
        redis.Redis.from_url(server.url) as client,
        contextlib.ExitStack() as held,
    ):
        children(front, 2)
        client.execute_command("CLIENT", "PAUSE", 10_000, "WRITE")
        paused_s = time.monotonic()
        bodies = [body() for _ in range(6)]
        waiting = [held.enter_context(front.connect()) for _ in bodies]
        for connection, sent in zip(waiting, bodies, strict=True):
            connection.sendall(signed_head(sent) + sent)
        soon(lambda: all(was_read(connection, front.port) for connection in waiting), every_s=0.005)
        front.process.terminate()
        soon(lambda: refuses(front.port))
        client.execute_command("CLIENT", "UNPAUSE")
        paused_s = time.monotonic() - paused_s
        statuses = [read_reply(connection).status for connection in waiting]
        assert front.ends() == 0
        # An append has two seconds. On a busy machine some take longer, and may be in the log all the same.
        assert set(statuses) <= ({202} if paused_s < 1.5 else {202, 503})
        accepted = {sent for sent, status in zip(bodies, statuses, strict=True) if status == 202}
        assert accepted <= in_log(server.url, prefix) <= set(bodies)


def test_children_end_with_a_parent_that_is_killed(valkey: EmbeddedServer, prefix: str, tmp: Path) -> None:
    environ = {**SERVING, "AWR_REDIS_URL": valkey.url, "AWR_KEY_PREFIX": prefix}
    with started("serve", "--processes", "2", tmp=tmp, **environ) as command:
        soon(lambda: command.stderr.count('"pid"') == 2)
        assert len([line for line in command.running().values() if "--child" in line]) == 2
        command.kill()
        command.leaves_nothing()
        soon(lambda: command.stderr.count("endpoint.closed") == 2)
        assert not list(command.tmp.iterdir())


@pytest.mark.parametrize(
    ("extra", "line"),
    [
        ({"AWR_REGISTER": "ephemeral"}, "AWR_REGISTER: is ephemeral, where"),
        ({"TMPDIR": "/tmp/" + "long" * 30}, "TMPDIR: no unix socket can be made in it"),
        ({"AWR_LANES": "5"}, "AWR_LANES: the log has 4 lanes"),
    ],
)
def test_what_does_not_go_is_refused_in_one_line(
    valkey: EmbeddedServer, prefix: str, extra: dict[str, str], line: str
) -> None:
    async def claim() -> None:
        async with opened(valkey.url, prefix) as log:
            await log.claim(REGISTERING["AWR_TENANT_URL"], "")

    asyncio.run(claim())
    with contextlib.ExitStack() as held:
        if folder := extra.get("TMPDIR"):
            Path(folder).mkdir(parents=True)
            held.callback(Path(folder).rmdir)
        places = {"AWR_REDIS_URL": valkey.url, "AWR_KEY_PREFIX": prefix, "AWR_LANES": "4"}
        environ = {**SERVING, **REGISTERING, **places, **extra}
        done = awr("serve", "--processes", "2", environ=environ)
    assert done.code == 2
    assert f"ampeco-receiver: {line}" in done.err.splitlines()[-1]
    assert TOKEN not in done.err


@pytest.mark.parametrize("setting", ["AWR_PORT", "AWR_ADMIN_PORT"])
def test_a_port_in_use_is_refused(valkey: EmbeddedServer, prefix: str, setting: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        places = {"AWR_REDIS_URL": valkey.url, "AWR_KEY_PREFIX": prefix, setting: port}
        done = awr("serve", "--processes", "2", environ={**SERVING, **places})
    assert done.code == 2
    (line,) = done.err.splitlines()
    assert line.startswith(f"ampeco-receiver: {setting}: 127.0.0.1:{port} cannot be opened")
