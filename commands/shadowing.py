"""Refuses to run when another file stands in for one of our packages.

`handlers`, `workers` and `commands` are common names. A `handlers.py` in the current folder or on PYTHONPATH comes
before ours, and a plugin's wheel that holds `handlers/__init__.py` overwrites ours.
"""

from __future__ import annotations

import base64
import hashlib
from importlib.metadata import Distribution, PackageNotFoundError, distribution, distributions
from importlib.util import find_spec
from pathlib import Path

ROOMS = ("ampeco", "eventlog", "handlers", "receiver", "workers")
_DISTRIBUTION = "ampeco-receiver"


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
    try:
        return overwritten_file(distribution(_DISTRIBUTION))
    except PackageNotFoundError:
        return None


def overwritten_file(installed: Distribution) -> str | None:
    """The same for a file that changed since it was installed; compares the packages' first files with RECORD."""
    for file in installed.files or ():
        if (
            file.hash is None
            or file.name != "__init__.py"
            or file.parts[:-1] not in {(room,) for room in ROOMS}
        ):
            continue
        content = Path(str(file.locate())).read_bytes()
        digest = base64.urlsafe_b64encode(hashlib.new(file.hash.mode, content).digest()).rstrip(b"=").decode()
        if digest != file.hash.value:
            owners = [
                other.name
                for other in distributions()
                if other.name != installed.name and file in (other.files or ())
            ]
            cause = f" by {owners[0]}" if owners else ""
            remedy = f"uninstall {owners[0]} and install" if owners else "install"
            return f"{file.locate()} was overwritten{cause}; {remedy} {_DISTRIBUTION} again"
    return None
