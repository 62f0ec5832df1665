"""A plugin author's type checkers find what would fail at run time, and nothing else."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
FILES = [FOLDER / "plugin_author.py", FOLDER / "kit_user.py"]
ROOT = FOLDER.parents[1]
DOCUMENTS = [ROOT / "handlers" / "README.md", ROOT / "handlers" / "testing" / "README.md"]

_BLOCK = re.compile(r"(<!-- not executed: [^\n]* -->\n)?^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def _marked(file: Path) -> set[int]:
    lines = file.read_text().splitlines()
    return {number for number, line in enumerate(lines, 1) if line.endswith("# refused")}


def _printed(*command: str) -> str:
    checked = subprocess.run(
        [sys.executable, "-m", *command], capture_output=True, text=True, cwd=ROOT, check=False
    )
    return checked.stdout + checked.stderr


def _mypy(*files: Path) -> str:
    return _printed("mypy", "--strict", "--no-error-summary", "--follow-imports=silent", *map(str, files))


@pytest.fixture(scope="module")
def mypy_printed() -> str:
    return _mypy(*FILES)


@pytest.fixture(scope="module")
def pyright_printed() -> str:
    """Editors use pyright. Its Node comes with the package: nothing is downloaded."""
    return _printed("basedpyright", "--pythonpath", sys.executable)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_mypy_refuses_what_is_marked_and_nothing_else(file: Path, mypy_printed: str) -> None:
    found = {int(line) for line in re.findall(rf"{file.name}:(\d+): error", mypy_printed)}
    assert found == _marked(file), mypy_printed


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_pyright_refuses_what_is_marked(file: Path, pyright_printed: str) -> None:
    errors = re.findall(r"^\s*(\S+\.py):(\d+):\d+ - error", pyright_printed, re.MULTILINE)
    assert {int(line) for path, line in errors if path == str(file)} == _marked(file), pyright_printed


def test_pyright_refuses_nothing_in_handlers(pyright_printed: str) -> None:
    errors = re.findall(r"^\s*(\S+\.py):(\d+):\d+ - error", pyright_printed, re.MULTILINE)
    assert [f"{path}:{line}" for path, line in errors if path not in map(str, FILES)] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.parent.name)
def test_mypy_accepts_every_documented_example(document: Path, tmp_path: Path) -> None:
    """The blocks of a document are one module, as when they are executed."""
    blocks = [code for left_out, code in _BLOCK.findall(document.read_text()) if not left_out]
    assert len(blocks) >= 4
    module = tmp_path / "documented.py"
    module.write_text("\n".join(blocks))
    printed = _mypy(module)
    assert printed == "", printed
