"""Real worker processes share a backlog: one joins, leaves politely, and is killed."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from eventlog.connection.embedded import EmbeddedServer
from eventlog.log import EventLog
from eventlog.presence import present
from tests.e2e.test_worker_deaths import Scene, in_log
from tests.harness import Worker, declaration, event, soon, worker

EVENTS, KEYS, LANES = 24_000, 64, 8
COUNTED = 1_500

RECORDER = """
import asyncio, os
from handlers import Context, Event, Raw, handler

FILE = os.open(os.environ["RECORD_TO"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
QUICK = os.environ["RECORD_TO"] + ".quick"

@handler("recorder", on=["*"], start="oldest")
async def record(event: Event[Raw], ctx: Context) -> None:
    os.write(FILE, b'["%s", %d, %d]\\n' % (event.key.encode(), event.payload.data["n"], os.getpid()))
    if not os.path.exists(QUICK):
        await asyncio.sleep(0.3)  # so the pace depends on lanes, and not on processors
"""


class Backlog(Scene):
    """A log whose backlog keeps two processes busy for a while."""

    def __init__(self, server: EmbeddedServer, prefix: str, folder: Path) -> None:
        super().__init__(server, prefix, folder)
        self.file.write_text(RECORDER)

    def joined(self) -> contextlib.AbstractContextManager[Worker]:
        environ = {"RECORD_TO": str(self.record), "AWR_LANES": str(LANES)}
        return worker(self.server.url, self.prefix, [self.file], environ, self.folder / "worker.log")

    def pairs(self) -> dict[int, int]:
        """How many pairs each live process says it holds, by its process id."""

        async def read(log: EventLog) -> dict[int, int]:
            return {
                int(each.label.rpartition(":")[2]): len(each.parts["recorder"].held)
                for each in await present(log)
            }

        return in_log(self, read)  # type: ignore[return-value]

    def shared_by(self, *workers: Worker) -> bool:
        return self.pairs() == {each.process.pid: LANES // len(workers) for each in workers}

    def shares(self, first: int) -> Counter[int]:
        """Which process started how many of the events after the first so many."""
        return Counter(pid for _, _, pid in self.lines()[first:])  # type: ignore[misc]

    def started(self) -> int:
        """How many attempts were started."""
        return self.record.read_bytes().count(b"\n") if self.record.exists() else 0

    def done(self) -> int:
        async def read(log: EventLog) -> int:
            return int(await log.redis.hget(log.key("stats", "recorder"), "done") or 0)

        return in_log(self, read)  # type: ignore[return-value]

    def finish(self) -> None:
        """Let the rest take no time."""
        Path(f"{self.record}.quick").touch()

    def log_lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "worker.log").read_bytes().splitlines()]


@pytest.fixture
def scene(valkey: EmbeddedServer, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Backlog:
    scene = Backlog(valkey, prefix, tmp_path)
    handler = scene.handler(monkeypatch)

    async def fill(_: EventLog) -> None:
        log = EventLog(_.redis, prefix=scene.prefix, lanes=LANES)
        await log.declare([declaration(handler)])
        of_lane: dict[int, list[str]] = {}
        for key in (f"session:{n}" for n in range(20 * KEYS)):
            of_lane.setdefault(log.lane_of(key, b""), []).append(key)
        keys = [key for some in of_lane.values() for key in some[: KEYS // LANES]]
        assert len(keys) == KEYS
        for first in range(0, EVENTS, 250):
            await log.append([event("t", keys[n % KEYS], n=n) for n in range(first, first + 250)])

    in_log(scene, fill)
    return scene


def test_a_second_worker_takes_its_share_of_a_backlog_and_hands_it_back(scene: Backlog):
    with scene.joined() as first:
        soon(lambda: scene.started() > 500)
        with scene.joined() as second:
            soon(lambda: scene.shared_by(first, second), every_s=0.1)
            before = scene.started()
            soon(lambda: scene.started() >= before + COUNTED, every_s=0.1)
            shares = scene.shares(before)
            assert min(shares[each.process.pid] for each in (first, second)) >= 0.3 * shares.total()
            assert second.stop() == 0
        soon(lambda: scene.shared_by(first), every_s=0.1)
        started = [n for _, n, _ in scene.lines()]
        assert len(set(started)) == len(started), "a polite hand-over repeats nothing"
        with scene.joined() as third:
            soon(lambda: scene.shared_by(first, third), every_s=0.1)
            third.kill()
        soon(lambda: set(scene.pairs()) == {first.process.pid}, every_s=0.1)
        assert scene.started() < EVENTS, "the backlog ended too soon"
        scene.finish()
        soon(lambda: scene.done() == EVENTS, within_s=60, every_s=0.1)
        assert first.stop() == 0
    furthest: dict[object, int] = {}
    for key, n, _ in scene.lines():
        assert n >= furthest.get(key, -1), f"{key}: {n} started after {furthest[key]}"
        furthest[key] = n  # type: ignore[assignment]
    assert len({n for _, n, _ in scene.lines()}) == EVENTS
    assert not [line for line in scene.log_lines() if line["event"] == "lease.lost"]
