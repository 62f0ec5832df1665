"""A cluster of three masters with a replica each: real processes on ports of this machine, to be harmed."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from pathlib import Path

import redis
from redis.crc import key_slot

from commands.demo_stack import free_port
from tests.harness import soon
from tests.watched import Server, follows

_NODE = """
dir {folder}
port {port}
cluster-port {bus}
bind 127.0.0.1
cluster-enabled yes
cluster-node-timeout 1500
cluster-allow-replica-migration no
appendonly yes
appendfsync always
save ""
repl-diskless-sync-delay 0
repl-ping-replica-period 1
"""
_SLOTS = 16384
_MASTERS = 3


class Cluster:
    """Six nodes; the first three begin as the masters.

    Args:
        binary: the server's; the embedded Valkey's if None.
    """

    def __init__(self, folder: Path, *, binary: str | None = None) -> None:
        self.nodes = [self._made(folder / f"node{n}", binary) for n in range(2 * _MASTERS)]

    @staticmethod
    def _made(folder: Path, binary: str | None) -> Server:
        folder.mkdir(parents=True)
        port = free_port()
        (folder / "server.conf").write_text(_NODE.format(folder=folder, port=port, bus=free_port()))
        return Server(folder, port=port, binary=binary)

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    def start(self) -> None:
        for epoch, node in enumerate(self.nodes, 1):
            node.start()
            node.client.execute_command("CLUSTER SET-CONFIG-EPOCH", epoch)
            bus = node.client.config_get("cluster-port")["cluster-port"]
            self.nodes[0].client.execute_command("CLUSTER MEET", "127.0.0.1", node.port, bus)
        bounds = [n * _SLOTS // _MASTERS for n in range(_MASTERS + 1)]
        for node, (first, after) in zip(self.nodes, itertools.pairwise(bounds), strict=False):
            node.client.execute_command("CLUSTER ADDSLOTSRANGE", first, after - 1)
        soon(
            lambda: all(
                self._info(node)["cluster_known_nodes"] == str(len(self.nodes)) for node in self.nodes
            )
        )
        for master, replica in zip(self.nodes, self.nodes[_MASTERS:], strict=False):
            replica.client.execute_command("CLUSTER REPLICATE", node_id(master))
        soon(self.whole)

    def close(self) -> None:
        for node in self.nodes:
            node.close()

    def owner(self, key: str) -> Server:
        """The master of a key's slot, as the first node that answers knows it."""
        return self.owner_of(key_slot(key.encode()))

    def owner_of(self, slot: int) -> Server:
        for node in self.nodes:
            with contextlib.suppress(redis.RedisError):
                for first, last, (_, port, *_), *_ in node.client.execute_command("CLUSTER", "SLOTS"):
                    if first <= slot <= last:
                        return next(other for other in self.nodes if other.port == port)
        raise AssertionError("no node knows the owner")

    def others(self, key: str) -> list[Server]:
        """The masters that do not own a key."""
        owner = self.owner(key)
        return [n for n in self.nodes if n is not owner and n.replication()["role"] == "master"]

    def replica(self, master: Server) -> Server:
        return next(node for node in self.nodes if node.replication().get("master_port") == master.port)

    def whole(self) -> bool:
        """Whether every node is up, finds the cluster so, and each replica has all of its master's data."""
        for node in self.nodes:
            if self._info(node)["cluster_state"] != "ok":
                return False
            found = node.replication()
            if found["role"] == "slave":
                master = next(other for other in self.nodes if other.port == found["master_port"])
                if not follows(node, master):
                    return False
        return sum(node.replication()["role"] == "slave" for node in self.nodes) == len(self.nodes) - _MASTERS

    @staticmethod
    def _info(node: Server) -> dict[str, str]:
        found: dict[str, str] = node.client.execute_command("CLUSTER INFO")
        return found


def node_id(node: Server) -> str:
    return str(node.client.execute_command("CLUSTER MYID"))


class Move:
    """A slot on its way from one master to another, key by key, as `redis-cli --cluster reshard` does it."""

    def __init__(self, cluster: Cluster, key: str) -> None:
        self._cluster = cluster
        self.slot = key_slot(key.encode())
        self.source = cluster.owner(key)
        self.target = cluster.others(key)[0]

    def begin(self) -> None:
        self._set(self.target, "IMPORTING", node_id(self.source))
        self._set(self.source, "MIGRATING", node_id(self.target))

    def keys(self, count: int = 1_000) -> list[str]:
        """Keys that are still at the source."""
        found: list[str] = self.source.client.execute_command("CLUSTER GETKEYSINSLOT", self.slot, count)
        return found

    def move(self, *keys: str) -> None:
        if keys:
            self.source.client.execute_command(
                "MIGRATE", "127.0.0.1", self.target.port, "", 0, 5000, "KEYS", *keys
            )

    def finish(self) -> None:
        while keys := self.keys():
            self.move(*keys)
        new = node_id(self.target)
        for node in (self.target, self.source):
            self._set(node, "NODE", new)
        for node in self._cluster.nodes:
            if node.replication()["role"] == "master":
                self._set(node, "NODE", new)

    def back_at_once(self) -> None:
        """Return the slot by an atomic migration, which not every server has."""
        words = ("MIGRATESLOTS", "SLOTSRANGE", self.slot, self.slot, "NODE", node_id(self.source))
        self.target.client.execute_command("CLUSTER", *words)
        soon(lambda: self._cluster.owner_of(self.slot) is self.source)

    def _set(self, node: Server, *words: str) -> None:
        node.client.execute_command("CLUSTER SETSLOT", self.slot, *words)


@contextlib.contextmanager
def cluster(folder: Path, *, binary: str | None = None) -> Iterator[Cluster]:
    """A cluster as long as the block lasts."""
    made = Cluster(folder, binary=binary)
    try:
        made.start()
        yield made
    finally:
        made.close()
