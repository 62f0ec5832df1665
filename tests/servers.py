"""Log servers that are not as they should be."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import redis

from workers.eventlog.embedded import server_binary


@contextlib.contextmanager
def valkey_cluster_node(folder: Path) -> Iterator[str]:
    """A Valkey in cluster mode, without slots; its URL."""
    socket = folder / "node.sock"
    options = {"port": "0", "unixsocket": str(socket), "dir": str(folder), "cluster-enabled": "yes"}
    with _started([part for name, value in options.items() for part in (f"--{name}", value)], socket):
        yield f"unix://{socket}"


@contextlib.contextmanager
def _started(options: list[str], socket: Path) -> Iterator[None]:
    server = subprocess.Popen([str(server_binary()), *options], stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        with redis.Redis(unix_socket_path=str(socket)) as client:
            while True:
                try:
                    client.ping()
                    break
                except redis.RedisError:
                    assert time.monotonic() < deadline, "the server did not start"
                    time.sleep(0.02)
        yield
    finally:
        server.terminate()
        server.wait(20)
