"""Where in a plugin's code something is, as `file:line`. It opens no file."""

from __future__ import annotations

import inspect
from pathlib import Path
from traceback import walk_tb
from typing import Any

_OURS = Path(__file__).resolve().parents[1]
_PYTHON = Path(inspect.__file__).parent
_ROOMS = frozenset({"ampeco", "commands", "eventlog", "handlers", "workers"})
_SHARED = frozenset({"site-packages", "dist-packages"})  # a folder of many projects


def place_of(function: Any) -> str:
    """Return where a function begins, its decorators included; empty for an object without code."""
    try:
        code = inspect.unwrap(function).__code__
        return f"{code.co_filename}:{code.co_firstlineno}"
    except Exception:  # noqa: BLE001 - an object of the author may raise anything
        return ""


def place_of_error(error: BaseException) -> str:
    """Return the last line of the plugin that an error came through while it was loaded; empty where none is known.

    Lines of libraries that the plugin calls do not count, so the line is one that its author can change.
    """
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno or 1}"
    frames = [(Path(frame.f_code.co_filename), line) for frame, line in walk_tb(error.__traceback__)]
    own = [(file, line) for file, line in frames if file.is_absolute() and not _is_other(file)]
    if not own:
        return ""
    first = own[0][0]
    found = [
        (file, line)
        for file, line in own
        if file == first or (first.parent.name not in _SHARED and file.is_relative_to(first.parent))
    ]
    return f"{found[-1][0]}:{found[-1][1]}"


def _is_other(file: Path) -> bool:
    """Return whether a file is of Python or of this service, whose built-in handlers are plugins like others."""
    if file.is_relative_to(_PYTHON) and not _SHARED & {*file.parts}:
        return True
    if not file.is_relative_to(_OURS):
        return False
    room, *inner = file.relative_to(_OURS).parts
    return room in _ROOMS and inner[:1] != ["builtin"]
