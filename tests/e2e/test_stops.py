"""Processes end in time with a Redis that answers, hangs or is gone, and leave no orphan."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from eventlog.connection.embedded import EmbeddedServer
from tests.e2e.process_tree import Command, started
from tests.e2e.test_isolation import Scene
from tests.harness import event, soon

ENDS_WITHIN_S, ORPHANS_END_WITHIN_S = 20.0, 30.0
STARTS_WITHIN_S = 90.0  # two generations of processes, on a loaded machine
COMMANDS = {
    "worker": ("worker",),
    "worker-two": ("worker", "--processes", "2"),
    "serve": ("serve",),
    "serve-two": ("serve", "--processes", "2"),
}
STATES = ("up", "down", "hung")
STRIKES = ("term", "kill-parent", "kill-child")
MOMENTS = ("idle", "work", "starting")
# Each pair of state, strike and moment is in one of nine cases; ALL_STOPS=1 tries all twenty-seven.
CASES = [
    *[
        ("worker", state, strike, at)
        for row, state in enumerate(STATES)
        for column, strike in enumerate(STRIKES)
        for place, at in enumerate(MOMENTS)
        if os.environ.get("ALL_STOPS") or (row + column + place) % 3 == 0
    ],
    *[("worker-two", "hung", strike, "idle") for strike in STRIKES],
    *[("serve", state, "term", "idle") for state in STATES],
    *[("serve-two", "hung", strike, "idle") for strike in STRIKES],
]


@pytest.fixture
def server(tmp: Path) -> Iterator[EmbeddedServer]:
    with EmbeddedServer(tmp / "store") as server:
        yield server


@pytest.fixture
def scene(server: EmbeddedServer, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    scene = Scene(server, prefix, tmp_path)
    scene.declare(monkeypatch)
    return scene


@contextlib.contextmanager
def redis_is(state: str, server: EmbeddedServer) -> Iterator[None]:
    if state == "down":
        server.stop()
        yield
        server.start()
    elif state == "hung":
        os.kill(server.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(server.pid, signal.SIGCONT)
    else:
        yield


@contextlib.contextmanager
def running(name: str, scene: Scene, tmp: Path) -> Iterator[Command]:
    loads = ("--load", str(scene.file)) if "worker" in name else ()
    settings = {**scene.settings, "AWR_PORT": "0", "AWR_SIGNING_KEYS": "some-key-of-ours"}
    with started(*COMMANDS[name], *loads, tmp=tmp, **settings) as command:
        yield command


def wait_until_idle(name: str, command: Command) -> None:
    if "worker" in name:
        command.says(r"default\.isolated.*worker\.started", within_s=STARTS_WITHIN_S)
    else:
        command.says(r"\.opened", within_s=STARTS_WITHIN_S)
    if "two" in name:
        line = ".opened" if "serve" in name else ".isolated"
        soon(lambda: (command.stdout + command.stderr).count(line) >= 2, within_s=STARTS_WITHIN_S)


@pytest.mark.parametrize(("name", "state", "strike", "at"), CASES)
def test_nothing_is_left(
    scene: Scene, server: EmbeddedServer, tmp: Path, name: str, state: str, strike: str, at: str
) -> None:
    with contextlib.ExitStack() as broken:
        if at == "starting":
            broken.enter_context(redis_is(state, server))
        with running(name, scene, tmp) as command:
            if at != "starting":
                wait_until_idle(name, command)
            elif state != "up":
                command.says("redis.unreachable")
            else:
                soon(lambda: len(command.running()) > 1)
            if at == "work":
                scene.append(event("wild", "session:1", n=1, do="take"))
                soon(lambda: scene.notes("start"), within_s=STARTS_WITHIN_S)
            if at != "starting":
                broken.enter_context(redis_is(state, server))
            struck(command, strike, at_work=at == "work")


def struck(command: Command, strike: str, *, at_work: bool) -> None:
    if strike == "kill-child":
        before = command.running()
        del before[command.process.pid]
        os.kill(next(pid for pid, line in before.items() if "--isolated" not in line), signal.SIGKILL)
        command.says(r"process\.ended")
    if strike == "kill-parent":
        command.kill()
        command.leaves_nothing(within_s=ORPHANS_END_WITHIN_S)
        return
    command.ask_to_end()
    command.leaves_nothing(within_s=ORPHANS_END_WITHIN_S if at_work else ENDS_WITHIN_S)
