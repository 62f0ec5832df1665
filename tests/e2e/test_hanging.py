"""A process that hangs is named and replaced, and nothing that hangs keeps a stop for longer than its limit."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from eventlog.connection.embedded import EmbeddedServer
from tests.e2e.process_tree import Command, started
from tests.e2e.test_isolation import Scene
from tests.harness import event, soon

HANGS = """
import asyncio, contextlib, os, time
from handlers import Context, Event, Raw, handler

async def stubborn():
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)

@contextlib.asynccontextmanager
async def lifespan():
    yield
    if os.environ["HANGS"] == "waits":
        await stubborn()
    time.sleep(3600)

@handler("hangs", on=["wild"], timeout_s=0.5, lifespan=lifespan)
async def hangs(event: Event[Raw], ctx: Context) -> None:
    pass
"""
FORCED_WITHIN_S = 30.0  # 0.5 s + 10 s of grace, 7 s beyond it, and a loaded machine


@pytest.fixture
def scene(valkey: EmbeddedServer, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    scene = Scene(valkey, prefix, tmp_path)
    scene.declare(monkeypatch)
    return scene


@pytest.mark.parametrize("isolated", [False, True], ids=["worker", "isolated"])
def test_a_child_that_hangs_is_named_and_replaced(scene: Scene, tmp: Path, isolated: bool) -> None:
    with started("worker", "--load", str(scene.file), tmp=tmp, **scene.settings) as command:
        command.says(r"default\.isolated.*worker\.started", within_s=90)
        stopped = _child(command, isolated=isolated)
        os.kill(stopped, signal.SIGSTOP)
        said = command.says(r".*it hangs.*process\.killed.*", within_s=60).group()
        assert f'"pid": {stopped}' in said
        assert f'"process": "{"isolated" if isolated else "worker"}"' in said
        scene.append(event("wild", "session:1", n=1))
        soon(lambda: scene.notes("end") and scene.notes("ordinary"), within_s=60)
        command.ask_to_end()
        assert command.ends() == 0
        command.leaves_nothing()


@pytest.mark.parametrize("how", ["waits", "blocks"])
def test_a_lifespan_that_hangs_at_the_stop_is_cut_off(
    valkey: EmbeddedServer, prefix: str, tmp: Path, tmp_path: Path, how: str
) -> None:
    file = tmp_path / "hanging_handlers.py"
    file.write_text(HANGS)
    scene = Scene(valkey, prefix, tmp_path)
    environ = {**scene.settings, "AWR_HANDLERS_ALLOW": "hangs", "HANGS": how}
    with started("worker", "--load", str(file), tmp=tmp, **environ) as command:
        command.says(r"worker\.started", within_s=90)
        command.ask_to_end()
        command.leaves_nothing(within_s=FORCED_WITHIN_S)
        command.ends()
        assert "process.stop_forced" in command.stderr or "it hangs" in command.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_two_signals_leave_nothing(scene: Scene, tmp: Path, number: signal.Signals) -> None:
    with started("worker", "--load", str(scene.file), tmp=tmp, **scene.settings) as command:
        command.says(r"default\.isolated.*worker\.started", within_s=90)
        for pid in (*command.running(), command.process.pid):  # each one, and one of them twice
            os.kill(pid, number)
        command.leaves_nothing()


def _child(command: Command, *, isolated: bool) -> int:
    """The worker's process id, or that of its process for isolated handlers."""
    lines = command.running()
    del lines[command.process.pid]
    (found,) = (pid for pid, line in lines.items() if ("--isolated" in line) is isolated)
    return found
