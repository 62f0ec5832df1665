"""On a machine without the programs that some tests need, the run ends by naming what did not run."""

import subprocess
import sys
from pathlib import Path

from tests.meta.repository import ROOT
from tests.programs import PROGRAMS


def test_what_did_not_run_stands_right_above_the_result(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "tests/meta/test_observability.py"],
        cwd=ROOT,
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    *_, skipped, line, result = done.stdout.splitlines()
    assert done.returncode == 0, done.stdout
    assert skipped.startswith("SKIPPED")
    assert line.startswith("not run: ")
    assert [program for program in PROGRAMS if f"(no {program})" not in line] == []
    assert "2 skipped" in result
