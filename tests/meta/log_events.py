"""Find the log events in the code, and those that the catalogue in `deploy/README.md` names."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.meta.repository import MODULES, ROOT

CATALOGUE = ROOT / "deploy" / "README.md"

LEVELS = ("debug", "info", "warning", "error", "critical")
_LOGGERS = ("log", "_log")
_EVENT = re.compile(r"[a-z_]+\.[a-z_]+")
_ROW = re.compile(
    r"^\| `(?P<event>[a-z_]+\.[a-z_]+)` \| (?P<levels>[a-z, ]+) \| (?P<rooms>[a-z, ]+) \| \S.* \|$"
)

Line = tuple[str, str, str]
"""Event, level, room."""


@dataclass(frozen=True)
class Written:
    """Where an event comes from: the levels it is written at, and the rooms that write it."""

    levels: frozenset[str]
    rooms: frozenset[str]


def written() -> dict[str, Written]:
    """Find every event that the rooms write.

    Raises:
        ValueError: an event whose name is not a constant `noun.verb`, so that no catalogue could name it.
    """
    lines = [line for path in MODULES for line in lines_in(path.read_text(), path.relative_to(ROOT))]
    return {
        name: Written(
            frozenset(level for event, level, _ in lines if event == name),
            frozenset(room for event, _, room in lines if event == name),
        )
        for name, _, _ in lines
    }


def lines_in(source: str, path: Path) -> Iterator[Line]:
    """Find the lines that one module writes. `f"event.{x}"` stands for all outcomes of an append."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(func=ast.Attribute(value=logger, attr=level), args=[event, *_]) if level in (
                *LEVELS,
                "exception",
            ) and _is_logger(logger):
                for name in _names(event, f"{path}:{node.lineno}"):
                    yield name, "error" if level == "exception" else level, path.parts[0]


def _is_logger(node: ast.expr) -> bool:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name in _LOGGERS
        case ast.Call(func=ast.Name(id="get_logger")):
            return True
    return False


def _names(event: ast.expr, place: str) -> list[str]:
    match event:
        case ast.Constant(value=str(name)) if _EVENT.fullmatch(name):
            return [name]
        case ast.JoinedStr(values=[ast.Constant(value="event."), ast.FormattedValue()]):
            return ["event.accepted", "event.duplicate", "event.quarantined"]
    raise ValueError(f"{place}: {ast.unparse(event)} is not a constant noun.verb")


def catalogued() -> list[tuple[str, Written]]:
    """Read every row of the catalogue, in its order."""
    rows = [row for line in CATALOGUE.read_text().splitlines() if (row := _ROW.match(line))]
    return [
        (row["event"], Written(frozenset(row["levels"].split(", ")), frozenset(row["rooms"].split(", "))))
        for row in rows
    ]
