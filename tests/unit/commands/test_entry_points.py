"""The names under which the program is started."""

import asyncio
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from commands.processes import own_command
from handlers.discovery import discover
from workers.process.supervisor import Child

HANDLER = """
from ampeco.notifications import SessionStartStop
from handlers import Context, Event, handler

@handler("acme.local")
async def local(event: Event[SessionStartStop], ctx: Context) -> None:
    pass
"""


@pytest.mark.parametrize("module", ["commands", "receiver"])
def test_the_old_module_name_runs_the_same_program(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module, "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == version("ampeco-receiver")


def test_children_do_not_import_from_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for room in ("commands", "receiver", "handlers", "workers", "eventlog", "ampeco"):
        (tmp_path / f"{room}.py").write_text("raise SystemExit('imported from the current folder')")
    monkeypatch.chdir(tmp_path)
    output = tmp_path / "output"

    async def run_once() -> int:
        stop = asyncio.Event()
        with output.open("wb") as file:
            child = Child(
                own_command("--version"), os.environ, name="version", output=file.fileno(), on_end=stop.set
            )
            return await child.keep_running(stop)

    assert asyncio.run(run_once()) == 0
    assert output.read_text().strip() == version("ampeco-receiver")


def test_a_module_in_the_current_folder_can_be_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes last, so that a file of one of our names is not taken for ours."""
    (tmp_path / "acme_local_handlers.py").write_text(HANDLER)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    found = discover(load=["acme_local_handlers"], allow=["acme.local"])
    assert [item.handler.name for item in found.found] == ["acme.local"]
    assert sys.path[-1] == str(tmp_path)
    sys.modules.pop("acme_local_handlers")
