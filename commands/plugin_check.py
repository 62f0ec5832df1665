"""Loads plugins in a child process, so that nothing a plugin does at import harms the command that asks.

A plugin may raise anything, end the process, hang, print, or change the current folder, signals and logging.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from handlers.discovery import Found

_PIECE = 65_536
_END_S = 1.0


@dataclass(frozen=True)
class Checked:
    """The handlers that were found, as documents, and the faults: a source and what is wrong with it.

    Attributes:
        off: names of installed handlers that are not enabled.
        deprecated: by source, what it uses that will go.
    """

    handlers: tuple[dict[str, Any], ...]
    faults: tuple[dict[str, str], ...]
    off: tuple[str, ...] = ()
    deprecated: Mapping[str, Sequence[str]] = field(default_factory=dict)


def check_plugins(
    files: Sequence[str],
    describe: Callable[[Found], dict[str, Any]],
    limit_s: float,
    fault_of: Callable[[Found], str | None] = lambda _: None,
) -> Checked:
    """Load the installed plugins and `files`, and describe each handler.

    Args:
        fault_of: returns what is wrong with a handler that could be loaded.
        limit_s: how long one source may take to load.
    """
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        # Only tests have threads here. A forked child needs no second start of this program.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        _load(files, describe, fault_of, writing)
    os.close(writing)
    said: list[tuple[str, Any]] = []
    code: int | None = None
    try:
        with os.fdopen(reading, "rb", buffering=0) as pipe:
            in_time = _listen(pipe.fileno(), said, limit_s)
        if in_time:
            code = _ended_by_itself(child)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)  # the plugin may have started processes
        if code is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)  # it may not have a group of its own yet
            os.waitpid(child, 0)
    for kind, value in said:
        if kind == "checked":
            return Checked(
                tuple(value["handlers"]), tuple(value["faults"]), tuple(value["off"]), value["deprecated"]
            )
    source = next((value for kind, value in reversed(said) if kind == "loading"), "plugins")
    raised = next((value for kind, value in said if kind == "raised"), None)
    if raised is None:
        raised = f"{_end(code)} during the import" if in_time else f"not loaded after {limit_s:g} s"
    return Checked((), ({"source": source, "error": raised},))


def _listen(pipe: int, said: list[tuple[str, Any]], limit_s: float) -> bool:
    """Collect what the child says, line by line, until it ends; return False when it says nothing for too long."""
    rest, deadline = b"", time.monotonic() + limit_s
    while select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))[0]:
        piece = os.read(pipe, _PIECE)
        if not piece:
            return True
        *lines, rest = (rest + piece).split(b"\n")
        said += [(kind, value) for kind, value in map(json.loads, lines)]
        deadline = time.monotonic() + limit_s
        if said and said[-1][0] in ("checked", "raised"):
            return True
    return False


def _load(
    files: Sequence[str],
    describe: Callable[[Found], dict[str, Any]],
    fault_of: Callable[[Found], str | None],
    writing: int,
) -> NoReturn:
    """Be the child: load everything, say what was found, and end without any further code of a plugin."""

    def say(kind: str, value: object) -> None:
        left = memoryview(json.dumps([kind, value]).encode() + b"\n")
        while left:
            left = left[os.write(writing, left) :]

    try:
        os.setsid()
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends this process then
        _leave_standard_files()
        say("checked", _found(files, describe, fault_of, lambda source: say("loading", source)))
    except BaseException as error:  # noqa: BLE001 - the child must not go on as a second parent
        from handlers.discovery import told

        with contextlib.suppress(BaseException):
            say("raised", told(error))
    finally:
        os._exit(0)


def _leave_standard_files() -> None:
    """Read nothing, and print to stderr: stdout is for the result."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    with contextlib.suppress(OSError):  # stderr is closed
        os.dup2(2, 1)
    sys.stdin, sys.stdout = open(0), sys.stderr  # noqa: SIM115


def _found(
    files: Sequence[str],
    describe: Callable[[Found], dict[str, Any]],
    fault_of: Callable[[Found], str | None],
    loading: Callable[[str], None],
) -> dict[str, Any]:
    from handlers.declaration import HandlerError
    from handlers.discovery import Discovery, Fault, discover

    try:
        found = discover(load=files, loading=loading)
    except HandlerError as error:
        found = Discovery((), (Fault("handlers", str(error)),))
    asked = [item for item in found.found if not files or item.source in files]
    faults = [{"source": fault.source, "error": fault.message} for fault in found.faults]
    faults += [
        {"source": item.source, "error": f"handler {item.handler.name!r}: {said}"}
        for item in asked
        if (said := fault_of(item)) is not None
    ]
    return {
        "handlers": [describe(item) for item in asked],
        "faults": faults,
        "off": [] if files else found.off,
        "deprecated": {
            source: list(lines) for source, lines in found.deprecated.items() if not files or source in files
        },
    }


def _ended_by_itself(child: int) -> int | None:
    """Return the exit code of a child that ends about now; None if it still runs."""
    deadline = time.monotonic() + _END_S
    while time.monotonic() < deadline:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    return None


def _end(code: int | None) -> str:
    if code is None:
        return "the process stopped reporting"
    return f"the process ended with {code}" if code >= 0 else f"the process was ended by signal {-code}"
