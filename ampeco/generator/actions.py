"""Actions of the table -> methods that editors and type checkers see, async and not, and the types of their bodies.

One class per noun, one method per action: path parameters by position, members of the body by keyword. A body that
is not publicly documented is one argument, `body`.
"""

import re
import textwrap
from collections.abc import Iterable, Iterator
from itertools import groupby, repeat
from pathlib import Path
from typing import Any

from ampeco.generator.body_types import BodyTypes, open_text
from ampeco.generator.classes import snake
from ampeco.generator.facts import GENERATED, PACKAGE, facts, formatted, judgements
from ampeco.generator.operations import rows

FOLDER = PACKAGE / "actions"

_WIDTH = 100
_UNDOCUMENTED = "by AMPECO's names, sent as it is: its members are not publicly documented"
_EXTRA = "further members of the body, by AMPECO's names"

Row = dict[str, Any]


def outputs() -> dict[Path, str]:
    """Both modules of methods, and the module of the types in their signatures."""
    types = BodyTypes()
    modules = {
        FOLDER / "asynchronous.py": _module(types, is_async=True),
        FOLDER / "synchronous.py": _module(types, is_async=False),
    }
    made = modules | {FOLDER / "bodies.py": types.module()}
    return {path: formatted(path, text) for path, text in made.items()}


def actions() -> list[Row]:
    """The rows of all actions, in the order of their names."""
    return [row for row in rows() if row["kind"] == "action"]


def noun(row: Row) -> str:
    """Python name of what an action is about: `charge_point`."""
    return str(row["name"]).partition(".")[0].replace("-", "_")


def arguments(row: Row) -> list[str]:
    """Python names of its path parameters, in order."""
    named = judgements()["parameters"].get(row["name"], {})
    return [named.get(name, snake(name)) for name in _path_parameters(row)]


def _path_parameters(row: Row) -> list[str]:
    return [part[1:-1] for part in row["path"].split("/") if part.startswith("{")]


def _module(types: BodyTypes, *, is_async: bool) -> str:
    prefix = "Async" if is_async else ""
    groups = [(name, list(found)) for name, found in groupby(actions(), noun)]
    classes = "\n\n".join(_class(types, prefix, name, found) for name, found in groups)
    members = "\n".join(f"        self.{name} = {prefix}{_pascal(name)}Actions(run)" for name, _ in groups)
    return f'''# {GENERATED}
"""Every action of AMPECO as a method{" for async code" if is_async else ""}; what a call says is in `act`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from ampeco.actions.act import Extra, act
from ampeco.actions.answers import {", ".join(_answers())}
from ampeco.actions.bodies import {", ".join(types.in_signatures())}
from ampeco.actions.unset import UNSET, Unset
from ampeco.methods import {prefix}Run
from ampeco.operations import Id


{classes}


class {prefix}Actions:
    """Everything that makes something happen, by noun."""

    def __init__(self, run: {prefix}Run) -> None:
{members}
'''


def _answers() -> list[str]:
    return sorted({row["answer"] for row in actions() if row["answer"]})


def _class(types: BodyTypes, prefix: str, name: str, found: Iterable[Row]) -> str:
    methods = "\n".join(_method(types, row, is_async=bool(prefix)) for row in found)
    return f'''class {prefix}{_pascal(name)}Actions:
    """Actions of AMPECO: {name.replace("_", " ")}."""

    def __init__(self, run: {prefix}Run) -> None:
        self._run = run

{methods}
'''


def _method(types: BodyTypes, row: Row, *, is_async: bool) -> str:
    verb = row["name"].partition(".")[2].replace("-", "_")
    run = "await self._run" if is_async else "self._run"
    call = f"{run}({_call(row)})"
    returned = f"{row['answer']}.read({call})" if row["answer"] else call
    return f"""    {"async " if is_async else ""}def {verb}({_signature(types, row)}) -> {row["answer"] or "Any"}:
        {_docstring(row)}
        return {returned}
"""


def _call(row: Row) -> str:
    pairs = ", ".join(
        f'"{theirs}": {ours}' for theirs, ours in zip(_path_parameters(row), arguments(row), strict=True)
    )
    more = ""
    if row["fields"] is None:
        more = ", body"
    elif row["fields"]:
        more = ", {" + ", ".join(f'"{f["name"]}": {snake(f["name"])}' for f in row["fields"]) + "}"
    if _takes_extra(row):
        more += ", extra=extra"
    return f'act("{row["name"]}", {{{pairs}}}{more})'


def _takes_extra(row: Row) -> bool:
    return row["method"] != "GET" and row["fields"] is not None and row["takes"] == "object"


def _signature(types: BodyTypes, row: Row) -> str:
    kinds = map(_parameter_type, repeat(row), _path_parameters(row))
    by_position = ["self", *map("{}: {}".format, arguments(row), kinds)]
    required_first = sorted(row["fields"] or [], key=lambda field: not field.get("required"))
    by_keyword = [f"{snake(field['name'])}: {types.argument(field)}" for field in required_first]
    if row["fields"] is None:
        by_keyword.append("body: Mapping[str, Any] | None = None")
    if _takes_extra(row):
        by_keyword.append("extra: Extra = None")
    names = [part.partition(":")[0] for part in (*by_position, *by_keyword)]
    if len(names) != len(set(names)):
        raise ValueError(f"{row['name']} has two arguments of one name: {names}")
    return ", ".join([*by_position, *(["*", *by_keyword] if by_keyword else [])])


def _parameter_type(row: Row, name: str) -> str:
    (entry,) = (entry for entry in facts("actions.json") if entry["path"] == row["path"])
    (parameter,) = (parameter for parameter in entry["path_params"] if parameter["name"] == name)
    return open_text(parameter["enum"]) if "enum" in parameter else "Id"


def _docstring(row: Row) -> str:
    decided = judgements()["repeat"][row["name"]]
    verdict = "is harmless" if decided["harmless"] else "is not harmless"
    paragraphs = [
        f"{row['title'].replace('Actions/', 'Actions / ')} (v{row['version']}).",
        _filled(f"A repetition {verdict}: {decided['because']}."),
    ]
    if described := list(_described(row)):
        paragraphs.append("Args:\n" + "\n".join(described))
    text = textwrap.indent("\n\n".join(paragraphs), " " * 8).lstrip()
    return f'"""{text}\n        """'


def _described(row: Row) -> Iterator[str]:
    says = [(snake(f["name"]), f.get("says")) for f in row["fields"] or []]
    if row["fields"] is None:
        says.append(("body", _UNDOCUMENTED))
    if _takes_extra(row):
        says.append(("extra", _EXTRA))
    yield from (_filled(f"    {name}: {_sentence(text)}", " " * 8) for name, text in says if text)


def _sentence(text: str) -> str:
    text = re.sub(r"\bnull\b", "None", text)
    return text if text.endswith("?") else f"{text}."


def _filled(text: str, indent: str = "") -> str:
    return textwrap.fill(text, _WIDTH - 8, subsequent_indent=indent, break_on_hyphens=False)


def _pascal(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("_"))
