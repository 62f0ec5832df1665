"""What makes a release of the image: bill of materials, wheels for both architectures, the digest of the base."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from deploy.release import base_image
from deploy.release.__main__ import BILL, CONTAINERFILE, LOCK, bill
from deploy.release.locked import read_lock
from tests.meta.repository import ROOT


def test_the_bill_of_materials_is_that_of_the_lock() -> None:
    """`make lock` writes it."""
    assert BILL.read_text() == bill()


def test_the_bill_names_every_package_that_the_image_has_and_who_needs_it() -> None:
    found = json.loads(BILL.read_text())
    assert (found["bomFormat"], found["specVersion"]) == ("CycloneDX", "1.6")
    named = {one["name"]: one["version"] for one in found["components"]}
    locked = {one.name: one.version for one in read_lock(LOCK)}
    assert named.items() <= locked.items()
    assert locked.keys() - named.keys() == {"async-timeout", "httpx2-jsfetch"}, (
        "not for this Python, this system"
    )
    needs = {one["ref"]: one.get("dependsOn", []) for one in found["dependencies"]}
    assert f"anyio=={locked['anyio']}" in needs[f"starlette=={locked['starlette']}"]
    direct = {one.partition("==")[0] for one in needs["ampeco-receiver"]}
    assert {"click", "redis", "rq", "starlette", "uvicorn"} <= direct


def test_the_bill_is_valid() -> None:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(BILL.read_text()) is None


def wheel(folder: Path, name: str, tag: str) -> str:
    """Make an empty wheel; returns its hash."""
    path = folder / f"{name}-1.0-{tag}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(
            f"{name}-1.0.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
        )
        archive.writestr(f"{name}-1.0.dist-info/WHEEL", f"Wheel-Version: 1.0\nTag: {tag}\n")
        archive.writestr(f"{name}-1.0.dist-info/RECORD", "")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def checked(lock: Path, index: Path) -> subprocess.CompletedProcess[str]:
    """Check the wheels of a lock against a folder that stands in for the index."""
    command = [sys.executable, "-m", "deploy.release", "wheels", "--lock", str(lock), "--python", "3.13"]
    return subprocess.run(
        [*command, "--", "--isolated", "--no-index", "--find-links", str(index)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )


def test_a_release_wants_a_locked_wheel_for_both_architectures(tmp_path: Path) -> None:
    pure = wheel(tmp_path, "awr_pure", "py3-none-any")
    intel = wheel(tmp_path, "awr_fast", "cp313-cp313-manylinux_2_28_x86_64")
    arm = wheel(tmp_path, "awr_fast", "cp313-cp313-manylinux_2_28_aarch64")
    other = wheel(tmp_path, "awr_windows", "cp313-cp313-win_amd64")
    lock = tmp_path / "lock.txt"
    packages = [
        f"awr-pure==1.0 \\\n    --hash=sha256:{pure}\n    # via acme",
        f"awr-fast==1.0 \\\n    --hash=sha256:{intel} \\\n    --hash=sha256:{arm}",
        f"awr-windows==1.0 ; sys_platform == 'win32' \\\n    --hash=sha256:{other}",
    ]
    lock.write_text("\n".join(packages) + "\n")
    done = checked(lock, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "amd64 and arm64" in done.stdout

    # Same name, other bytes: the lock does not know it.
    wheel(tmp_path, "awr_fast", "cp313-cp313-manylinux_2_17_aarch64")
    (tmp_path / "awr_fast-1.0-cp313-cp313-manylinux_2_28_aarch64.whl").unlink()
    done = checked(lock, tmp_path)
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith("no wheel: awr-fast 1.0 for arm64, Python 3.13: ")


DIGEST = re.compile(r"^ARG BASE=docker\.io/library/python:3\.13-slim@sha256:[0-9a-f]{64}$", re.MULTILINE)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """As much of the repository as the digest needs, and a stand-in for skopeo in front of PATH."""
    shutil.copytree(ROOT / "deploy" / "release", tmp_path / "deploy" / "release")
    shutil.copy(CONTAINERFILE, tmp_path / "deploy" / "Containerfile")
    tool = tmp_path / "bin" / "skopeo"
    tool.parent.mkdir()
    tool.write_text('#!/bin/sh\necho "$@" >> "$0.asked"\ncat "$0.answer"\n')
    tool.chmod(0o755)
    return tmp_path


def pin(repository: Path, *machines: str) -> subprocess.CompletedProcess[str]:
    answer = {
        "manifests": [{"platform": {"os": "linux", "architecture": each}, "digest": "x"} for each in machines]
    }
    (repository / "bin" / "skopeo.answer").write_text(json.dumps(answer))
    return subprocess.run(
        [sys.executable, "-m", "deploy.release", "pin-base"],
        cwd=repository,
        env={**os.environ, "PATH": f"{repository / 'bin'}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_release_names_the_base_by_tag_and_digest(repository: Path) -> None:
    recipe = repository / "deploy" / "Containerfile"
    before = recipe.read_text()
    for machines in (["amd64", "arm64"], ["amd64", "arm64", "s390x"]):
        done = pin(repository, *machines)
        assert (done.returncode, done.stderr) == (0, "")
        index = (repository / "bin" / "skopeo.answer").read_bytes()
        digest = f"sha256:{hashlib.sha256(index).hexdigest()}"
        assert f"python:3.13-slim@{digest}\n" in recipe.read_text()
    assert len(DIGEST.findall(recipe.read_text())) == 1
    assert re.sub(r"@sha256:\w+", "", recipe.read_text()) == re.sub(r"@sha256:\w+", "", before)
    asked = (repository / "bin" / "skopeo.asked").read_text().splitlines()
    assert set(asked) == {"inspect --raw docker://docker.io/library/python:3.13-slim"}


def test_a_base_for_one_architecture_is_refused(repository: Path) -> None:
    before = (repository / "deploy" / "Containerfile").read_text()
    done = pin(repository, "amd64")
    assert done.returncode == 1
    assert "is not there for linux/arm64" in done.stderr
    assert (repository / "deploy" / "Containerfile").read_text() == before


def test_the_base_is_the_newest_python_that_the_metadata_claims() -> None:
    claimed = re.findall(r"Python :: 3\.(\d+)", (ROOT / "pyproject.toml").read_text())
    assert base_image.python_version(CONTAINERFILE.read_text()) == f"3.{max(map(int, claimed))}"


def test_recipes_are_linted() -> None:
    recipes = [CONTAINERFILE, ROOT / "deploy" / "teams" / "example" / "Containerfile"]
    linter = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([linter, *recipes], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
