"""An outage of hours: the tasks that look after Redis and AMPECO go on, and their pauses stay bounded."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from redis.exceptions import ConnectionError  # noqa: A004

from ampeco.errors import NotSent
from receiver.growing_pause import pause_after
from receiver.health import MAX_SILENCE_S, Health
from receiver.metrics import Metrics
from receiver.registrar import MAX_BACKOFF_S, Registrar
from tests.unit.receiver.test_registration import URL

FAILURES = 1_100  # 2.0 to the power of 1,024 is more than a float holds


class Clock:
    """Seconds that only pass on request, and the log lines of that time."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.pauses_s: list[float] = []

    def warning(self, event: str, **fields: Any) -> None:
        self.pauses_s.append(fields["next_report_s"])


def test_a_receiver_reports_for_hours_that_redis_is_away() -> None:
    clock = Clock()

    async def away() -> None:
        raise ConnectionError

    health = Health(away, away, Metrics(), clock=lambda: clock.now_s, log=clock)

    async def hours() -> None:
        for _ in range(FAILURES):
            assert not await health.check()
            clock.now_s += MAX_SILENCE_S

    asyncio.run(hours())
    assert clock.pauses_s[:6] == [1, 2, 4, 8, 16, MAX_SILENCE_S]
    assert clock.pauses_s[-1] == MAX_SILENCE_S
    assert len(clock.pauses_s) == FAILURES


class Unreachable:
    """A reconciler whose tenant never answers, and the store of a log that keeps nothing."""

    callback_url = URL

    def __init__(self) -> None:
        self.asked = 0
        self.retries_ms: list[int] = []

    async def wanted_types(self) -> frozenset[str]:
        return frozenset({"A"})

    async def wanted(self) -> None:
        self.asked += 1
        raise NotSent("notifications.list", None, "no route to host")

    @property
    def access(self) -> Any:
        return self

    key_id = "key-1"

    async def note_state(self, state: str, *, retry_in_ms: int, **rest: Any) -> None:
        self.retries_ms.append(retry_in_ms)
        raise ConnectionError


def test_the_registrar_asks_for_hours_without_an_answer() -> None:
    clock, world = Clock(), Unreachable()
    stub: Any = world
    registrar = Registrar(
        stub,
        stub,
        metrics=Metrics(),
        accepted_key_ids=lambda: ["key-1"],
        is_open=lambda: True,
        clock=lambda: clock.now_s,
    )

    async def hours() -> None:
        for _ in range(FAILURES):
            await registrar.check()
            clock.now_s += MAX_BACKOFF_S

    asyncio.run(hours())
    assert world.asked == FAILURES
    assert world.retries_ms[:6] == [2_000, 4_000, 8_000, 16_000, 32_000, MAX_BACKOFF_S * 1000]
    assert world.retries_ms[-1] == MAX_BACKOFF_S * 1000


@pytest.mark.parametrize(("failures", "pause_s"), [(0, 2), (1, 4), (4, 32), (5, 60), (10**9, 60)])
def test_a_pause_doubles_up_to_the_longest(failures: int, pause_s: float) -> None:
    assert pause_after(failures, first=2, longest=60) == pause_s
