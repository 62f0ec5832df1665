"""Handlers that fail for everything do not fill the disk with log lines, and the lines say how often they failed."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from ampeco.simulator.testing import tenant_in_a_box
from eventlog.connection.embedded import EmbeddedServer
from eventlog.log import EventLog
from tests.harness import event, opened, soon, worker

LINES_PER_S = 50
ATTEMPTS_OF_A_LINE = 3  # at the least, however slow the machine is
NAMES = [f"failing-{n}" for n in range(20)]
HANDLERS = """
from handlers import Backoff, Context, Event, GiveUp, Raw, handler

def failing(name):
    @handler(name, on=["wrong"], start="oldest", backoff=Backoff(base_s=0.01, cap_s=0.01), max_attempts=3,
             calls=["charge-point.reset"])
    async def fail(event: Event[Raw], ctx: Context) -> None:
        n = event.payload.data["n"]
        if {acts}:
            await ctx.ampeco.actions.charge_point.reset(f"none-{{n}}", "soft")
        if n % 2:
            raise GiveUp("no address")
        exec(compile("\\n" * (n % {places}) + "raise RuntimeError", "places", "exec"))
    return fail

handlers = [failing(name) for name in {names}]
for made in handlers:
    globals()[made.name.replace("-", "_")] = made
"""


class Volume:
    """What a worker wrote while its handlers failed for all events."""

    def __init__(self, text: str) -> None:
        self.lines: list[dict[str, Any]] = [
            json.loads(line) for line in text.splitlines() if line.startswith("{")
        ]
        self.attempts = [
            line
            for line in self.lines
            if line["event"].startswith("delivery.") or line["event"] == "action.called"
        ]

    @property
    def busiest(self) -> int:
        """Lines of any kind in the second with most of them."""
        return max(Counter(line["timestamp"][:19] for line in self.lines).values())

    @property
    def seconds(self) -> float:
        times = [datetime.fromisoformat(line["timestamp"]) for line in self.attempts]
        return max(1.0, (max(times) - min(times)).total_seconds())

    @property
    def left_out(self) -> int:
        return sum(line["lines"] for line in self.lines if line["event"] == "lines.left_out")

    def counted(self, event: str) -> int:
        """How many attempts or calls the lines of one event stand for."""
        found = [line for line in self.lines if line["event"] == event]
        return sum(line.get("failures", line.get("calls", 1)) for line in found)


@pytest.mark.parametrize(("names", "events", "places"), [(1, 2_000, 1), (1, 2_000, 60), (20, 200, 1)])
def test_lines_are_bounded_by_causes_handlers_and_seconds(
    valkey: EmbeddedServer, prefix: str, tmp_path: Path, names: int, events: int, places: int
):
    said = _failed(valkey, prefix, tmp_path, NAMES[:names], events, places=places)
    # Each second event is given up at once; the others are tried again twice, and then given up.
    failures = said.counted("delivery.dead") + said.counted("delivery.retry_scheduled")
    assert failures + said.left_out == 2 * events * names
    assert 2 * events * names >= ATTEMPTS_OF_A_LINE * len(said.lines)
    assert said.busiest <= LINES_PER_S
    assert {line["handler"] for line in said.attempts} == set(NAMES[:names])
    assert (len({line.get("where") for line in said.attempts}) > 10) == (places > 1)
    if (names, places) == (1, 1):
        assert said.left_out == 0
        assert len(said.attempts) <= 3 * (said.seconds + 2)  # causes: given up, tried again, out of attempts
        assert said.counted("delivery.dead") == said.counted("delivery.retry_scheduled") == events


def test_lines_of_actions_are_bounded_too(valkey: EmbeddedServer, prefix: str, tmp_path: Path):
    names, events = NAMES[:4], 100
    with tenant_in_a_box() as box:
        environ = {"AWR_TENANT_URL": box.url, "AWR_API_TOKEN": box.token}
        said = _failed(valkey, prefix, tmp_path, names, events, environ, acts=True)
    assert said.counted("action.called") >= 1
    assert said.busiest <= LINES_PER_S
    counts = (said.counted(name) for name in ("delivery.dead", "delivery.retry_scheduled", "action.called"))
    assert sum(counts) + said.left_out >= 2 * len(names) * events  # an attempt and an action for each


def _failed(
    valkey: EmbeddedServer,
    prefix: str,
    folder: Path,
    names: list[str],
    events: int,
    environ: Mapping[str, str] | None = None,
    *,
    places: int = 1,
    acts: bool = False,
) -> Volume:
    """Let a worker fail for all events until each is dead."""
    file, log_file = folder / "failing.py", folder / "worker.log"
    file.write_text(HANDLERS.format(places=places, acts=acts, names=names))

    async def fill() -> None:
        async with opened(valkey.url, prefix) as log:
            for first in range(0, events, 100):
                await log.append([event("wrong", f"session:{n}", n=n) for n in range(first, first + 100)])

    async def dead() -> int:
        async with opened(valkey.url, prefix) as log:
            return await _dead(log)

    asyncio.run(fill())
    ours = {"AWR_HANDLERS_ALLOW": ",".join(names), "AWR_LOG_FORMAT": "json", **(environ or {})}
    with worker(valkey.url, prefix, [file], ours, log_file) as running:
        soon(lambda: asyncio.run(dead()) == events * len(names), within_s=120, every_s=0.2)
        assert running.stop() == 0
    return Volume(log_file.read_text())


async def _dead(log: EventLog) -> int:
    return sum(found.dead for found in await log.handlers())
