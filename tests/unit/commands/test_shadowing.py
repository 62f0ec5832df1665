"""A file that replaces one of our packages ends the program with one line."""

import base64
import hashlib
import os
import subprocess
import sys
from importlib.metadata import Distribution
from pathlib import Path

import pytest

from commands.shadowing import ROOMS, foreign_file, overwritten_file
from tests.meta import repository


@pytest.mark.parametrize("room", ROOMS)
def test_a_module_in_the_current_folder_is_named(room: str, tmp_path: Path) -> None:
    file = tmp_path / f"{room}.py"
    file.write_text("raise RuntimeError")
    done = subprocess.run(
        [sys.executable, "-m", "commands", "settings"],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if not name.startswith("AWR_")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == (
        f"ampeco-receiver: {file} replaces our package {room}; rename it, or start in another folder\n"
    )


def test_our_own_packages_are_accepted() -> None:
    assert foreign_file() is None


def test_every_room_is_looked_at() -> None:
    loaded_by_pytest = "pytest_ampeco"
    assert {*ROOMS, "commands", loaded_by_pytest} == set(repository.ROOMS)


def _installed(folder: Path, text: str) -> Distribution:
    """A distribution whose RECORD knows `text` as the content of handlers/__init__.py."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
    (folder / "handlers").mkdir(parents=True)
    (folder / "handlers" / "__init__.py").write_text(text)
    info = folder / "ampeco_receiver-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: ampeco-receiver\nVersion: 1.0\n")
    (info / "RECORD").write_text(f"handlers/__init__.py,sha256={digest},{len(text)}\n")
    return Distribution.at(info)


def test_a_wheel_that_overwrote_a_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = _installed(tmp_path, "ours = True\n")
    assert overwritten_file(installed) is None
    (tmp_path / "handlers" / "__init__.py").write_text("")
    assert overwritten_file(installed) == (
        f"{tmp_path}/handlers/__init__.py was overwritten; install ampeco-receiver again"
    )
    plugin = tmp_path / "acme_plugin-1.0.dist-info"
    plugin.mkdir()
    (plugin / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-plugin\nVersion: 1.0\n")
    (plugin / "RECORD").write_text("handlers/__init__.py,,\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert overwritten_file(installed) == (
        f"{tmp_path}/handlers/__init__.py was overwritten by acme-plugin; "
        "uninstall acme-plugin and install ampeco-receiver again"
    )
