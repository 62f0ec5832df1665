"""`worker` as an operator runs it: processes share the work, end cleanly on SIGTERM, and restart when killed."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from eventlog.connection.embedded import EmbeddedServer
from eventlog.log import EventLog
from handlers.discovery import discover
from tests.e2e.process_tree import Command, started
from tests.e2e.test_worker_deaths import RECORDER
from tests.harness import declaration, event, on_log, position, soon

EVENTS = 300


class Scene:
    """A log with events, and workers on it."""

    def __init__(self, server: EmbeddedServer, prefix: str, folder: Path) -> None:
        self.server, self.prefix = server, prefix
        self.record = folder / "record.jsonl"
        self.record.touch()
        self.file = folder / "recorder.py"
        self.file.write_text(RECORDER)

    def in_log(self, work: Any) -> Any:
        return on_log(self.server.url, self.prefix, work)

    def start(self, *options: str, tmp: Path, takes_s: float) -> Any:
        environ = {
            "AWR_REDIS_URL": self.server.url,
            "AWR_KEY_PREFIX": self.prefix,
            "AWR_LANES": "4",
            "AWR_REGISTER": "off",
            "AWR_ADMIN_PORT": "0",
            "AWR_HANDLERS_ALLOW": "recorder",
            "RECORD_TO": str(self.record),
            "TAKES_S": str(takes_s),
        }
        return started("worker", "--load", str(self.file), *options, tmp=tmp, **environ)

    def notes(self, what: str) -> list[tuple[int, int]]:
        """(number of the event, process id) of each."""
        lines = [json.loads(line) for line in self.record.read_bytes().splitlines()]
        return [(n, pid) for said, _, n, pid in lines if said == what]

    def ended(self) -> int:
        return len({n for n, _ in self.notes("end")})

    def leases(self) -> int:
        async def count(log: EventLog) -> int:
            return await log.redis.exists(*(log.key("lease", "recorder", lane) for lane in range(log.lanes)))

        return self.in_log(count)


@pytest.fixture
def scene(valkey: EmbeddedServer, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    scene = Scene(valkey, prefix, tmp_path)
    monkeypatch.setenv("RECORD_TO", os.devnull)
    (found,) = discover(load=[str(scene.file)], allow=["recorder"]).found

    async def fill(log: EventLog) -> None:
        await log.declare([declaration(found.handler)])
        for first in range(0, EVENTS, 100):
            await log.append([event("t", f"session:{n}", n=n) for n in range(first, first + 100)])

    scene.in_log(fill)
    return scene


def _ready(command: Command, processes: int) -> None:
    soon(lambda: (command.stdout + command.stderr).count("worker.started") >= processes)


def test_sigterm_lets_attempts_finish_and_gives_the_leases_back(scene: Scene, tmp: Path):
    with scene.start(tmp=tmp, takes_s=0.5) as command:
        soon(lambda: scene.notes("start"))
        command.ask_to_end()
        assert command.ends() == 0
        assert not command.running()
    assert 0 < scene.ended() < EVENTS
    # No attempt was cut off, and the next worker need not wait for a lease to run out.
    assert sorted(n for n, _ in scene.notes("start")) == sorted(n for n, _ in scene.notes("end"))
    assert scene.leases() == 0
    with scene.start(tmp=tmp, takes_s=0.0) as command:
        soon(lambda: scene.ended() == EVENTS)
        command.ask_to_end()
        assert command.ends() == 0
    assert scene.in_log(lambda log: position(log, "recorder")).stats["done"] == EVENTS
    assert len(scene.notes("start")) == EVENTS


def test_processes_share_the_work_and_a_killed_one_comes_back(scene: Scene, tmp: Path):
    with scene.start("--processes", "2", tmp=tmp, takes_s=0.01) as command:
        _ready(command, 2)
        soon(lambda: scene.ended() == EVENTS)
        children = {pid for pid, line in command.running().items() if "--child" in line}
        assert len(children) == 2
        os.kill(children.pop(), signal.SIGKILL)
        _ready(command, 3)
        assert len([line for line in command.running().values() if "--child" in line]) == 2
        scene.in_log(lambda log: log.append([event("t", f"session:{n}", n=n) for n in range(300, 340)]))
        soon(lambda: scene.ended() == 340)
        command.ask_to_end(signal.SIGINT)
        assert command.ends() == 0
        assert not command.running()
