"""A clean virtual environment with our wheel and a plugin's, as an operator would make one.

What both depend on comes from the environment of the tests: nothing is downloaded. Our own source is not on its path.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.meta.repository import copy_to

_PIP = ("-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input")
_OFFLINE = ("--no-index", "--no-deps")


class Installed:
    """The environment."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def bin(self) -> Path:
        """Its programs."""
        return self._folder / "bin"

    @property
    def environ(self) -> dict[str, str]:
        """The environment variables of a shell in which it is active."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWR_", "PYTEST_"))}
        kept.pop("PYTHONPATH", None)
        return {**kept, "PATH": f"{self.bin}{os.pathsep}{kept.get('PATH', os.defpath)}", "NO_COLOR": "1"}

    def run(
        self, *command: str, cwd: Path, environ: Mapping[str, str] | None = None, timeout_s: float = 240
    ) -> subprocess.CompletedProcess[str]:
        """Run one of its programs to the end."""
        return subprocess.run(
            [str(self.bin / command[0]), *command[1:]],
            cwd=cwd,
            env={**self.environ, **(environ or {})},
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )


def installed(folder: Path, plugin: Path) -> Installed:
    """Build our wheel and the plugin's, and install both into an environment of their own.

    Args:
        folder: where to make everything; must not exist.
        plugin: folder of the plugin's distribution.
    """
    ours, theirs = copy_to(folder / "ours"), copy_to(folder / "theirs", plugin)
    wheels = folder / "wheels"
    for source in (ours, theirs):
        _pip("wheel", *_OFFLINE, "--no-build-isolation", "--wheel-dir", str(wheels), str(source))
    venv.create(folder / "venv", symlinks=True)
    python = folder / "venv" / "bin" / "python"
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(folder / "venv")}))
    (packages / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    _pip("--python", str(python), "install", *_OFFLINE, *map(str, sorted(wheels.glob("*.whl"))))
    return Installed(folder / "venv")


def _pip(*words: str) -> None:
    before: Sequence[str] = words[:2] if words[0] == "--python" else ()
    subprocess.run([sys.executable, *_PIP, *before, *words[len(before) :]], check=True, timeout=120)
