"""Refuses to run when another file stands in for one of our packages.

`handlers`, `workers` and `commands` are common names. A `handlers.py` in the current folder or on PYTHONPATH comes
before ours, and a plugin's wheel that holds `handlers/__init__.py` overwrites ours.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.metadata import Distribution

ROOMS = ("ampeco", "console", "eventlog", "handlers", "receiver", "workers")
_DISTRIBUTION = "ampeco-receiver"
_FIRST_FILES = frozenset(f"{room}/__init__.py" for room in ROOMS)


def foreign_file() -> str | None:
    """Name the first file that is not ours, and the way out, in one line; None if every package is ours."""
    ours = Path(__file__).resolve().parents[1]
    for room in ROOMS:
        spec = find_spec(room)
        origin = Path(spec.origin).resolve() if spec and spec.origin else None
        if origin is None:
            return f"the package {room} is missing; install {_DISTRIBUTION} again"
        if origin != ours / room / "__init__.py":
            return f"{origin} replaces our package {room}; rename it, or start in another folder"
    record = next(ours.glob(f"{_DISTRIBUTION.replace('-', '_')}-*.dist-info/RECORD"), None)
    if record is None or all(map(_is_unchanged, _recorded(record))):
        return None
    from importlib.metadata import distribution

    return overwritten_file(distribution(_DISTRIBUTION))


def _recorded(record: Path) -> Iterator[tuple[Path, str]]:
    """Yield the first file of each package as installed, and its recorded digest."""
    for line in record.read_text().splitlines():
        name, _, rest = line.partition(",")
        if name in _FIRST_FILES:
            yield record.parents[1] / name, rest.partition(",")[0]


def _is_unchanged(recorded: tuple[Path, str]) -> bool:
    file, digest = recorded
    method, _, value = digest.partition("=")
    return not value or _digest(file.read_bytes(), method) == value


def _digest(content: bytes, method: str) -> str:
    return base64.urlsafe_b64encode(hashlib.new(method, content).digest()).rstrip(b"=").decode()


def overwritten_file(installed: Distribution) -> str | None:
    """The same for a file that changed since it was installed; compares the packages' first files with RECORD."""
    from importlib.metadata import distributions

    for file in installed.files or ():
        if file.hash is None or file.as_posix() not in _FIRST_FILES:
            continue
        content = Path(str(file.locate())).read_bytes()
        if _digest(content, file.hash.mode) != file.hash.value:
            owners = [
                other.name
                for other in distributions()
                if other.name != installed.name and file in (other.files or ())
            ]
            cause = f" by {owners[0]}" if owners else ""
            remedy = f"uninstall {owners[0]} and install" if owners else "install"
            return f"{file.locate()} was overwritten{cause}; {remedy} {_DISTRIBUTION} again"
    return None
