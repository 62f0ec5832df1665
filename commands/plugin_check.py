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
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

if TYPE_CHECKING:
    from handlers.discovery import Found

_PIECE = 65_536
_END_S = 1.0


@dataclass(frozen=True)
class Checked:
    """The handlers that were found, as documents, and what is wrong.

    Attributes:
        faults: each with its `source`, the `error` in words, and `where` (`file:line`, or None).
        off: names of installed handlers that are not enabled.
        names: names of all handlers that were found, also of those that were not asked for.
        deprecated: by source, the things it uses that will be removed.
    """

    handlers: tuple[dict[str, Any], ...]
    faults: tuple[dict[str, Any], ...]
    off: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    deprecated: Mapping[str, Sequence[str]] = field(default_factory=dict)


Finding: TypeAlias = tuple[str, str]
"""A fault of a handler, and its place as `file:line`; empty where the place is not known."""


def check_plugins(
    files: Sequence[str],
    describe: Callable[[Found], dict[str, Any]],
    limit_s: float,
    findings: Callable[[Found], Iterable[Finding]] = lambda _: (),
) -> Checked:
    """Load the installed plugins and `files`, describe each handler, and find everything that is wrong.

    A plugin that ends its process or hangs is a fault, and the others are loaded again without it.

    Args:
        findings: returns what is wrong with a handler that could be loaded.
        limit_s: how long one source may take to load, in seconds.
    """
    fatal: dict[str, dict[str, Any]] = {}
    while True:
        checked, source, error = _checked_without(fatal, files, describe, limit_s, findings)
        faults = (*fatal.values(), *checked.faults)
        if not error:
            return replace(checked, faults=faults)
        fault = {"source": source or "plugins", "error": error, "where": None}
        if source is None or source in fatal:
            return Checked((), (*faults, fault))
        fatal[source] = fault


def _checked_without(
    skip: Collection[str],
    files: Sequence[str],
    describe: Callable[[Found], dict[str, Any]],
    limit_s: float,
    findings: Callable[[Found], Iterable[Finding]],
) -> tuple[Checked, str | None, str]:
    """Check all sources but those of `skip`; also return the source that ended the check, and how it did."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        # Only tests have threads here. A forked child needs no second start of this program.
        warnings.simplefilter("ignore", DeprecationWarning)
        # What runs after a fork by `os.register_at_fork` swallows exceptions, and with them a KeyboardInterrupt.
        unblocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        child = os.fork()
    if child == 0:
        _load(files, describe, findings, skip, writing)
    os.close(writing)
    said: list[tuple[str, Any]] = []
    code: int | None = None
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, unblocked)
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
            deprecated = value.pop("deprecated")
            lists = {name: tuple(those) for name, those in value.items()}
            return Checked(**lists, deprecated=deprecated), None, ""
    source = next((value for kind, value in reversed(said) if kind == "loading"), None)
    raised = next((value for kind, value in said if kind == "raised"), None)
    if raised is None:
        raised = f"{_end(code)} while it was loaded" if in_time else f"not loaded after {limit_s:g} s"
    return Checked((), ()), source, raised


def _listen(pipe: int, said: list[tuple[str, Any]], limit_s: float) -> bool:
    """Collect the child's lines until it ends; return False when it writes nothing for too long."""
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
    findings: Callable[[Found], Iterable[Finding]],
    skip: Collection[str],
    writing: int,
) -> NoReturn:
    """Run as the child: load everything, write what was found, and end without any further code of a plugin."""

    def say(kind: str, value: object) -> None:
        left = memoryview(json.dumps([kind, value]).encode() + b"\n")
        while left:
            left = left[os.write(writing, left) :]

    try:
        os.setsid()
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends this process then
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        _leave_standard_files()
        say("checked", _found(files, describe, findings, skip, lambda source: say("loading", source)))
    except BaseException as error:  # noqa: BLE001 - the child must not go on as a second parent
        from handlers.load_faults import described

        with contextlib.suppress(BaseException):
            say("raised", described(error))
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
    findings: Callable[[Found], Iterable[Finding]],
    skip: Collection[str],
    loading: Callable[[str], None],
) -> dict[str, Any]:
    from handlers.discovery import discover

    here = Path.cwd()  # before a plugin can change it
    found = discover(load=files, loading=loading, skip=skip, thorough=True)
    asked = [item for item in found.found if not files or item.source in files]
    faults = [(fault.source, fault.message, fault.place) for fault in found.faults]
    for item in asked:
        if item.source in skip:
            continue
        loading(item.source)  # what is asked of a handler is its author's code, too
        said = [(f"handler {item.handler.name!r}: {line}", place) for line, place in findings(item)]
        faults += [(item.source, line, place) for line, place in said]
    return {
        "handlers": [{**describe(item), "where": _shown(item.handler.place, here)} for item in asked],
        "faults": [
            {"source": source, "error": error, "where": _shown(place, here)}
            for source, error, place in dict.fromkeys(faults)
        ],
        "off": [] if files else found.off,
        "names": [*(item.handler.name for item in found.found), *found.off],
        "deprecated": {
            source: list(lines) for source, lines in found.deprecated.items() if not files or source in files
        },
    }


def _shown(place: str, here: Path) -> str | None:
    """Return `file:line` with the file as seen from the current folder."""
    file, _, line = place.rpartition(":")
    if not file:
        return None
    path = Path(file)
    return f"{path.relative_to(here) if path.is_relative_to(here) else path}:{line}"


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
