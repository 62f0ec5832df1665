"""A master with replicas and the sentinels that watch them: real processes on ports of this machine, to be harmed."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import redis

from commands.demo_stack import free_port
from eventlog.connection.embedded import server_binary
from tests.harness import PATIENCE_S, soon

SERVICE = "main"

_SERVER = """
dir {folder}
port {port}
bind 127.0.0.1
appendonly yes
appendfsync always
save ""
repl-diskless-sync-delay 0
repl-ping-replica-period 1
min-replicas-to-write {min_replicas}
"""
_SENTINEL = """
dir {folder}
port {port}
bind 127.0.0.1
sentinel monitor {service} 127.0.0.1 {master} {quorum}
sentinel down-after-milliseconds {service} {down_after_ms}
sentinel failover-timeout {service} 3000
sentinel parallel-syncs {service} 2
"""
# Sentinels do this every second or every ten; here more often, so that no test waits. They must have heard of a
# replica within five ping periods before they promote it, and ask it once a second while its master is away.
_OFTEN = {
    "info-period": 200,
    "ping-period": 400,
    "ask-period": 100,
    "publish-period": 200,
    "election-timeout": 1000,
    "tilt-trigger": 20_000,  # a machine that is busy with other tests is not a clock gone wrong
}


class Server:
    """One process of the server's binary, on a port that stays the same when it is started again."""

    def __init__(self, folder: Path, *arguments: str, port: int, binary: str | None = None) -> None:
        self.folder = folder
        self._binary = binary or str(server_binary())
        self.port = port
        self.client = redis.Redis(port=port, protocol=2, decode_responses=True, socket_timeout=20)
        self._arguments = arguments
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.folder / "output.log").open("ab") as output:
            self._process = subprocess.Popen(
                [self._binary, str(self.folder / "server.conf"), *self._arguments],
                stdout=output,
                stderr=output,
            )
        soon(self._answers)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(PATIENCE_S)

    def close(self) -> None:
        self.client.close()
        self.kill()

    def replication(self) -> dict[str, Any]:
        found: dict[str, Any] = self.client.info("replication")
        return found

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "output.log").read_text()
        try:
            return bool(self.client.ping())
        except redis.RedisError:
            return False


class Deployment:
    """Servers of which one is the master, and sentinels.

    Args:
        down_after_ms: how long a sentinel waits for an answer before it calls a server down.
    """

    def __init__(
        self, folder: Path, *, replicas: int, sentinels: int, min_replicas: int, down_after_ms: int
    ) -> None:
        self.servers = [
            self._made(folder / f"server{n}", _SERVER, min_replicas=min_replicas) for n in range(1 + replicas)
        ]
        self.sentinels = [
            self._made(
                folder / f"sentinel{n}",
                _SENTINEL,
                "--sentinel",
                service=SERVICE,
                master=self.servers[0].port,
                quorum=sentinels // 2 + 1,
                down_after_ms=down_after_ms,
            )
            for n in range(sentinels)
        ]

    def _made(self, folder: Path, configuration: str, *arguments: str, **values: Any) -> Server:
        folder.mkdir(parents=True)
        port = free_port()
        (folder / "server.conf").write_text(configuration.format(folder=folder, port=port, **values))
        return Server(folder, *arguments, port=port)

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{hosts}/{SERVICE}"

    def start(self) -> None:
        first, *others = self.servers
        first.start()
        for server in others:
            server.start()
            server.client.replicaof("127.0.0.1", first.port)
        for sentinel in self.sentinels:
            sentinel.start()
            for name, value in _OFTEN.items():
                sentinel.client.execute_command("SENTINEL", "DEBUG", name, value)
        soon(self.whole)

    def close(self) -> None:
        for process in (*self.sentinels, *self.servers):
            process.close()

    def master(self) -> Server:
        """Who the sentinels call the master."""
        _, port = self.sentinels[0].client.sentinel_get_master_addr_by_name(SERVICE)
        return next(server for server in self.servers if server.port == int(port))

    def whole(self) -> bool:
        """Whether every server but one follows that one, and all sentinels know of it and of each other."""
        master = self.master()
        for sentinel in self.sentinels:
            known = sentinel.client.sentinel_master(SERVICE)
            if (known["port"], known["num-slaves"], known["num-other-sentinels"]) != (
                master.port,
                len(self.servers) - 1,
                len(self.sentinels) - 1,
            ):
                return False
        return all(follows(server, master) for server in self.servers if server is not master)


def follows(server: Server, master: Server) -> bool:
    """Whether a server is a replica of another, and has all of its data so far."""
    offset = master.replication()["master_repl_offset"]
    found = server.replication()
    return bool(
        found["role"] == "slave"
        and found["master_port"] == master.port
        and found["master_link_status"] == "up"
        and found["slave_repl_offset"] >= offset
    )


@contextlib.contextmanager
def watched(
    folder: Path, *, replicas: int = 1, sentinels: int = 1, min_replicas: int = 0, down_after_ms: int = 60_000
) -> Iterator[Deployment]:
    """A deployment as long as the block lasts. As it is, its sentinel waits so long that it decides nothing."""
    deployment = Deployment(
        folder,
        replicas=replicas,
        sentinels=sentinels,
        min_replicas=min_replicas,
        down_after_ms=down_after_ms,
    )
    try:
        deployment.start()
        yield deployment
    finally:
        deployment.close()
