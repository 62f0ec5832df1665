"""Finds the commands that documents name, in prose and in blocks, and says what is wrong with them.

Ours are read by the parsers of the command line, kubectl's by kubectl itself. Nothing is run: placeholders such as
NAME stand for values.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable, Collection, Iterator

import click

from commands import COMMANDS, main

OURS = ("ampeco-receiver", "awr")
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_SPAN = re.compile(r"(?<!`)`([^`]+)`(?!`)")
_OBJECT = re.compile(r"^(deploy|deployment|job|statefulset)/([^/]+)$")
_KINDS = {"deploy": "Deployment", "deployment": "Deployment", "job": "Job", "statefulset": "StatefulSet"}


def named(text: str) -> Iterator[list[str]]:
    """Yield the words of each command of ours, or of kubectl's, that a document shows."""
    shown = [line for _, block in _BLOCK.findall(text) for line in _typed(block)]
    shown += [" ".join(span.split()) for span in _SPAN.findall(_BLOCK.sub("", text))]
    for line in shown:
        try:
            words = shlex.split(line, comments=True)
        except ValueError:  # half of a quotation: no command
            continue
        is_usage = any(word in ("/", "...") or word.startswith("[") for word in words)
        if words and not is_usage:
            yield from _commands(words)


def _typed(block: str) -> Iterator[str]:
    """Yield the commands of a console block, those over several lines as one."""
    lines = block.replace("\\\n> ", " ").splitlines()
    yield from (line.removeprefix("$ ") for line in lines if line.startswith("$ "))


def _commands(words: list[str]) -> Iterator[list[str]]:
    if words[0] == "kubectl":
        kubectl, _, inside = "\0".join(words).partition("\0--\0")
        yield kubectl.split("\0")
        words = inside.split("\0")
    if words[0] in OURS:
        yield words
    elif words[0] in COMMANDS and len(words) > 1:  # `dead list`, but not the word `worker`
        yield [OURS[0], *words]


def fault_of_ours(words: Collection[str]) -> str:
    """Return what the command line refuses about a command, without its values; '' when it takes it."""
    command, rest = main, list(words)[1:]
    ctx: click.Context = click.Context(command)
    for end in ("|", "||", "&&", ">"):  # what follows is the shell's
        rest = rest[: rest.index(end)] if end in rest else rest
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        found = command.get_command(ctx, rest[0])
        if found is None:
            return f"no command {rest[0]!r} in {' '.join(words)!r}"
        command, ctx, rest = found, click.Context(found, parent=ctx), rest[1:]
    try:
        _, left, _ = command.make_parser(ctx).parse_args([*rest])
    except click.UsageError as error:
        if isinstance(error, click.BadOptionUsage) and rest[-1].startswith("-"):
            return ""  # `dead retry --handler`: the option without its value
        return f"{' '.join(words)!r}: {error.format_message()}"
    return f"{' '.join(words)!r}: {left} is too much" if left else ""


def fault_of_kubectls(words: Collection[str], is_there: Callable[[str, str], bool]) -> str:
    """Return what kubectl refuses about a command, or which object it names that is not there; '' without a fault.

    Args:
        is_there: whether the manifests have an object, by kind and name.
    """
    given = [*words]
    if given[-1].startswith("-"):  # `kubectl apply -k`: the option without its value
        given.pop()
    # With --help, kubectl reads all options and does nothing.
    done = subprocess.run([*given, "--help"], capture_output=True, text=True, check=False)
    if done.returncode:
        return f"{' '.join(words)!r}: {done.stderr.splitlines()[0]}"
    for word in words:
        if (found := _OBJECT.match(word)) and not is_there(_KINDS[found[1]], found[2]):
            return f"{' '.join(words)!r}: no {word} in the manifests"
    return ""
