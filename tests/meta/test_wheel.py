"""What is installed from the wheel: everything the packages need, and nothing else."""

import subprocess
import sys
import tomllib
import zipfile
from email.parser import Parser

import pytest

from tests.meta.repository import ROOMS, ROOT, copy_to

NOT_SHIPPED = {ROOT / "ampeco" / "generator", ROOT / "ampeco" / "facts", ROOT / "console" / "pictures"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel, built from a copy so that no build folder is left behind."""
    folder = copy_to(tmp_path_factory.mktemp("wheel") / "copy")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"]
    subprocess.run(
        [*pip, "--no-index", "--no-deps", "--no-build-isolation", "--wheel-dir", folder / "dist", "."],
        cwd=folder,
        check=True,
    )
    (path,) = (folder / "dist").glob("*.whl")
    return zipfile.ZipFile(path)


def test_holds_every_file_of_the_packages(wheel: zipfile.ZipFile) -> None:
    """Lua scripts, JSON tables, `py.typed` and documents included."""
    files = {
        str(path.relative_to(ROOT))
        for room in ROOMS
        for path in (ROOT / room).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and NOT_SHIPPED.isdisjoint(path.parents)
    }
    assert files - set(wheel.namelist()) == set()
    assert "ampeco/operations/table.json" in files
    for room in ROOMS:
        assert f"{room}/py.typed" in files
    assert any(name.startswith("eventlog/scripts/") and name.endswith(".lua") for name in files)


def test_holds_nothing_else(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist() if ".dist-info/" not in name}
    assert tops == set(ROOMS)
    left_out = tuple(f"{folder.relative_to(ROOT)}/" for folder in NOT_SHIPPED)
    assert [name for name in wheel.namelist() if name.startswith(left_out)] == []


def test_says_who_it_is(wheel: zipfile.ZipFile) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    info = f"ampeco_receiver-{project['version']}.dist-info"
    metadata = Parser().parsestr(wheel.read(f"{info}/METADATA").decode())
    assert metadata["License-Expression"] == "MIT"
    assert wheel.read(f"{info}/licenses/LICENSE").decode().startswith("MIT License")
    points = wheel.read(f"{info}/entry_points.txt").decode()
    assert "ampeco-receiver = commands:main" in points
    assert "[ampeco_receiver.handlers]" in points
