"""`handlers new`: what it writes passes its tests, its types and its lint at once."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from ampeco.catalogue import KNOWN_TYPES
from commands import main, scaffold

TYPES = ("session.start.stop.notification", "HardwareStatusNotification", "user.subscription.changed")


def new(folder: Path, *words: str) -> list[Path]:
    """Call `handlers new`; the files it has written."""
    before = set(folder.rglob("*"))
    with pytest.raises(SystemExit) as end:
        main.main(["handlers", "new", *words, "--folder", str(folder)], prog_name="ampeco-receiver")
    assert end.value.code == 0
    return sorted(path for path in set(folder.rglob("*")) - before if path.is_file())


def ran(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *words], cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One distribution for each type, and one with the longest name."""
    folder = tmp_path_factory.mktemp("packages")
    for number, name in enumerate(TYPES):
        new(folder, f"acme.number-{number}", "--package", "--type", name)
    new(folder, "a" * 64, "--package")
    return folder


def each(packages: Path) -> list[Path]:
    return sorted(path for path in packages.iterdir() if (path / "pyproject.toml").exists())


def test_its_tests_pass(packages: Path) -> None:
    for folder in each(packages):
        done = ran(folder, "pytest", "-q", "-p", "no:cacheprovider")
        assert done.returncode == 0, done.stdout
        assert "passed" in done.stdout


def test_its_types_are_right(packages: Path) -> None:
    for folder in (packages / "acme-number-0", packages / "acme-number-1"):
        done = ran(folder, "mypy", "--cache-dir", str(packages / ".mypy_cache"))
        assert done.returncode == 0, done.stdout


def test_its_lint_passes(packages: Path) -> None:
    for words in (("ruff", "check"), ("ruff", "format", "--check")):
        done = ran(packages, *words)
        assert done.returncode == 0, done.stdout


def test_it_is_a_distribution_with_an_entry_point(packages: Path) -> None:
    folder = packages / "acme-number-0"
    project = tomllib.loads((folder / "pyproject.toml").read_text())
    assert project["project"]["name"] == "acme-number-0"
    points = project["project"]["entry-points"]["ampeco_receiver.handlers"]
    assert points == {"acme-number-0": "acme_number_0.handlers"}
    assert (folder / "src/acme_number_0/py.typed").is_file()
    assert (folder / ".github/workflows/ci.yml").is_file()
    assert "$" not in (folder / "README.md").read_text().replace("$ ", "")
    wheel = ["pip", "wheel", "--quiet", "--no-index", "--no-deps", "--no-build-isolation", "."]
    done = ran(folder, *wheel)
    assert done.returncode == 0, done.stderr
    assert len([*folder.glob("acme_number_0-0.1.0-*.whl")]) == 1


@pytest.mark.parametrize(
    "name", ["handlers", "workers", "class", "asyncio", "pytest", "test-me", "3.14", "x"]
)
def test_a_package_has_a_name_of_its_own(name: str) -> None:
    package = scaffold.package_name(name)
    assert package.isidentifier()
    assert package not in {*sys.stdlib_module_names, "handlers", "workers", "pytest", "class"}
    assert not package.startswith("test")


def test_a_package_has_no_name_of_ours() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    include = project["tool"]["setuptools"]["packages"]["find"]["include"]
    ours = {pattern.rstrip("*") for pattern in include}
    assert "handlers" in ours
    assert not ours & {scaffold.package_name(name) for name in ours}


def test_there_is_a_handler_for_every_type(tmp_path: Path) -> None:
    for name in KNOWN_TYPES:
        texts = scaffold.module_files("acme.it", scaffold.kind_of(name))
        for path, text in texts.items():
            compile(text, path, "exec")


def test_a_handler_of_a_type_passes_its_test(tmp_path: Path) -> None:
    files = new(tmp_path, "acme.fault", "--type", "HardwareStatusNotification")
    assert [path.name for path in files] == ["acme_fault_handler.py", "test_acme_fault_handler.py"]
    done = ran(tmp_path, "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:valkey")
    assert done.returncode == 0, done.stdout


def test_a_misspelled_type_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main.main(
            ["handlers", "new", "a", "--type", "HardwareStatusNotifcation"], prog_name="ampeco-receiver"
        )
    assert end.value.code == 2
    assert "did you mean 'HardwareStatusNotification'" in capsys.readouterr().err


def test_an_existing_package_is_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new(tmp_path, "acme.mine", "--package")
    with pytest.raises(SystemExit) as end:
        main.main(["handlers", "new", "acme.mine", "--package", "--folder", str(tmp_path)], prog_name="a")
    assert end.value.code == 1
    assert "already exists" in capsys.readouterr().err
