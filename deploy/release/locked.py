"""Reads a lock file as `uv pip compile --generate-hashes` writes it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from packaging.markers import Marker

MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
"""The platforms of the image, and what the kernel calls them."""

_PACKAGE = re.compile(r"(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^ ;\\]+)(?: ; (?P<marker>[^\\]+))?")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_NEEDED_BY = re.compile(r"#\s+(?:via\s+)?(?P<name>[A-Za-z0-9._-]+)(?: \(pyproject\.toml\))?$")


@dataclass(frozen=True)
class Locked:
    """One package of a lock.

    Attributes:
        marker: where it is installed; None for everywhere.
        hashes: SHA-256 of each file that may be installed.
        needed_by: names of the packages that require it.
    """

    name: str
    version: str
    marker: Marker | None
    hashes: tuple[str, ...]
    needed_by: tuple[str, ...]

    def is_needed(self, python: str, machine: str) -> bool:
        """Return whether it is installed on Linux.

        Args:
            python: version of Python, such as 3.13.
            machine: as the kernel calls it, such as aarch64.
        """
        return self.marker is None or self.marker.evaluate(
            {
                "sys_platform": "linux",
                "platform_system": "Linux",
                "os_name": "posix",
                "platform_machine": machine,
                "implementation_name": "cpython",
                "platform_python_implementation": "CPython",
                "python_version": python,
                "python_full_version": f"{python}.0",
            }
        )

    @property
    def requirement(self) -> str:
        """The line of a requirements file, without a marker."""
        return " ".join([f"{self.name}=={self.version}", *(f"--hash=sha256:{each}" for each in self.hashes)])


def read_lock(path: Path) -> list[Locked]:
    """Read every package of a lock file.

    Raises:
        ValueError: a package has no hash.
    """
    blocks: list[list[str]] = []
    for line in path.read_text().splitlines():
        if _PACKAGE.match(line):
            blocks.append([line])
        elif blocks:
            blocks[-1].append(line)
    return [_locked(path, block) for block in blocks]


def _locked(path: Path, block: list[str]) -> Locked:
    head = _PACKAGE.match(block[0])
    assert head is not None  # noqa: S101 - `read_lock` looked
    hashes = tuple(found for line in block for found in _HASH.findall(line))
    if not hashes:
        raise ValueError(f"{path}: {head['name']} has no hash")
    marker = Marker(head["marker"].strip()) if head["marker"] else None
    comments = [line.strip() for line in block if line.strip().startswith("#")]
    needed_by = tuple(found["name"] for line in comments if (found := _NEEDED_BY.fullmatch(line)))
    return Locked(head["name"], head["version"], marker, hashes, tuple(n for n in needed_by if n != "via"))
