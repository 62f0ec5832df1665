"""A handler that fails for everything does not fill the disk with log lines, and they say how often it failed."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from datetime import datetime
from pathlib import Path

import pytest

from eventlog.connection.embedded import EmbeddedServer
from eventlog.log import EventLog
from tests.harness import event, opened, position, soon, worker

EVENTS = 2_000
LINES_PER_S = 50
ATTEMPTS_PER_S = 150  # on a busy machine
HANDLERS = """
from handlers import Backoff, Context, Event, GiveUp, Raw, handler

@handler("failing", on=["wrong"], start="oldest", backoff=Backoff(base_s=0.01, cap_s=0.01), max_attempts=3)
async def failing(event: Event[Raw], ctx: Context) -> None:
    if event.payload.data["n"] % 2:
        raise GiveUp("no address")
    exec(compile("\\n" * (event.payload.data["n"] % {places}) + "raise RuntimeError", "places", "exec"))
"""


@pytest.mark.parametrize("places", [1, 60])
def test_lines_of_failures_are_bounded_by_causes_and_seconds(
    valkey: EmbeddedServer, prefix: str, tmp_path: Path, places: int
):
    file, log_file = tmp_path / "failing.py", tmp_path / "worker.log"
    file.write_text(HANDLERS.format(places=places))

    async def fill() -> None:
        async with opened(valkey.url, prefix) as log:
            for first in range(0, EVENTS, 100):
                await log.append([event("wrong", f"session:{n}", n=n) for n in range(first, first + 100)])

    async def dead() -> int:
        async with opened(valkey.url, prefix) as log:
            return (await position(log, "failing")).dead if await _declared(log) else 0

    asyncio.run(fill())
    environ = {"AWR_HANDLERS_ALLOW": "failing", "AWR_LOG_FORMAT": "json"}
    begun_s = time.monotonic()
    with worker(valkey.url, prefix, [file], environ, log_file) as running:
        soon(lambda: asyncio.run(dead()) == EVENTS, within_s=120, every_s=0.2)
        assert running.stop() == 0
    seconds = time.monotonic() - begun_s
    lines = [json.loads(line) for line in log_file.read_text().splitlines() if line.startswith("{")]
    failures = [line for line in lines if line["event"].startswith("delivery.")]
    # Three causes: given up, tried again, and out of attempts. Many of them share ten lines a second.
    assert len(failures) <= (3 if places == 1 else 10) * (seconds + 2)
    counts = {
        name: sum(line.get("failures", 1) for line in failures if line["event"] == name)
        for name in ("delivery.dead", "delivery.retry_scheduled")
    }
    assert counts == {"delivery.dead": EVENTS, "delivery.retry_scheduled": EVENTS}

    # All lines, of any kind, at the rate at which attempts really failed.
    times = [datetime.fromisoformat(line["timestamp"]) for line in failures]
    attempts_per_s = 2 * EVENTS / max(1.0, (max(times) - min(times)).total_seconds())
    assert attempts_per_s >= ATTEMPTS_PER_S
    busiest = max(Counter(line["timestamp"][:19] for line in lines).values())
    assert busiest <= LINES_PER_S
    assert (len({line.get("where") for line in failures}) > 10) == (places > 1)


async def _declared(log: EventLog) -> bool:
    return "failing" in {found.name for found in await log.handlers(measure=False)}
