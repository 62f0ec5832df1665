"""The Redis of a run and what strikes it: one server behind a proxy, or a cluster."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

import redis

from eventlog.connection.cluster import for_log
from eventlog.connection.connect import connect_sync
from eventlog.connection.embedded import EmbeddedServer
from tests.chaos.cast import PREFIX
from tests.chaos.story import Span
from tests.cluster import Cluster, Move, cluster
from tests.faulty_proxy import FaultyProxy, proxied
from tests.harness import soon

Later = Callable[[float, Callable[[], None]], None]
"""Takes a moment of the monotonic clock, and what is to be done then."""

_ONE_IN = 10
_FAILS_OVER_WITHIN_S = 30.0


class Store(Protocol):
    """Where the log of a run lies.

    Attributes:
        url: for the deployment.
        log_url: the same, for code that opens the log itself.
        direct_url: for the run itself.
        durability: of the receivers.
        weights: how often each of its strikes comes.
        outages: when it was not there, or no process could reach it.
        dropped: replies that were lost.
    """

    url: str
    log_url: str
    direct_url: str
    durability: str
    weights: Mapping[str, int]
    outages: list[Span]

    @property
    def dropped(self) -> int: ...

    def client(self) -> redis.Redis:
        """A blocking client of the run itself."""

    def strike(self, kind: str, chance: random.Random, later: Later) -> int | None:
        """Strike; return the process that was struck (0: no single one), or None when nothing was."""


class Single:
    """One server, which writes every change to disk before it answers, and a proxy between it and the deployment."""

    durability = "always"
    weights = {"restart-redis": 5, "reset-connections": 5, "stall-connections": 2, "lose-replies": 4}  # noqa: RUF012

    def __init__(self, server: EmbeddedServer, proxy: FaultyProxy) -> None:
        self._server, self._proxy = server, proxy
        proxy.faulty = False
        self.url = self.log_url = f"redis://127.0.0.1:{proxy.port}"
        self.direct_url = server.url
        self.outages: list[Span] = []

    @property
    def dropped(self) -> int:
        return self._proxy.dropped

    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.direct_url)

    def strike(self, kind: str, chance: random.Random, later: Later) -> int | None:
        match kind:
            case "restart-redis":
                return self._restart(chance.choice((0.0, 0.0, 0.5, 3.0)))
            case "reset-connections":
                self._proxy.reset()
            case "stall-connections":
                self._stall(chance.choice((0.3, 1.0, 2.5, 7.0)), later)
            case "lose-replies":
                self._proxy.one_in, self._proxy.faulty = _ONE_IN, True
                later(time.monotonic() + chance.uniform(0.5, 3.0), self._lose_no_more)
        return 0

    def _restart(self, seconds: float) -> int:
        pid, from_s = self._server.pid, time.monotonic()
        self._server.kill()
        time.sleep(seconds)
        self._server.start()
        self.outages.append(Span(from_s, time.monotonic()))
        return pid

    def _stall(self, seconds: float, later: Later) -> None:
        from_s = time.monotonic()

        def go_on() -> None:
            self._proxy.stall(False)
            self.outages.append(Span(from_s, time.monotonic()))

        self._proxy.stall(True)
        later(from_s + seconds, go_on)

    def _lose_no_more(self) -> None:
        self._proxy.faulty = False


class Clustered:
    """Three masters with a replica each. Without a proxy, since clients follow the addresses that nodes name."""

    durability = "replicated:1"
    weights = {"failover": 12, "move-slot": 8, "reset-connections": 5, "stall-connections": 2}  # noqa: RUF012
    dropped = 0

    def __init__(self, made: Cluster) -> None:
        self._made = made
        self.url = made.url
        self.log_url = self.direct_url = for_log(made.url, PREFIX)
        self.outages: list[Span] = []

    def client(self) -> redis.Redis:
        return connect_sync(self.direct_url)

    def strike(self, kind: str, chance: random.Random, later: Later) -> int | None:
        """Each draws first. Nodes are only struck while the cluster is whole, since a master has one replica."""
        seconds = chance.choice((0.0, 0.3, 1.0, 2.5))
        with contextlib.suppress(redis.RedisError, AssertionError):
            if self._made.whole():
                match kind:
                    case "failover":
                        return self._fail_over(seconds, later)
                    case "move-slot":
                        return self._move(seconds)
                    case "reset-connections":
                        self._made.owner(PREFIX).client.client_kill_filter(_type="normal", skipme=True)
                        return 0
                    case "stall-connections":
                        return self._stall(seconds)
        return None

    def _fail_over(self, seconds: float, later: Later) -> int:
        """The owner of the slot is killed, its replica takes over, and it comes back as the replica of that one."""
        old = self._made.owner(PREFIX)
        heir, from_s = self._made.replica(old), time.monotonic()
        pid = int(old.client.info("server")["process_id"])
        old.kill()
        later(time.monotonic() + seconds, old.start)
        try:
            soon(lambda: self._made.owner(PREFIX) is heir, within_s=_FAILS_OVER_WITHIN_S)
        finally:
            self.outages.append(Span(from_s, time.monotonic()))
        return pid

    def _move(self, seconds: float) -> int:
        """The slot moves key by key; half-moved, it serves nobody for a while."""
        move, from_s = Move(self._made, PREFIX), time.monotonic()
        try:
            move.begin()
            move.move(*move.keys()[::2])
            time.sleep(seconds)
            move.finish()
        finally:
            self.outages.append(Span(from_s, time.monotonic()))
        return 0

    def _stall(self, seconds: float) -> int:
        from_s = time.monotonic()
        self._made.owner(PREFIX).client.client_pause(round(seconds * 1000), all=True)
        self.outages.append(Span(from_s, from_s + seconds))
        return 0


@contextlib.contextmanager
def single(folder: Path, seed: int) -> Iterator[Single]:
    server = EmbeddedServer(folder / "store", appendfsync="always")
    server.start()
    try:
        with proxied(server.url.removeprefix("unix://"), seed=seed, one_in=_ONE_IN) as proxy:
            yield Single(server, proxy)
    finally:
        server.stop()


@contextlib.contextmanager
def clustered(folder: Path, *, binary: str | None) -> Iterator[Clustered]:
    with cluster(folder / "store", binary=binary) as made:
        yield Clustered(made)
