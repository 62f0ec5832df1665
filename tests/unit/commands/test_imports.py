"""What a command does not import: the reason why a short one starts fast. Modules are counted, never seconds."""

from __future__ import annotations

import os
import subprocess
import sys

import click
import pytest

from commands import COMMANDS, main

PROGRAM = """
import sys
from commands import main
try:
    main()
finally:
    print(*{name.partition(".")[0] for name in sys.modules}, file=sys.stderr)
"""
SERVING = {
    "handlers",
    "httpx2",
    "opentelemetry",
    "pydantic_settings",
    "rich",
    "rq",
    "starlette",
    "structlog",
    "uvicorn",
    "workers",
}
EVERYTHING = {*SERVING, "ampeco", "asyncio", "eventlog", "hiredis", "pydantic", "receiver", "redis"}


@pytest.mark.parametrize(
    ("words", "heavy"),
    [
        ("--help", EVERYTHING),
        ("--version", EVERYTHING),
        ("handlers new --help", EVERYTHING - {"asyncio", "eventlog", "receiver"}),
        ("settings", SERVING),
        ("handlers list", SERVING),
        ("explain session:1", SERVING),
        ("events list", SERVING),
        ("status", SERVING),
    ],
)
def test_a_short_command_imports_nothing_heavy(words, heavy):
    environ = {name: value for name, value in os.environ.items() if not name.startswith("AWR_")}
    done = subprocess.run(
        [sys.executable, "-P", "-c", PROGRAM, *words.split()],
        env={**environ, "AWR_REDIS_URL": "unix:///missing.sock"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    imported = {*done.stderr.splitlines()[-1].split()}
    assert "commands" in imported
    assert not imported & heavy


def test_the_list_of_commands_says_what_their_own_help_says():
    ctx = click.Context(main)
    for name, (_, words) in COMMANDS.items():
        command = main.get_command(ctx, name)
        assert command is not None
        assert words == command.get_short_help_str(limit=1_000)
