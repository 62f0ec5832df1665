"""Where the repository is, what its packages are called, and how to get a copy of it to break things in."""

import shutil
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROOMS = ("ampeco", "eventlog", "handlers", "workers", "receiver", "console", "commands", "pytest_ampeco")
MODULES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))

_NOT_OURS = (
    ".git",
    ".venv*",
    "__pycache__",
    ".*_cache",
    ".hypothesis",
    "*.egg-info",
    "build",
    "dist",
    "*.aof",
    "*.rdb",
)


def copy_to(folder: Path, source: Path = ROOT) -> Path:
    """Copy what belongs to the repository, or a part of it, into the folder, which must not exist yet; returns it."""
    return shutil.copytree(source, folder, ignore=shutil.ignore_patterns(*_NOT_OURS))
