"""The peers that run on Node, installed from their lock file. Without Node there are none.

They are installed under `build/`, which is ignored and thrown away with it.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

OLDEST = 20

_SOURCES = Path(__file__).with_name("bullmq")
_FOLDER = Path(__file__).parents[1] / "build" / "bullmq"
_INSTALL_TIMEOUT_S = 120.0


class NoNode(Exception):
    """The peers on Node cannot be measured here; says why."""


def installed() -> Path:
    """Return the folder that holds `door.mjs`, `worker.mjs` and their packages.

    Raises:
        NoNode: no Node, too old a one, or the packages cannot be fetched.
    """
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise NoNode("node and npm are not installed")
    version = _output([node, "--version"]).lstrip("v")
    if int(version.partition(".")[0]) < OLDEST:
        raise NoNode(f"node is {version}, older than {OLDEST}")
    lock = _FOLDER / "package-lock.json"
    fresh = lock.exists() and lock.read_bytes() == (_SOURCES / lock.name).read_bytes()
    if not (fresh and (_FOLDER / "node_modules" / ".package-lock.json").exists()):
        shutil.rmtree(_FOLDER, ignore_errors=True)
        shutil.copytree(_SOURCES, _FOLDER, ignore=shutil.ignore_patterns("node_modules"))
        _output([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], _FOLDER)
    for source in _SOURCES.glob("*.mjs"):
        shutil.copy(source, _FOLDER)
    return _FOLDER


def _output(command: list[str], folder: Path | None = None) -> str:
    try:
        ran = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=_INSTALL_TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise NoNode(f"{Path(command[0]).name} {command[1]} failed ({type(error).__name__})") from error
    return ran.stdout.strip()
