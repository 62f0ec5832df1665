"""Runs the code blocks of a Markdown document, as a reader who types them in would.

- `python` blocks run in order, as one module per document.
- `console` blocks: lines that start with `$ ` are typed into one shell per block (`> ` continues a line). Each
  has to succeed. What is shown below a command is compared with what it prints; `...` stands for anything.
- `bash` blocks run as one script that stops at the first failure.

A document's blocks share a scratch copy of the repository as current folder; commands have the virtual environment
first on PATH and no AWR_ variables. A block right below `<!-- not executed: why -->` is left out, and that is the
only way to be left out.
"""

import contextlib
import os
import re
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path

from sybil import Document, Example, Region, Sybil
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.markdown.lexers import FencedCodeBlockLexer

from tests.meta.repository import copy_to

EXECUTED = ("python", "console", "bash")
SHOWN = ("dockerfile", "ini", "json", "lua", "text", "toml", "yaml")
"""Languages of blocks that only show something. What a reader types in has to be in an executed language."""

_NOT_EXECUTED = re.compile(r"<!-- not executed: \S.* -->\s*\Z")
_END = "--end-of-command--"


def anchors(text: str) -> set[str]:
    """Return the anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(
        r"^#+ (.*)$", re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE), re.MULTILINE
    )
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


class Difference(AssertionError):
    """A command failed or printed something else than the document shows."""


def run(path: Path, scratch: Path) -> int:
    """Execute every block of the document at `path`; returns how many there were.

    Raises what a Python block raises, and Difference for commands.
    """
    work = copy_to(scratch / "work")
    document = Sybil(parsers=[_Blocks(work)]).parse(path)
    module = types.ModuleType("document")
    document.namespace = vars(module)  # a real module: annotations and models look theirs up
    sys.modules[module.__name__] = module
    try:
        examples = list(document.examples())
        with contextlib.chdir(work):
            for example in examples:
                example.evaluate()
        return len(examples)
    finally:
        del sys.modules[module.__name__]


class _Blocks:
    """Sybil parser of the blocks that are to be executed; refuses blocks of a language it does not know."""

    def __init__(self, work: Path) -> None:
        self._work = work
        self._python = PythonEvaluator()

    def __call__(self, document: Document) -> Iterator[Region]:
        for region in FencedCodeBlockLexer(language=r"[^\n]*")(document):
            language = region.lexemes["language"].strip()
            if language in SHOWN or _NOT_EXECUTED.search(document.text[: region.start]):
                continue
            if language not in EXECUTED:
                line = document.text[: region.start].count("\n") + 1
                raise ValueError(
                    f"{document.path}:{line}: block of language {language!r}; "
                    f"executed are {', '.join(EXECUTED)}, shown are {', '.join(SHOWN)}"
                )
            region.parsed = region.lexemes["source"]
            region.evaluator = getattr(self, f"_{language}") if language != "python" else self._python
            yield region

    def _bash(self, example: Example) -> None:
        status, output = _shell(f"set -euo pipefail\n{example.parsed}", self._work)
        if status:
            raise Difference(f"{_place(example)}: exit status {status}\n{output}")

    def _console(self, example: Example) -> None:
        commands = list(_commands(example))
        script = "".join(f'{command}\nprintf "\\n%s %s\\n" {_END} $?\n' for command, _ in commands)
        _, output = _shell(script, self._work)
        results = re.findall(rf"(.*?)\n{_END} (\d+)\n", output, re.DOTALL)
        for number, (command, shown) in enumerate(commands):
            if number >= len(results):
                raise Difference(f"{_place(example)}: $ {command}\nended the shell:\n{output}")
            printed, status = results[number]
            if status != "0":
                raise Difference(f"{_place(example)}: $ {command}\nexit status {status}:\n{printed}")
            if shown and not _matches(shown, printed):
                raise Difference(f"{_place(example)}: $ {command}\nshown:\n{shown}\nprinted:\n{printed}")


def _commands(example: Example) -> Iterator[tuple[str, str]]:
    """The commands of a console block, each with the output shown below it."""
    command: list[str] = []
    shown: list[str] = []
    for line in str(example.parsed).splitlines():
        if line.startswith("$ "):
            if command:
                yield "\n".join(command), "\n".join(shown)
            command, shown = [line[2:]], []
        elif line.startswith("> ") and command and not shown:
            command.append(line[2:])
        elif command:
            shown.append(line)
        else:
            raise ValueError(f"{_place(example)}: a console block starts with a line `$ command`")
    yield "\n".join(command), "\n".join(shown)


def _matches(shown: str, printed: str) -> bool:
    def plain(text: str) -> str:
        return "\n".join(line.rstrip() for line in text.strip().splitlines())

    pattern = ".*".join(re.escape(part) for part in plain(shown).split("..."))
    return re.fullmatch(pattern, plain(printed), re.DOTALL) is not None


def _shell(script: str, work: Path) -> tuple[int, str]:
    environment = {
        "HOME": str(work.parent),
        "LANG": "C.UTF-8",
        "NO_COLOR": "1",
        "COLUMNS": "120",
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        "PYTHONPATH": str(work),
        "TMPDIR": str(work.parent),
    }
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=work,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout


def _place(example: Example) -> str:
    return f"{example.path}:{example.line}"
