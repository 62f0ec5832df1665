"""A plugin author's type checker finds what would fail at run time, and nothing else."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

FILE = Path(__file__).with_name("plugin_author.py")


def test_mypy_refuses_what_is_marked_and_nothing_else() -> None:
    checked = subprocess.run(
        [
            sys.executable,
            "-m",
            "mypy",
            "--strict",
            "--no-error-summary",
            "--follow-imports=silent",
            str(FILE),
        ],
        capture_output=True,
        text=True,
        cwd=FILE.parents[2],
        check=False,
    )
    found = {int(line) for line in re.findall(rf"{FILE.name}:(\d+): error", checked.stdout)}
    lines = FILE.read_text().splitlines()
    expected = {number for number, line in enumerate(lines, 1) if line.endswith("# refused")}
    assert found == expected, checked.stdout + checked.stderr
