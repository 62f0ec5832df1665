"""Keeps redis-py from importing OpenTelemetry, which it does wherever that is installed and never uses here.

The import takes 40 ms of processor time, which each command and process would pay. Every other importer gets it.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # every command imports this first, so it imports nothing that takes a moment
if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from types import FrameType
    from typing import Any

_PACKAGE, _IMPORTER = "opentelemetry", "redis.observability"


class _Refusal:
    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:
        if fullname == _PACKAGE and _importer().startswith(_IMPORTER):
            raise ModuleNotFoundError(f"{_IMPORTER} does without {_PACKAGE}", name=fullname)
        return None


def _importer() -> str:
    """Return the name of the module that imports something now."""
    frame: FrameType | None = sys._getframe(2)  # noqa: SLF001
    while frame is not None:
        name = str(frame.f_globals.get("__name__", ""))
        if not name.startswith("importlib."):
            return name
        frame = frame.f_back
    return ""


def refuse() -> None:
    """Refuse it from now on, in this process."""
    sys.meta_path.insert(0, _Refusal())
