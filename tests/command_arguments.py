"""Odd arguments for every command, made from what the commands themselves declare.

A new command or option is covered without a change here.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from commands import main

ODD_TEXTS = (
    "", " ", "-", "--", "-1", "0", "0-1", "0-1-0", "0-99999999999999999999", "0-0-99999999999999999999",
    "99999-1-0", "99999999999999999999-0-0", "٣-٣-٣", "h/٣-٣", "h/1-1", "h/99999999999999999999-0", "/1-1",
    "session:1", "session:", ":", "session:\udcff", "\udcff", "\ud800", "a\nb", "a\r\x1b[2J", "a\x00b", "\x00",
    "é", "\U0001f600", "\u202e", "%s%n{0}{", "\\", "'", '"', "$(x)", "*", "?", "[", "(", "..", "/", "//", "~", "h",
    "nobody", "a" * 70, "x" * 300, "None", "null", "true", "{}", "[]", "=", "a=b", "a.b=1", ".=", "a..b=", "h=h",
)  # fmt: skip
ODD_NUMBERS = (
    "", "0", "-0", "1", "-1", "1.5", "1e3", "1e400", "nan", "inf", "-inf", "٣", "0x10", "1_000", " 7 ",
    "99999999999999999999", "-99999999999999999999", "9" * 5_000, "\udcff", "a\x00",
)  # fmt: skip
ODD_TIMES = (
    "", "now", "2h ago", "-30m", "99999999999d ago", "9" * 5_000 + "h ago", "-٣h", "0000-01-01T00:00:00Z",
    "0001-01-01T00:00:00+14:00", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59-14:00", "9999-12-31T23:59:59.999999Z",
    "99999-01-01T00:00:00Z", "2026-02-30T00:00:00Z", "2026-11-24", "2026-11-24T06:00:00", "2026-11-24T06:00:00Z",
    "1970-01-01T00:00:00Z", "20261124T060000Z", "NaN", "0", "1764000000000", "\udcff", "a\x00b", "1 h ago\n",
)  # fmt: skip
NAMES = (
    "class",
    "def",
    "asyncio",
    "pytest",
    "none",
    "true",
    "h",
    "1",
    "a.b",
    "a-b",
    "a--b.",
    "-",
    "A",
    "json",
    "3.14",
)


@dataclass(frozen=True)
class Given:
    """What the arguments may be made of: a folder for files, and ids and names that the log has."""

    folder: Path
    known: Sequence[str]
    files: Sequence[str] = field(default=())


def commands(
    group: click.Group = main, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Walk all commands and groups, with the words that lead to each."""
    ctx = click.Context(group)
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        assert command is not None
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


def lasts(path: Sequence[str], words: Sequence[str]) -> bool:
    """Whether the command goes on until a signal, so that it only ends when it refuses its arguments."""
    return (
        path[0] in ("demo", "dev", "run", "serve", "worker")
        or path in (("simulator",), ("registration", "watch"))
        or (path == ("events", "tail") and "--no-follow" not in words)
    )


def words_for(command: click.Command, given: Given, dice: random.Random) -> list[str]:
    """Make up the words that follow a command's name: mostly its own options, some of them odd."""
    words: list[str] = []
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            if "--help" in parameter.opts or not (parameter.required or dice.random() < 0.35):
                continue
            for _ in range(dice.choice((1, 1, 1, 2)) if parameter.multiple else 1):
                words.append(dice.choice([*parameter.opts, *parameter.secondary_opts]))
                if not (parameter.is_flag or parameter.count):
                    words += [_value(parameter, given, dice) for _ in range(parameter.nargs)]
        elif parameter.nargs == -1:
            words += [_value(parameter, given, dice) for _ in range(dice.choice((0, 1, 1, 2)))]
        elif parameter.required and dice.random() < 0.97:
            words.append(_value(parameter, given, dice))
    if dice.random() < 0.05:
        words.insert(dice.randrange(len(words) + 1), dice.choice(["--nothing", "-x", *ODD_TEXTS]))
    return words


def _value(parameter: click.Parameter, given: Given, dice: random.Random) -> str:
    if dice.random() < 0.25:
        return dice.choice(ODD_TEXTS)
    return str(dice.choice(_pool(parameter.type, parameter.metavar or parameter.human_readable_name, given)))


def _pool(kind: click.ParamType[Any], metavar: str, given: Given) -> Sequence[str]:
    if isinstance(kind, click.Choice):
        return [*map(str, kind.choices), "nothing"]
    if isinstance(kind, (click.types.IntParamType, click.types.FloatParamType)):
        edges = [getattr(kind, "min", None), getattr(kind, "max", None)]
        return [*ODD_NUMBERS, *(str(edge + n) for edge in edges if edge is not None for n in (-1, 0, 1))]
    if isinstance(kind, (click.Path, click.File)) or "FILE" in metavar:
        folder = str(given.folder)
        paths = [
            folder,
            f"{folder}/missing",
            f"{folder}/a\x00",
            f"{folder}/\udcff",
            "/dev/null",
            "/dev/null/x",
            "x" * 300,
        ]
        return [*paths, *given.files, *given.files, *given.known]
    if metavar == "TIME":
        return ODD_TIMES
    if "NAME" in metavar.upper() or metavar in ("OLD", "NEW"):
        return [*NAMES, *given.known]
    return [*given.known, *ODD_TEXTS]
