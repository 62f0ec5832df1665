"""A plugin author's type checkers find what would fail at run time, and nothing else."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

FILE = Path(__file__).with_name("plugin_author.py")
ROOT = FILE.parents[2]


def _marked() -> set[int]:
    lines = FILE.read_text().splitlines()
    return {number for number, line in enumerate(lines, 1) if line.endswith("# refused")}


def _printed(*command: str) -> str:
    checked = subprocess.run(
        [sys.executable, "-m", *command], capture_output=True, text=True, cwd=ROOT, check=False
    )
    return checked.stdout + checked.stderr


def test_mypy_refuses_what_is_marked_and_nothing_else() -> None:
    printed = _printed("mypy", "--strict", "--no-error-summary", "--follow-imports=silent", str(FILE))
    found = {int(line) for line in re.findall(rf"{FILE.name}:(\d+): error", printed)}
    assert found == _marked(), printed


def test_pyright_refuses_what_is_marked_and_nothing_in_handlers() -> None:
    """Editors use pyright. Its Node comes with the package: nothing is downloaded."""
    printed = _printed("basedpyright", "--pythonpath", sys.executable)
    errors = re.findall(r"^\s*(\S+\.py):(\d+):\d+ - error", printed, re.MULTILINE)
    assert {int(line) for path, line in errors if path == str(FILE)} == _marked(), printed
    assert [f"{path}:{line}" for path, line in errors if path != str(FILE)] == []
