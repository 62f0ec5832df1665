"""Commands of ours as a user starts them, and a way to see whether anything of them is left running."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from tests.harness import PATIENCE_S, soon

_MARK = "TREE_UNDER_TEST"


class Command:
    """`ampeco-receiver ...` in a pipe, in a session of its own.

    Args:
        tmp: where its TMPDIR is made, `.tmp`.
        keyboard: whether its input is a terminal, for `press`; else it is empty.
    """

    def __init__(
        self, *arguments: str, environ: Mapping[str, str] | None = None, tmp: Path, keyboard: bool = False
    ) -> None:
        self._mark = f"{_MARK}={uuid.uuid4().hex}"
        self._sessions: set[int] = set()
        self.tmp = Path(tempfile.mkdtemp(prefix="", dir=tmp))
        name, _, value = self._mark.partition("=")
        self._keys, terminal = pty.openpty() if keyboard else (None, None)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "commands", *arguments],
            stdin=terminal if terminal is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**clean_environ(), "TMPDIR": str(self.tmp), name: value, **(environ or {})},
        )
        if terminal is not None:
            os.close(terminal)
        self._parts: dict[str, list[str]] = {"stdout": [], "stderr": []}
        self._readers = [
            threading.Thread(target=self._read, args=(what,), daemon=True) for what in ("stdout", "stderr")
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, what: Literal["stdout", "stderr"]) -> None:
        stream = getattr(self.process, what)
        with stream:
            for line in stream:
                self._parts[what].append(line)

    @property
    def stdout(self) -> str:
        return "".join(self._parts["stdout"])

    @property
    def stderr(self) -> str:
        return "".join(self._parts["stderr"])

    def says(self, pattern: str, *, within_s: float = PATIENCE_S) -> re.Match[str]:
        """Wait until it prints something, on either side."""
        deadline = time.monotonic() + within_s
        while (found := re.search(pattern, self.stdout + self.stderr)) is None:
            assert self.process.poll() is None, f"it ended without {pattern!r}:\n{self.stdout}{self.stderr}"
            assert time.monotonic() < deadline, f"no {pattern!r} in:\n{self.stdout}{self.stderr}"
            time.sleep(0.02)
        return found

    def ends(self, *, within_s: float = 2 * PATIENCE_S) -> int:
        """Wait for its end; the exit status."""
        code = self.process.wait(within_s)
        for reader in self._readers:
            reader.join(5.0)
        return code

    def press(self, key: str) -> None:
        """Press a key of its keyboard."""
        assert self._keys is not None
        os.write(self._keys, key.encode())

    def ask_to_end(self, number: signal.Signals = signal.SIGTERM) -> None:
        self.running()
        self.process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL for the one process a user sees; what it started has to notice."""
        self.running()
        self.process.kill()
        self.process.wait(PATIENCE_S)

    def running(self) -> dict[int, str]:
        """Everything that was started by it and still runs: process id and command line.

        A Valkey writes its title over the environment with our mark, so it is known by where its socket is, or by
        the session of its watcher, once that was seen.
        """
        processes = _processes()
        mark = self._mark.encode()
        self._sessions |= {one.session for one in processes if mark in one.environ}
        return {
            one.pid: one.line
            for one in processes
            if mark in one.environ or one.session in self._sessions or str(self.tmp) in one.line
        }

    def child(self, part: str) -> int:
        """Process id of the descendant whose command line has this in it."""
        (found,) = (pid for pid, line in self.running().items() if part in line)
        return found

    def leaves_nothing(self, *, within_s: float = PATIENCE_S) -> None:
        """Wait until nothing of it runs any more."""
        soon(lambda: not self.running(), within_s=within_s)

    def close(self) -> None:
        for pid in self.running():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(PATIENCE_S)
        if self._keys is not None:
            os.close(self._keys)


@contextlib.contextmanager
def short_folder() -> Iterator[Path]:
    """A temporary folder with a short name, since unix sockets lie in it."""
    folder = Path(tempfile.mkdtemp(prefix=""))
    yield folder
    shutil.rmtree(folder)


@contextlib.contextmanager
def started(*arguments: str, tmp: Path, keyboard: bool = False, **environ: str) -> Iterator[Command]:
    """A command for as long as the block lasts."""
    command = Command(*arguments, environ=environ, tmp=tmp, keyboard=keyboard)
    try:
        yield command
    finally:
        command.close()


def ran(*arguments: str, tmp: Path, **environ: str) -> Command:
    """A command that ends by itself."""
    with started(*arguments, tmp=tmp, **environ) as command:
        command.ends()
    return command


def clean_environ() -> dict[str, str]:
    """This process's environment without any configuration of ours."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("AWR_", "RQ_"))}


class _Process(NamedTuple):
    pid: int
    session: int
    line: str
    environ: list[bytes]


def _processes() -> list[_Process]:
    """Every process we may look at, zombies left out."""
    found = []
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if folder.name.isdecimal():
                line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                # After the name, which may hold anything: state, parent, group, session.
                session = int((folder / "stat").read_text().rpartition(")")[2].split()[3])
                environ = (folder / "environ").read_bytes().split(b"\0")
                if line:
                    found.append(_Process(int(folder.name), session, line, environ))
    return found
