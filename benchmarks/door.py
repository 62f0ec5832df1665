"""Events per second that one server process accepts: ours, and what it is compared with."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import redis

from benchmarks import logs, machine, node
from benchmarks.bodies import PATH, SECRET, signed_requests
from benchmarks.load import WARM_UP_S, Load, drive

GENTLE_PER_S = 1_000.0

_NODE_WARM_UPS = 2  # until its compiler knows what is hot
_AT_MOST_PER_S = 25_000  # requests made ready for one run; it ends early should they not suffice


@dataclass(frozen=True)
class Measured:
    """One run against one server.

    Attributes:
        busy: share of its core that the server used; below 0.9 something else was the bottleneck.
    """

    load: Load
    busy: float | None


class Doors:
    """All servers, each asleep until it is its turn, on one Redis with a database for each kind.

    Attributes:
        no_node: why the servers on Node are not among them, or None.
    """

    def __init__(self, redis_url: str, seconds: float) -> None:
        self._url = redis_url
        self._seconds = seconds
        self._stack = ExitStack()
        self._next_body = 0
        self._ports: dict[str, int] = {}
        self._pids: dict[str, int] = {}
        self._redis = redis.Redis.from_url(redis_url)
        self._peers_redis = redis.Redis.from_url(f"{redis_url}?db=1")
        self.no_node: str | None = None
        self._any = list(self._fresh())

    def __enter__(self) -> Doors:
        asyncio.run(logs.declare(self._url))
        rq_url = f"{self._url}?db=1"
        self._start("ours", "/health/ready", lambda _: ["commands", "serve"])
        self._start("body", PATH, lambda port: ["benchmarks.peers", "body", port])
        self._start("enqueue", PATH, lambda port: ["benchmarks.peers", "enqueue", port, rq_url])
        self._start("threads", PATH, lambda port: ["benchmarks.peers", "enqueue-in-threads", port, rq_url])
        self._start("ceiling", PATH, lambda port: ["benchmarks.peers", "ceiling", port])
        try:
            folder = node.installed()
        except node.NoNode as reason:
            self.no_node = str(reason)
        else:
            self._start_node(folder, "bullmq", pipelining="no")
            self._start_node(folder, "bullmq-pipelined", pipelining="yes")
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        self._redis.close()
        self._peers_redis.close()

    def _start_node(self, folder: Path, name: str, *, pipelining: str) -> None:
        where = self._url.removeprefix("unix://"), "1", SECRET, PATH, pipelining
        program = ("node", str(folder / "door.mjs"))
        self._start(name, PATH, lambda port: [port, *where], program=program)
        for _ in range(_NODE_WARM_UPS):
            self.peer(name)

    def _start(
        self, name: str, path: str, arguments: Callable[[str], list[str]], **how: Sequence[str]
    ) -> None:
        port = machine.free_port()
        environ = {
            "AWR_REDIS_URL": self._url,
            "AWR_REGISTER": "off",
            "AWR_SIGNING_KEYS": SECRET,
            "AWR_DURABILITY": "everysec",
            "AWR_PORT": str(port),
            "AWR_ADMIN_PORT": "0",
            "AWR_LOG_LEVEL": "warning",
        }
        process = self._stack.enter_context(machine.measured(arguments(str(port)), environ, **how))
        machine.wait_until_answering(port, process, path)
        self._ports[name], self._pids[name] = port, process.pid

    def _fresh(self) -> Iterator[bytes]:
        count = int(_AT_MOST_PER_S * (self._seconds + WARM_UP_S))
        first, self._next_body = self._next_body, self._next_body + count
        return signed_requests(first, count)

    def ours(self, *, fsync: str = "everysec", rate: float | None = None, apart: bool = False) -> Measured:
        """The receiver; no body is sent twice.

        Raises:
            RuntimeError: what was answered and what is in the log differ.
        """
        self._redis.config_set("appendfsync", fsync)
        before = asyncio.run(logs.accepted(self._url))
        measured = self._measure("ours", iter(list(self._fresh())), rate, apart)
        self._redis.config_set("appendfsync", "everysec")
        if asyncio.run(logs.accepted(self._url)) - before < measured.load.answered:
            raise RuntimeError("the receiver accepted more than it wrote")
        return measured

    def peer(self, name: str) -> Measured:
        """One of the others; what it put into Redis is thrown away afterwards."""
        measured = self._measure(name, itertools.cycle(self._any))
        self._peers_redis.flushdb()
        return measured

    def _measure(
        self, name: str, requests: Iterator[bytes], rate: float | None = None, apart: bool = False
    ) -> Measured:
        pid = self._pids[name]
        before = machine.cpu_s(pid)
        load = drive(self._ports[name], requests, seconds=self._seconds, rate=rate, apart=apart)
        after = machine.cpu_s(pid)
        busy = None if before is None or after is None else (after - before) / (load.seconds + WARM_UP_S)
        return Measured(load, busy)
