"""Commands as real processes whose output, input or life is cut off: an exit code, one line, no traceback."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests.harness import event, opened

SEED = int(os.environ.get("FUZZ_SEED", "0")) or time.time_ns()
INTERRUPTED = (0, 1, 2, 3, 130, -signal.SIGINT)
CYRILLIC = {"PYTHONIOENCODING": "iso8859-5"}


@pytest.fixture
def environ(valkey, prefix) -> dict[str, str]:
    async def fill() -> None:
        async with opened(valkey.url, prefix) as log:
            await log.append([event(key=key, n=1) for key in ("session:ä", "session:😀")])

    asyncio.run(fill())
    ours = {"AWR_REDIS_URL": valkey.url, "AWR_KEY_PREFIX": prefix, "AWR_LANES": "4"}
    return {**{name: value for name, value in os.environ.items() if not name.startswith("AWR_")}, **ours}


def started(words: str, environ: dict[str, str], shell: str = "", **options: object) -> subprocess.Popen[str]:
    """Start a command, with redirections of a shell."""
    program = ["sh", "-c", f'exec "$@" {shell}', "sh", sys.executable, "-P", "-m", "commands", *words.split()]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL}
    return subprocess.Popen(program, env=environ, text=True, encoding="utf-8", **{**pipes, **options})  # type: ignore[call-overload]


class Ended(NamedTuple):
    """How a command ended, and what it wrote."""

    code: int
    out: str
    err: str


def ended(*commands: subprocess.Popen[str]) -> list[Ended]:
    """Wait for all, so that a failed assertion leaves none behind."""
    found = []
    for command in commands:
        try:
            out, err = command.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            command.kill()
            out, err = command.communicate()
            err += "killed after 60 s"
        found.append(Ended(command.returncode, out or "", err))
    return found


@pytest.fixture
def gone() -> Iterator[int]:
    """A pipe without a reader."""
    reading, writing = os.pipe()
    os.close(reading)
    yield writing
    os.close(writing)


def test_output_that_cannot_be_written_is_one_line(environ, gone):
    words = ("events list", "--help")
    full = ended(*(started(each, environ, ">/dev/full") for each in words))
    line = "ampeco-receiver: standard output: No space left on device\n"
    assert [(done.code, done.err) for done in full] == [(1, line)] * 2
    commands = ("events list", "events tail --no-follow")
    closed = ended(*(started(each, environ, stdout=gone) for each in commands))
    assert [(done.code, done.err) for done in closed] == [(1, ""), (0, "")]


def test_closed_standard_files_are_no_fault(environ):
    commands = ("settings", "<&- >&-"), ("events list", "<&- >&- 2>&-"), ("events show x", "2>/dev/full")
    assert [done.code for done in ended(*(started(words, environ, each) for words, each in commands))] == [
        0,
        0,
        2,
    ]


def test_a_locale_without_our_letters_escapes_them(environ):
    words = ("events list", "events list --json")
    table, document = ended(*(started(each, {**environ, **CYRILLIC}) for each in words))
    assert (table.code, "session:\\u00e4" in table.out) == (0, True), table
    assert {row["key"] for row in json.loads(document.out)} == {"session:ä", "session:😀"}


def _is_before_us(trace: str) -> bool:
    return "commands/" not in trace or "from commands import interruption" in trace


def test_an_interrupt_at_any_time_prints_no_traceback(environ, tmp_path):
    dice, commands = random.Random(SEED), []
    (tmp_path / "h.py").write_text("import time\ntime.sleep(60)\n")
    lasting = f"handlers check {tmp_path}/h.py", "simulator --port 0", "events tail"
    for words in (*lasting, "handlers list"):
        command = started(words, environ)
        time.sleep(0.05 + dice.random())  # at any moment: while it starts, works or ends
        command.send_signal(signal.SIGINT)
        commands.append(command)
    for command, done in zip(commands, ended(*commands), strict=True):
        where = f"FUZZ_SEED={SEED} {command.args!r} {done}"
        assert done.code in INTERRUPTED, where
        # Before the first lines of ours run, Python prints what it likes.
        assert "Traceback" not in done.err or _is_before_us(done.err), where
        assert "killed" not in done.err, where


def test_an_interrupt_during_the_fork_that_loads_plugins_is_not_lost(tmp_path):
    (tmp_path / "h.py").write_text("import time\ntime.sleep(60)\n")
    program = (
        "import os, signal, sys\n"
        "os.register_at_fork(after_in_parent=lambda: os.kill(os.getpid(), signal.SIGINT))\n"
        f"sys.argv[1:] = ['handlers', 'check', {str(tmp_path / 'h.py')!r}]\n"
        "from commands import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-P", "-c", program], timeout=120, capture_output=True, text=True)
    assert (done.returncode, "Traceback" in done.stderr) == (130, False), done.stderr


def test_an_interrupt_that_python_drops_ends_the_program(tmp_path):
    (tmp_path / "lasting.py").write_text(
        "import click, os, signal, time, weakref\n"
        "class Module: pass\n"
        "@click.command()\n"
        "def lasting():\n"
        "    module = Module()\n"
        "    noted = weakref.ref(module, lambda _: os.kill(os.getpid(), signal.SIGINT))\n"
        "    del module\n"
        "    time.sleep(60)\n"
    )
    program = (
        "import sys, commands\n"
        f"sys.path.append({str(tmp_path)!r})\n"
        "commands.COMMANDS['lasting'] = ('lasting:lasting', '')\n"
        "sys.argv[1:] = ['lasting']\n"
        "commands.main()\n"
    )
    done = subprocess.run([sys.executable, "-P", "-c", program], timeout=50, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")
