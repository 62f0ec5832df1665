"""Rows of the table -> AMPECO's nouns, the verbs of each one, and the versions of each verb."""

import re

from ampeco.generator import contract_rows, operations
from ampeco.generator.classes import snake
from ampeco.generator.operations import Row
from ampeco.operations.table import rank

_ROOTS = ("resources", "logs")

Noun = tuple[str, ...]
Nouns = dict[Noun, dict[str, list[Row]]]


def _rows() -> list[Row]:
    return [row for row in operations.rows() if row["name"].split(".")[0] in _ROOTS]


def all_nouns() -> Nouns:
    """Noun -> verb -> its versions, the usual one first; nouns without endpoints of their own included."""
    found: Nouns = {}
    for row in sorted(_rows(), key=rank, reverse=True):
        *noun, verb = row["name"].split(".")
        for length in range(1, len(noun)):
            found.setdefault(tuple(noun[:length]), {})
        found.setdefault(tuple(noun), {}).setdefault(verb, []).append(row)
    for noun, verbs in found.items():
        for verb, versions in verbs.items():
            if len({len(ids_of(row)) for row in versions}) != 1:
                raise ValueError(f"{noun} {verb} takes different ids in different versions")
    return found


def described_body(row: Row, versions: list[Row]) -> Row | None:
    """What the contract says of a body; of the first version that it knows, where it does not know this one."""
    bodies = (contract_rows.body(each["method"], each["path"]) for each in (row, *versions))
    return next((body for body in bodies if body and body["fields"]), None)


def ids_of(row: Row) -> list[str]:
    """The names of the ids in a path, in order."""
    return [snake(name) for name in re.findall(r"\{(\w+)\}", row["path"])]


def writes(row: Row) -> bool:
    """Whether a request has a body."""
    return row["method"] in ("POST", "PUT", "PATCH")
