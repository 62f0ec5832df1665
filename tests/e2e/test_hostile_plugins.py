"""Handlers that attack the process that runs them: others are served, and the worker stops when asked to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from eventlog.connection.embedded import EmbeddedServer
from tests.harness import PATIENCE_S, event, on_log, soon

PLUGIN = """
import asyncio, os
from handlers import Context, Event, Raw, handler

def note(text):
    with open(os.environ["REC_OUT"], "a") as out:
        out.write(text + "\\n")

@handler("acme.bad", on=["*"], start="oldest", timeout_s=5)
async def bad(event: Event[Raw], ctx: Context) -> None:
    if event.payload.data["n"] == 1:
        note("attack")
        {attack}

@handler("acme.good", on=["*"], start="oldest")
async def good(event: Event[Raw], ctx: Context) -> None:
    note(f"good {{event.payload.data['n']}}")
"""
ATTACKS = {
    "stop the loop": ("asyncio.get_running_loop().stop()", "worker.exit_ignored"),
    "cancel all tasks": ("[task.cancel() for task in asyncio.all_tasks()]", "worker.recycling"),
}


def run(url: str, prefix: str, tmp_path: Path, source: str) -> tuple[str, int]:
    """Let a worker handle eight events; return the log, and the exit code after SIGTERM."""
    file, out, lines = tmp_path / "hostile.py", tmp_path / "out", tmp_path / "log"
    file.write_text(source)
    out.touch()

    async def append(log) -> None:
        await log.claim("", "")
        await log.append([event("x", f"session:{n}", n=n) for n in range(8)])

    on_log(url, prefix, append)
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("AWR_", "RQ_"))} | {
        "AWR_REDIS_URL": url,
        "AWR_KEY_PREFIX": prefix,
        "AWR_LANES": "4",
        "AWR_REGISTER": "off",
        "AWR_ADMIN_PORT": "0",
        "AWR_HANDLERS_ALLOW": "acme.bad,acme.good",
        "REC_OUT": str(out),
    }
    with lines.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "commands", "worker", "--load", str(file)],
            stderr=log,
            env=environ,
            start_new_session=True,
        )
        try:
            good = {f"good {n}" for n in range(8)}
            soon(lambda: good <= set(out.read_text().splitlines()))
            soon(lambda: "attack" in out.read_text())
            process.send_signal(signal.SIGTERM)
            code = process.wait(PATIENCE_S)
            soon(lambda: not _group(process.pid))
        finally:
            if process.poll() is None or _group(process.pid):
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(PATIENCE_S)
    return lines.read_text(), code


def _group(leader: int) -> bool:
    """Return whether a process of this session is left."""
    try:
        os.killpg(leader, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("name", ATTACKS)
def test_a_handler_that_attacks_its_process_leaves_the_others_served(
    valkey: EmbeddedServer, prefix: str, tmp_path: Path, name: str
) -> None:
    attack, line = ATTACKS[name]
    log, code = run(valkey.url, prefix, tmp_path, PLUGIN.format(attack=attack))
    assert code == 0
    assert line in log
