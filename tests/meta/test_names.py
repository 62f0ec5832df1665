"""Every module says what it is for, has a name that says something, and packages are light to import."""

import ast
import re
from pathlib import Path

import pytest

from tests.meta.repository import MODULES, ROOT

ROOMS_WITH_FILES = ("commands", "eventlog", "handlers", "receiver", "workers")
"""Rooms whose README has a line for each file; the others have one for each folder."""

SAYS_NOTHING = {"base", "common", "helper", "helpers", "manager", "misc", "tools", "util", "utils"}


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_module_says_what_it_is_for(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text()))
    assert docstring, "no module docstring"
    assert len(docstring.split()) >= 3


def test_no_module_is_named_after_nothing() -> None:
    named = {_name(path): set(path.relative_to(ROOT).with_suffix("").parts) for path in MODULES}
    assert [path for path, parts in named.items() if parts & SAYS_NOTHING] == []


@pytest.mark.parametrize("room", ROOMS_WITH_FILES)
def test_the_readme_of_a_room_names_each_module(room: str) -> None:
    """A newcomer looks there for the file to open."""
    files = [path.relative_to(ROOT / room) for path in MODULES if path.is_relative_to(ROOT / room)]
    files = [path for path in files if not path.name.startswith("__")]
    lost = []
    for path in files:
        folder = next((up for up in path.parents if (ROOT / room / up / "README.md").exists()), Path())
        text = (ROOT / room / folder / "README.md").read_text()
        named = [one.removeprefix(f"{room}/") for one in re.findall(r"`([\w*/]+\.py)`", text)]
        if not any(path.relative_to(folder).match(one) for one in named):
            lost.append(str(path))
    assert lost == []


def _heavy(source: str) -> list[str]:
    """Statements of a package's `__init__` that are more than a docstring, imports and plain names."""
    heavy = []
    for statement in ast.parse(source).body:
        match statement:
            case ast.Expr(value=ast.Constant()) | ast.Import() | ast.ImportFrom():
                continue
            case ast.Assign(targets=[ast.Name()]) | ast.AnnAssign(target=ast.Name()):
                if not any(isinstance(node, ast.Call | ast.Await) for node in ast.walk(statement)):
                    continue
            case ast.If(test=ast.Name(id="TYPE_CHECKING")) | ast.FunctionDef(name="__getattr__" | "__dir__"):
                continue
            case ast.If(
                test=ast.UnaryOp(op=ast.Not(), operand=ast.Name(id="TYPE_CHECKING")),
                body=[ast.FunctionDef(name="__getattr__")],
                orelse=[],
            ):
                continue  # one that type checkers do not see: to them every name would exist
        heavy.append(ast.unparse(statement).splitlines()[0])
    return heavy


def test_packages_are_light() -> None:
    """The command line's package is exempt: the entry point is its `main`."""
    packages = [p for p in MODULES if p.name == "__init__.py" and p.parent != ROOT / "commands"]
    assert {_name(path): found for path in packages if (found := _heavy(path.read_text()))} == {}


@pytest.mark.parametrize(
    "source", ["class A: ...", "def f(): ...", "x = open('y')", "for x in (): ...", "print()"]
)
def test_a_heavy_package_is_recognised(source: str) -> None:
    assert _heavy(f'"""Docstring."""\nimport os\nX: int = 1\n{source}') != []
