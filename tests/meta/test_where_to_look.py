"""The table "Where to look" in the README names functions, classes and tables that exist."""

import ast
import re
from pathlib import Path

import pytest

from tests.meta.repository import ROOT

_ROW = re.compile(
    r"^\| (?P<question>Where .+\?) \| `(?P<file>[\w./]+)` \| `(?P<name>[\w.]+)` \|$", re.MULTILINE
)
_LUA = re.compile(r"^(?:local )?function (\w+)\(", re.MULTILINE)
ROWS = [row.group("question", "file", "name") for row in _ROW.finditer((ROOT / "README.md").read_text())]


def _names(path: Path) -> set[str]:
    """Find what a file defines at its top; methods as `Class.method`."""
    source = path.read_text()
    return set(_LUA.findall(source)) if path.suffix == ".lua" else set(_defined(ast.parse(source).body))


def _defined(body: list[ast.stmt], within: str = "") -> list[str]:
    found = []
    for node in body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                found.append(within + name)
            case ast.ClassDef(name=name):
                found += [name, *_defined(node.body, f"{name}.")]
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                found.append(within + name)
    return found


def test_the_first_questions_are_answered() -> None:
    asked = " ".join(question for question, _, _ in ROWS)
    topics = ("signature", "written to Redis", "duplicate", "next attempt", "once-only step")
    topics += ("handler found", "lane", "wake-up", "command", "setting")
    assert [topic for topic in topics if topic not in asked] == []


@pytest.mark.parametrize(("question", "file", "name"), ROWS, ids=[question for question, _, _ in ROWS])
def test_the_answer_exists(question: str, file: str, name: str) -> None:
    assert name in _names(ROOT / file), question


def test_a_name_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text("class A:\n    def f(self): ...\n\nX = 1\n")
    assert _names(path) == {"A", "A.f", "X"}
