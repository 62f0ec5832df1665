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

_NODE_WARM_UPS = 2  # runs until Node has compiled the hot code
_AT_MOST_PER_S = 25_000  # requests prepared for each second; a run ends early if it uses them up


@dataclass(frozen=True)
class Measured:
    """One run against one server.

    Attributes:
        busy: share of its core that the server used; below 0.9 something else was the bottleneck.
    """

    load: Load
    busy: float | None


def chunked(request: bytes) -> bytes:
    """Return the same request with its body as one chunk."""
    head, _, body = request.partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"content-length:")]
    lines.append(b"transfer-encoding: chunked")
    return b"%b\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (b"\r\n".join(lines), len(body), body)


class Doors:
    """All servers, on one Redis with a database for each kind. One at a time gets requests.

    Attributes:
        no_node: why there are no servers on Node; None if there are.
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

    def ours(
        self, *, fsync: str = "everysec", rate: float | None = None, in_chunks: bool = False
    ) -> Measured:
        """Measure the receiver. No body is sent twice.

        Args:
            fsync: Redis's `appendfsync`.
            rate: requests per second; None for as many as possible.
            in_chunks: send chunked bodies, which the receiver's fast path declines.

        Raises:
            RuntimeError: the log has fewer events than were accepted.
        """
        self._redis.config_set("appendfsync", fsync)
        before = asyncio.run(logs.accepted(self._url))
        requests = [chunked(one) for one in self._fresh()] if in_chunks else list(self._fresh())
        measured = self._measure("ours", iter(requests), rate)
        self._redis.config_set("appendfsync", "everysec")
        if asyncio.run(logs.accepted(self._url)) - before < measured.load.answered:
            raise RuntimeError("the receiver accepted more than it wrote")
        return measured

    def peer(self, name: str) -> Measured:
        """Measure one of the others, then delete what it put into Redis."""
        measured = self._measure(name, itertools.cycle(self._any))
        self._peers_redis.flushdb()
        return measured

    def _measure(self, name: str, requests: Iterator[bytes], rate: float | None = None) -> Measured:
        pid = self._pids[name]
        before = machine.cpu_s(pid)
        load = drive(self._ports[name], requests, seconds=self._seconds, rate=rate)
        after = machine.cpu_s(pid)
        busy = None if before is None or after is None else (after - before) / (load.seconds + WARM_UP_S)
        return Measured(load, busy)
