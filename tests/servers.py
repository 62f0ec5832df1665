"""More log servers for tests: Debian's Redis, and one that is misconfigured."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import redis

from eventlog.connection.embedded import server_binary


@contextlib.contextmanager
def debian_server(folder: Path) -> Iterator[str]:
    """Debian's Redis with an append-only file; its URL."""
    with _started("redis-server", folder, {"appendonly": "yes"}) as url:
        yield url


@contextlib.contextmanager
def valkey_cluster_node(folder: Path) -> Iterator[str]:
    """A Valkey in cluster mode, without slots; its URL."""
    with _started(str(server_binary()), folder, {"cluster-enabled": "yes"}) as url:
        yield url


@contextlib.contextmanager
def _started(binary: str, folder: Path, options: dict[str, str]) -> Iterator[str]:
    socket = folder / "server.sock"
    options = {"port": "0", "unixsocket": str(socket), "dir": str(folder), **options}
    arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
    server = subprocess.Popen([binary, *arguments], stdout=subprocess.DEVNULL)
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
        yield f"unix://{socket}"
    finally:
        server.terminate()
        server.wait(20)
