"""The pipe between a child and its supervisor: what means ready, and what means that the child hangs."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.harness import eventually
from workers.process import supervisor
from workers.process.supervisor import READY_FD, Child

CHILD = f"""
import os, sys, time
pipe = int(os.environ["{READY_FD}"])
with open(sys.argv[1], "a") as starts:
    starts.write("x")
"""
SILENT = CHILD + 'os.write(pipe, b"r"); os.close(pipe); sys.stdin.read()'
HANGS = CHILD + 'os.write(pipe, b"rb"); time.sleep(600)'
STAYS = (
    CHILD
    + 'import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); os.write(pipe, b"r"); time.sleep(600)'
)
BEATS = CHILD + "\nwhile True:\n    os.write(pipe, b'rb'); time.sleep(0.02)"


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "_BEAT_S", 0.2)
    monkeypatch.setattr(supervisor, "_MISSED_BEATS", 15)


@pytest.mark.parametrize(("code", "hangs"), [(SILENT, False), (BEATS, False), (HANGS, True)])
def test_only_a_child_that_stops_beating_is_replaced(tmp_path: Path, code: str, hangs: bool) -> None:
    """A child of an earlier version writes one byte and closes the pipe; it is not watched."""
    starts = tmp_path / "starts"
    starts.touch()

    async def run() -> None:
        stop = asyncio.Event()
        child = Child([sys.executable, "-c", code, str(starts)], os.environ, name="child")
        keeping = asyncio.create_task(child.keep_running(stop))
        await asyncio.wait_for(child.ready.wait(), 60)
        if hangs:
            await eventually(lambda: _are(len(starts.read_bytes()) > 1))
        else:
            await asyncio.sleep(30 * 0.2)  # twice as long as one that hangs has
            assert starts.read_bytes() == b"x"
        stop.set()
        assert await asyncio.wait_for(keeping, 60) == 0

    asyncio.run(run())


@pytest.mark.parametrize(("code", "hangs"), [(STAYS, False), (HANGS, True)])
def test_a_child_that_ends_just_before_it_is_killed_is_no_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, hangs: bool
) -> None:
    """asyncio knows the end of a process some steps before `wait` returns, and then refuses to kill it."""
    start, killed = asyncio.create_subprocess_exec, []

    async def started(*command: str, **options: Any) -> asyncio.subprocess.Process:
        process = await start(*command, **options)

        def kill() -> None:
            killed.append(process.pid)
            os.kill(process.pid, signal.SIGKILL)
            raise ProcessLookupError

        monkeypatch.setattr(process, "kill", kill)
        return process

    monkeypatch.setattr(asyncio, "create_subprocess_exec", started)
    monkeypatch.setattr(supervisor, "_MISSED_BEATS", 2)

    async def run() -> None:
        stop, command = asyncio.Event(), [sys.executable, "-c", code, str(tmp_path / "starts")]
        child = Child(command, os.environ, name="child", grace_s=0.01)
        keeping = asyncio.create_task(child.keep_running(stop))
        async with asyncio.timeout(60):
            await child.ready.wait()
            if hangs:
                await eventually(lambda: _are(bool(killed)))
            stop.set()
            assert await keeping == 0

    asyncio.run(run())
    assert killed


async def _are(holds: bool) -> bool:
    return holds
