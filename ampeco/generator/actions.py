"""Actions of the table -> methods that editors and type checkers see, async and not, and the types of their bodies.

One class per noun, one method per action: path parameters by position, members of the body by keyword. A body that
is not publicly documented is one argument, `body`.
"""

import re
import textwrap
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from ampeco.generator import contract_rows
from ampeco.generator.body_types import BodyTypes
from ampeco.generator.classes import snake
from ampeco.generator.facts import GENERATED, PACKAGE, formatted, judgements
from ampeco.generator.operations import rows
from ampeco.generator.twins import synchronous

FOLDER = PACKAGE / "actions"

_WIDTH = 100
_UNDOCUMENTED = "by AMPECO's names, sent as it is: its members are not publicly documented"
_EXTRA = "further members of the body, by AMPECO's names"

Row = dict[str, Any]


def outputs() -> dict[Path, str]:
    """Both modules of methods, and the module of the types in their signatures."""
    types = BodyTypes(
        "Objects inside the bodies of actions; their keys are spelled as AMPECO spells them.", ids=True
    )
    text = formatted(FOLDER / "asynchronous.py", _module(types))
    made = {"asynchronous": text, "synchronous": synchronous(text), "bodies": types.module()}
    return {FOLDER / f"{name}.py": formatted(FOLDER / f"{name}.py", text) for name, text in made.items()}


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


def _module(types: BodyTypes) -> str:
    groups = [(name, list(found)) for name, found in groupby(actions(), noun)]
    classes = "\n\n".join(_class(types, name, found) for name, found in groups)
    members = "\n".join(f"        self.{name} = Async{_pascal(name)}Actions(run)" for name, _ in groups)
    return f'''# {GENERATED}
"""Every action of AMPECO as a method for async code; what a call says is in `calls`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from ampeco.calls import Extra, act
from ampeco.actions.answers import {", ".join(_answers())}
from ampeco.actions.unset import UNSET, Unset
from ampeco.async_endpoints import AsyncRun

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date, datetime

    from ampeco.actions.bodies import {", ".join(types.in_signatures())}
    from ampeco.newer import Newer, NewerNumber
    from ampeco.operations import Id


{classes}


class AsyncActions:
    """Everything that makes something happen, by noun."""

    def __init__(self, run: AsyncRun) -> None:
{members}
'''


def _answers() -> list[str]:
    return sorted({row["answer"] for row in actions() if row["answer"]})


def _class(types: BodyTypes, name: str, found: Iterable[Row]) -> str:
    methods = "\n".join(_method(types, row) for row in found)
    return f'''class Async{_pascal(name)}Actions:
    """Actions of AMPECO: {name.replace("_", " ")}."""

    def __init__(self, run: AsyncRun) -> None:
        self._run = run

{methods}
'''


def _method(types: BodyTypes, row: Row) -> str:
    call = f"await self._run({_call(row)})"
    returned = f"{row['answer']}.read({call})" if row["answer"] else call
    return f"""    async def {_verb(row)}({_signature(types, row)}) -> {row["answer"] or "Any"}:
        {_docstring(row)}
        return {returned}
"""


def _verb(row: Row) -> str:
    return str(row["name"]).partition(".")[2].replace("-", "_")


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
    owners = [_pascal(_verb(row)), _pascal(noun(row)) + _pascal(_verb(row))]
    kinds = [_parameter_type(types, row, name, owners) for name in _path_parameters(row)]
    by_position = ["self", *map("{}: {}".format, arguments(row), kinds)]
    required_first = sorted(row["fields"] or [], key=lambda field: not field.get("required"))
    by_keyword = [f"{snake(field['name'])}: {types.argument(field, owners)}" for field in required_first]
    if row["fields"] is None:
        by_keyword.append("body: Mapping[str, Any] | None = None")
    if _takes_extra(row):
        by_keyword.append("extra: Extra = None")
    names = [part.partition(":")[0] for part in (*by_position, *by_keyword)]
    if len(names) != len(set(names)):
        raise ValueError(f"{row['name']} has two arguments of one name: {names}")
    return ", ".join([*by_position, *(["*", *by_keyword] if by_keyword else [])])


def _parameter_type(types: BodyTypes, row: Row, name: str, owners: list[str]) -> str:
    described = contract_rows.parameter(row["method"], row["path"], name)
    return types.values(described, owners) if described and described.get("values") else "Id"


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
