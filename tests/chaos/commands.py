"""The command line, kept warm: a command is a fork of a process that has imported it, and begins within milliseconds.

A fresh start would take a second, and many on a busy machine. No command could then hit a chosen moment.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import subprocess
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.chaos.cast import ROOT

_IMPORTED = (
    "commands.dead",
    "commands.handlers",
    "receiver.logging",
    "receiver.settings",
    "eventlog.connection.connect",
    "eventlog.operation.dead_letters",
    "eventlog.operation.replay",
    "eventlog.usage",
)


class CommandLine:
    """Runs commands of ours, one at a time, each in a process of its own.

    Args:
        log: where they say what they say.
    """

    def __init__(self, environ: Mapping[str, str], log: Path) -> None:
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.commands", str(log)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env=environ,
            cwd=ROOT,
        )
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._in, self._out = self._server.stdin, self._server.stdout

    def start(self, *words: str) -> int:
        """Its process id."""
        self._in.write(json.dumps(words).encode() + b"\n")
        return self._number()

    def ended(self, within_s: float) -> int | None:
        """Its exit code (of a signal: negative), or None when it is still at work."""
        ready, _, _ = select.select([self._out], [], [], within_s)
        return self._number() if ready else None

    def close(self) -> None:
        """No more commands."""
        self._in.close()
        self._out.close()
        self._server.wait(60)

    def _number(self) -> int:
        line = self._out.readline()
        assert line, "the command line is gone"
        return int(line)


def _serve(log: str) -> None:
    """Run what is asked for on stdin; say the process id of each command, and how it ended."""
    for name in _IMPORTED:
        importlib.import_module(name)
    for line in sys.stdin.buffer:
        pid = os.fork()
        if not pid:
            _run(json.loads(line), log)
        _say(pid)
        _say(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def _say(number: int) -> None:
    os.write(1, f"{number}\n".encode())


def _run(words: Sequence[str], log: str) -> None:
    """One command, as if it were started by itself; does not return."""
    code = 1
    try:
        out = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(out, f"{time.monotonic():.3f} pid {os.getpid()} {' '.join(words)}\n".encode())
        os.dup2(out, 1)
        os.dup2(out, 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        from commands import main

        main.main(list(words), prog_name="ampeco-receiver")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    _serve(sys.argv[1])
