"""A deployment of real processes, and the faults that the alert tests provoke in it."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import redis

from ampeco.signature import SigningKey
from ampeco.simulator.testing import Box
from eventlog.clock import now_ms
from eventlog.connection.embedded import EmbeddedServer
from eventlog.log import EventLog
from eventlog.scripts import source
from tests.door import TOKEN, Door
from tests.e2e.alert_handlers import TYPE, mail
from tests.e2e.alert_series import Scrape, State, scraped
from tests.harness import declaration, event, opened, soon

OLD_TOKEN = "token-of-last-year"
NUMBER = 20
WAITED_MS = 900_000
_HOUR_MS = 3_600_000
_MEMORY = 24
"""Filler keys of half a MiB, so that Redis's own needs do not matter."""


def signed_environ(box: Box) -> dict[str, str]:
    """Settings of the receiver: registered at a simulator, and two keys accepted."""
    return {
        "AWR_REGISTER": "auto",
        "AWR_REGISTRATION_CHECK_S": "5",
        "AWR_TENANT_URL": box.url,
        "AWR_PUBLIC_URL": "https://us.example",
        "AWR_SIGNING_KEYS": f"{TOKEN},{OLD_TOKEN}",
    }


class Scene:
    """The log, the receiver in front of it, and what Prometheus would scrape.

    Attributes:
        pods: admin port of each process, by its name.
    """

    def __init__(self, server: EmbeddedServer, box: Box, front: Door, prefix: str) -> None:
        self.server, self.box, self.front, self.prefix = server, box, front, prefix
        self.pods = {"receiver": front.admin_port}

    # -- scrapes

    def when(self, **wanted: float | Callable[[float], bool]) -> Scrape:
        """Wait until all pods that expose these metrics say so, and return that scrape."""
        found: Scrape = {}

        def holds() -> bool:
            nonlocal found
            found = scraped(self.pods)
            return all(_says(found, name, value) for name, value in wanted.items())

        try:
            soon(holds, every_s=0.2)
        except AssertionError:
            raise AssertionError(f"never {list(wanted)} in {found}") from None
        return found

    def lasting(self, **wanted: float | Callable[[float], bool]) -> State:
        """A state in which nothing happens."""
        found = self.when(**wanted)
        return State(found, found)

    # -- what senders, operators and the world do

    def post(self, fate: str, count: int = NUMBER, key: str = TOKEN, status: int = 202) -> None:
        """Send events, each of a session of its own, which are answered with this status."""
        for _ in range(count):
            name = uuid.uuid4().hex
            body = {"notification": TYPE, "session": {"id": name, "status": "active"}, "fate": fate}
            assert self.front.post(json.dumps(body).encode(), key=key).status == status

    def declare(self) -> None:
        """A worker was here once, and has declared its handler."""
        self._in_log(lambda log: log.declare([declaration(mail)]))

    def append_of_old(self) -> None:
        """Append events as it was done 15 minutes ago."""

        at_ms = now_ms() - WAITED_MS
        text = source("append")
        added = "redis.pcall('XADD', stream, '*'"
        assert text.count(added) == 2

        async def append(log: EventLog) -> None:
            log.scripts.append = log.redis.register_script(
                text.replace(added, added.replace("*", f"{at_ms}-*"))
            )
            await log.append([event(TYPE, f"session:{n}", fate="fine") for n in range(NUMBER)])

        self._in_log(append)

    def be_silent(self) -> None:
        """Let half an hour have passed without an event, in an hour that usually has 600."""

        async def change(log: EventLog) -> None:
            now, hour = now_ms(), now_ms() // _HOUR_MS
            count = int(await log.redis.hget(log.key("counts"), "accepted") or 0)
            known = {"at": now, "count": count, "hour": hour, "got": 0, "watched": 60_000}
            missed = {"since": now - _HOUR_MS // 2, "expected": 300, "silent": 0, f"w{hour % 168}": 600}
            await log.redis.hset(log.key("usual"), mapping={**known, **missed})
            await log.redis.delete(log.key("listener"))

        self._in_log(change)

    def listen_now(self) -> None:
        """Let housekeeping look for silence now, not within 30 s."""
        self._in_log(lambda log: log.redis.delete(log.key("listener")))

    def measure_now(self) -> None:
        """Let housekeeping measure the log now, not within 10 s."""
        self._in_log(lambda log: log.redis.delete(log.key("keeper")))

    def fill(self) -> None:
        """Let others take most of the memory of Redis."""
        with self._redis() as client:
            for n in range(_MEMORY):
                client.set(f"of-others:{n}", b"x" * (1 << 19), ex=3600)
            self._limit(client, 0.87)
        self.measure_now()

    def evict(self) -> None:
        """Let Redis delete keys: the least recently used that may expire, which are those of others."""
        with self._redis() as client:
            client.config_set("maxmemory-policy", "volatile-lru")
            self._limit(client, 1.1)
            client.set("more", 1)

    def make_room(self) -> None:
        """End the lack of memory."""
        with self._redis() as client:
            client.config_set("maxmemory", 0)
            client.config_set("maxmemory-policy", "noeviction")
        self.measure_now()

    def stop_receiver(self) -> None:
        """End the only receiver; Prometheus finds it no more."""
        self.front.stop()
        del self.pods["receiver"]

    def lose_subscription(self) -> None:
        """Remove the subscription at AMPECO, and let the token make no new one."""
        (found,) = self.box.state()["subscriptions"]
        with self.box.sync_client() as client:
            client.notifications.unsubscribe(str(found["id"]))
        self.box.add_token(TOKEN, read_only=True)

    def allow_subscribing(self) -> None:
        """Let the token do everything again."""
        self.box.add_token(TOKEN)

    def _limit(self, client: redis.Redis, share: float) -> None:
        """Set maxmemory so that this share of it is in use."""
        used = client.info("memory")["used_memory"]
        client.config_set("maxmemory", int(used / share))

    def _redis(self) -> redis.Redis:
        return redis.Redis.from_url(self.server.url)

    def _in_log(self, work: Callable[[EventLog], Awaitable[Any]]) -> None:
        async def run() -> None:
            async with opened(self.server.url, self.prefix) as log:
                await work(log)

        asyncio.run(run())


def _says(found: Scrape, name: str, wanted: float | Callable[[float], bool]) -> bool:
    """Whether a metric is as wanted everywhere. Labels stand behind the name: `awr_deliveries_total__done`."""
    metric, _, label = name.partition("__")
    values = [
        value
        for series, value in found.items()
        if series.startswith(f"{metric}{{") and (not label or f'"{label}"' in series)
    ]
    return bool(values) and all(wanted(value) if callable(wanted) else value == wanted for value in values)


def key_id(token: str) -> str:
    """The id of a key in metrics."""
    return SigningKey.of(token).key_id
