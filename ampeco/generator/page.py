"""The table -> `ampeco/OPERATIONS.md`, a page for people that lists every endpoint by group."""

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from ampeco.generator import contract_rows
from ampeco.generator.facts import GENERATED, PACKAGE, wrapped
from ampeco.generator.operations import rows

PAGE = PACKAGE / "OPERATIONS.md"

Row = dict[str, Any]

_INTRODUCTION = """Every endpoint of AMPECO's API that is publicly known. With `_` for `-` a name is the Python path
below `client.actions` (actions) or below `client` (everything else). *Body*: are its members publicly documented?
*Repeat*: does a second equal call change nothing more, even a late one? *Since*: the first index that lists it."""


def outputs() -> dict[Path, str]:
    """The page."""
    return {PAGE: wrapped("\n".join(_lines()) + "\n")}


def _lines() -> Iterator[str]:
    yield f"<!-- {GENERATED} -->"
    yield "# Operations"
    yield ""
    yield _INTRODUCTION
    groups = groupby(sorted(rows(), key=_place), key=lambda row: row["group"])
    for group, found in groups:
        yield ""
        yield f"## {group}"
        yield ""
        yield "| name | AMPECO's name | method and path | body | repeat | deprecated | since |"
        yield "|---|---|---|---|---|---|---|"
        yield from map(_line, found)


def _place(row: Row) -> tuple[str, str, str]:
    return row["group"], row["name"], row["version"]


def _line(row: Row) -> str:
    cells = [
        f"`{row['name']}`",
        row["title"],
        f"`{row['method']} {row['path']}`",
        _body(row),
        "harmless" if row["idempotent"] else "**no**",
        "deprecated" if row["deprecated"] else "",
        row["since"],
    ]
    return f"| {' | '.join(cells)} |"


def _body(row: Row) -> str:
    """Whether members of the body are known to the table, or to the types of `resources/bodies.py`."""
    if row["fields"] is not None:
        return "known" if row["fields"] else "none"
    described = contract_rows.body(row["method"], row["path"])
    return "known" if described and described["fields"] else "?"
