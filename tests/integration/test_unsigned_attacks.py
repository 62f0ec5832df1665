"""Real processes under attack by senders without a signature: their memory, and what others get meanwhile."""

from __future__ import annotations

import contextlib
import json
import resource
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.attacks import ATTACKS, peak_mib, under
from commands.demo_stack import free_port
from eventlog.connection.embedded import EmbeddedServer
from tests.door import Door, door
from tests.harness import soon

MOST_MIB = 128
HELD_S = 1.0  # how long an attack runs at least


@contextlib.contextmanager
def few_descriptors() -> Iterator[None]:
    """Start processes with a small soft limit, which they can raise."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(scope="module")
def receiver(valkey: EmbeddedServer) -> Iterator[Door]:
    with contextlib.ExitStack() as stack:
        with few_descriptors():
            settings = {"AWR_MAX_CONNECTIONS": "500"}
            front = stack.enter_context(door(valkey.url, f"t{uuid.uuid4().hex[:10]}:", settings))
        yield front


def honest(front: Door) -> None:
    """Send an event, and ask the admin port, as if nothing were wrong."""
    body = json.dumps({"notification": "BootNotification", "at": time.time_ns()}).encode()
    assert front.post(body).status == 202
    assert front.get("/health/ready", admin=True).status == 200


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("port", ["public", "admin"])
def test_a_receiver_serves_others_and_stays_small(receiver: Door, attack: str, port: str) -> None:
    deadline = time.monotonic() + HELD_S
    with under(attack, receiver.port if port == "public" else receiver.admin_port):
        while time.monotonic() < deadline:
            honest(receiver)
    assert peak_mib(receiver.process.pid) <= MOST_MIB


@pytest.fixture(scope="module")
def worker(valkey: EmbeddedServer, receiver: Door) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    port = free_port()
    environ = {**receiver.environ, "AWR_ADMIN_PORT": str(port)}
    with few_descriptors():
        process = subprocess.Popen([sys.executable, "-m", "commands", "worker"], env=environ)
    try:

        def is_up() -> bool:
            with contextlib.suppress(OSError, AssertionError):
                return ask(receiver, port) == 200
            return False

        soon(is_up, within_s=60)
        yield process, port
    finally:
        process.terminate()
        process.wait(60)


def ask(front: Door, port: int) -> int:
    """Ask a worker's admin port whether the worker is ready."""
    request = b"GET /health/ready HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    return front.exchange(request, port=port).status


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_admin_port_of_a_worker_answers_others_and_stays_small(
    receiver: Door, worker: tuple[subprocess.Popen[bytes], int], attack: str
) -> None:
    process, port = worker
    deadline = time.monotonic() + HELD_S
    with under(attack, port):
        while time.monotonic() < deadline:
            assert ask(receiver, port) == 200
    assert peak_mib(process.pid) <= MOST_MIB


def test_where_few_files_may_be_open_the_reserve_keeps_the_admin_port_and_redis(
    valkey: EmbeddedServer, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "python"
    program.write_text(f'#!/bin/sh\nulimit -n 400\nexec {sys.executable} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    with door(valkey.url, prefix) as front:
        monkeypatch.undo()
        limited = front.line("connections.limited")
        assert (limited["wanted"], limited["limit"]) == (2048, 400 - limited["reserved"])
        with under("silence", front.port):
            front.line("connections.closed", within_s=60)
            for _ in range(5):
                honest(front)
