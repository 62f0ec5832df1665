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
from pathlib import Path

import pytest

from tests.harness import event, opened

SEED = int(os.environ.get("FUZZ_SEED", "0")) or time.time_ns()
INTERRUPTED = (0, 1, 2, 3, 130, -signal.SIGINT)
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


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


@pytest.fixture
def gone() -> Iterator[int]:
    """A pipe that nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    yield writing
    os.close(writing)


def test_output_that_cannot_be_written_is_one_line(environ, gone):
    full = [started(words, environ, ">/dev/full") for words in ("events list", "--help", "settings --json")]
    closed = [started(words, environ, stdout=gone) for words in ("events list", "explain session:ä")]
    for command in full:
        _, err = command.communicate(timeout=60)
        assert (command.returncode, err) == (1, "ampeco-receiver: standard output: No space left on device\n")
    for command in closed:
        _, err = command.communicate(timeout=60)
        assert (command.returncode, err) == (1, "")


def test_a_follower_of_events_ends_with_its_reader(environ, gone):
    command = started("events tail --no-follow", environ, stdout=gone)
    assert (command.communicate(timeout=60)[1], command.returncode) == ("", 0)


def test_closed_standard_files_are_no_fault(environ):
    commands = [
        started("events list", environ, redirection) for redirection in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-")
    ]
    refused = [started("events show x", environ, redirection) for redirection in ("2>/dev/full", "2>&-")]
    for command in commands:
        _, err = command.communicate(timeout=60)
        assert command.returncode == 0
        assert "Traceback" not in err
    for command in refused:
        assert command.wait(60) == 2
        command.communicate()


def test_a_locale_without_our_letters_escapes_them(environ):
    table, document = (
        started(words, {**environ, **ASCII}) for words in ("events list", "events list --json")
    )
    out, err = table.communicate(timeout=60)
    assert (table.returncode, "session:\\xe4" in out) == (0, True), err
    out, err = document.communicate(timeout=60)
    assert {row["key"] for row in json.loads(out)} == {"session:ä", "session:😀"}, err


def test_an_interrupt_at_any_time_prints_no_traceback(environ, tmp_path):
    dice, commands = random.Random(SEED), []
    (tmp_path / "h.py").write_text("import time\ntime.sleep(60)\n")
    for words in (
        "events tail",
        "explain session:1",
        "handlers list",
        f"handlers check {tmp_path}/h.py",
        "simulator --port 0",
    ):
        command = started(words, environ)
        time.sleep(dice.random() * 1.5)
        command.send_signal(signal.SIGINT)
        commands.append(command)
    for command in commands:
        _, err = command.communicate(timeout=60)
        assert command.returncode in INTERRUPTED, (SEED, command.args, err)
        assert "Traceback" not in err, (SEED, command.args, err)
        assert len(err.split()) < 40, (SEED, command.args, err)


def test_a_redis_that_cannot_be_used_is_one_line(environ, valkey, tmp_path: Path):
    socket = valkey.url.removeprefix("unix://")
    urls = {"redis://127.0.0.1:1": 3, f"unix://{tmp_path}/missing.sock": 3, f"unix://u:wrong@{socket}": 2}
    commands = {url: started("handlers list", {**environ, "AWR_REDIS_URL": url}) for url in urls}
    for url, command in commands.items():
        out, err = command.communicate(timeout=60)
        assert (command.returncode, out) == (urls[url], ""), err
        assert len(err.splitlines()) == 1, err
