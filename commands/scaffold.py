"""The files of a new handler: one module with its test, or a distribution of its own. It writes nothing."""

from __future__ import annotations

import builtins
import keyword
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template

from commands.shadowing import ROOMS

TEMPLATES = Path(__file__).with_name("templates")

_LONGEST_NAME = 30  # of a function or a package, so that no line of the code is too long
_OURS = frozenset({*ROOMS, "commands", "pytest_ampeco", "tests"})


@dataclass(frozen=True)
class Kind:
    """What a new handler is for.

    Attributes:
        model: class of its payload, in `ampeco.notifications`.
        templates: first word of the names of its templates.
    """

    model: str
    templates: str


SESSIONS = Kind("SessionStartStop", "session")


def kind_of(notification_type: str) -> Kind:
    """Return what a handler of this type is.

    Raises:
        LookupError: there is no such type; the message names the nearest one.
    """
    from ampeco.catalogue import KNOWN_TYPES, UNCONFIRMED_TYPES
    from ampeco.nearest import did_you_mean

    known = {**KNOWN_TYPES, **UNCONFIRMED_TYPES}
    if notification_type not in known:
        hint = did_you_mean(notification_type, known) or "; ampeco/NOTIFICATIONS.md lists them"
        raise LookupError(f"{notification_type!r} is not a known notification type{hint}")
    model = known[notification_type].model.rpartition(".")[2]
    return SESSIONS if model == SESSIONS.model else Kind(model, "typed")


def module_files(name: str, kind: Kind) -> dict[str, str]:
    """Return the file of a handler, then the file of its test: name -> text."""
    function = function_name(name, kind)
    module = f"{function}_handler"
    values = {"name": name, "function": function, "module": module, "model": kind.model}
    return {
        f"{module}.py": _filled(f"{kind.templates}_handler.py", values),
        f"test_{module}.py": _filled(f"{kind.templates}_test.py", values),
    }


def package_files(name: str, kind: Kind) -> dict[str, str]:
    """Return the files of a distribution: path below its folder -> text."""
    package = package_name(name)
    values = {
        "name": name,
        "function": function_name(name, kind)[:_LONGEST_NAME].rstrip("_"),
        "model": kind.model,
        "package": package,
        "distribution": distribution_name(name),
        "prefix": f"{package.upper()}_",
    }
    return {
        "pyproject.toml": _filled("package_pyproject.toml", values),
        "README.md": _filled("package_readme.md", values),
        ".gitignore": _filled("package_gitignore", values),
        ".github/workflows/ci.yml": _filled("package_ci.yml", values),
        f"src/{package}/__init__.py": _filled("package_init.py", values),
        f"src/{package}/py.typed": "",
        f"src/{package}/settings.py": _filled("package_settings.py", values),
        f"src/{package}/handlers.py": _filled(f"package_{kind.templates}_handlers.py", values),
        "tests/test_handlers.py": _filled(f"package_{kind.templates}_test.py", values),
    }


def function_name(name: str, kind: Kind = SESSIONS) -> str:
    """Return a name for the function that Python takes, that hides nothing, and that pytest does not collect."""
    function = re.sub(r"[.-]+", "_", name).strip("_")
    taken = {*keyword.kwlist, *keyword.softkwlist, *dir(builtins), *sys.stdlib_module_names}
    if not function[0].isalpha() or function in taken | _words(kind) or function.startswith("test"):
        return f"handle_{function}"
    return function


def package_name(name: str) -> str:
    """Return a name for the package of a distribution that is not a package of Python's, of ours or of pytest's."""
    package = re.sub(r"[.-]+", "_", name).strip("_")[:_LONGEST_NAME].rstrip("_")
    taken = {*keyword.kwlist, *keyword.softkwlist, *sys.stdlib_module_names, *_OURS, "pytest", "pydantic"}
    if not package[0].isalpha() or package in taken or package.startswith("test"):
        return f"plugin_{package}"
    return package


def distribution_name(name: str) -> str:
    """Return the name of a distribution, which is also the name of its folder."""
    return package_name(name).replace("_", "-")


def _words(kind: Kind) -> set[str]:
    """Return the names that the templates use."""
    used = (TEMPLATES / f"{start}{kind.templates}_{end}" for start, end in _CODE)
    return {word for path in used for word in re.findall(r"\w+", path.read_text())}


_CODE = (
    ("", "handler.py.txt"),
    ("", "test.py.txt"),
    ("package_", "handlers.py.txt"),
    ("package_", "test.py.txt"),
)


def _filled(template: str, values: Mapping[str, str]) -> str:
    return Template((TEMPLATES / f"{template}.txt").read_text()).substitute(values)
