"""Endpoints of AMPECO's API, read from `table.json`; knows no transport and no arguments.

One row per endpoint and version. `make generate` makes the rows from the facts in `ampeco/facts`. Where the facts are
silent, we decided (`generator/judgements.json`): the name, and whether a second equal call changes nothing more.
AMPECO documents no idempotency key for any operation.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from string import Formatter
from typing import Any, Literal

Kind = Literal["read", "write", "action"]
Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
Id = str | int
"""Of anything at AMPECO, in a path or a body: a number, or the text of one."""
Paging = Literal["", "empty-cursor", "next-link", "page", "size", "none"]
Format = Literal["", "date", "date-time", "date-time-down", "date-time-up", "local-date-time"]


@dataclass(frozen=True, slots=True)
class Field:
    """One member of a body.

    Attributes:
        name: AMPECO's spelling.
        type: JSON type, `integer` included; of an array that of its items in `items`.
        nullable: null says something else than leaving it out.
        values: the known ones; AMPECO may know more.
        format: how a moment is written: ISO 8601 in UTC (`-down`, `-up`: whole seconds, rounded), or
            `Y-m-d H:i:s` without a zone. `date`: the day alone, of a moment the day in UTC.
        says: what it is for, in a few words; empty when its name says it.
        items: type of an array's items, empty when not publicly documented.
        fields: members of an object, or of the objects in an array; empty when not publicly documented.
    """

    name: str
    type: str
    required: bool = False
    nullable: bool = False
    values: tuple[str | int, ...] = ()
    format: Format = ""
    says: str = ""
    items: str = ""
    fields: tuple["Field", ...] = ()

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> "Field":
        """From its row in the table."""
        given = dict(row)
        given["values"] = tuple(given.get("values", ()))
        given["fields"] = tuple(map(cls.of, given.get("fields", ())))
        return cls(**given)


@dataclass(frozen=True, slots=True)
class Operation:
    """One endpoint in one version.

    Attributes:
        name: our stable name, `<noun>.<verb>`; handlers declare it in `calls`. With `-` for `_` it is the Python
            path below `client.actions`, or below `client` for `resources.`, `logs.` and `notifications.`.
        title: AMPECO's name of it.
        group: AMPECO's group, e.g. `action / charge point`.
        path: path with AMPECO's names of the parameters, e.g. `{chargePoint}`.
        kind: `read` changes nothing, `write` keeps records, `action` makes something happen.
        idempotent: a second equal call changes nothing more, even a late one.
        version: of the endpoint.
        published: the published contract has this version; later indexes name others.
        since: first index of the API that is known to list it.
        fields: members of the body; empty when there is none, None when it is not publicly documented.
        takes: what the body is; an `array` is described by the only one of `fields`.
        answer: name of the object or of the shape that is answered, None when not publicly documented.
        paging: how a listing is asked for its first page: an `empty-cursor`, no cursor but that of the `next-link`,
            the number of a `page`, only the `size` of a page, or `none` of these; empty when not publicly documented.
    """

    name: str
    title: str
    group: str
    method: Method
    path: str
    kind: Kind
    idempotent: bool
    version: str
    deprecated: bool = False
    published: bool = True
    since: str = ""
    fields: tuple[Field, ...] | None = ()
    takes: Literal["object", "array"] = "object"
    answer: str | None = None
    paging: Paging = ""

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the path parameters, in order."""
        return tuple(name for _, name, _, _ in Formatter().parse(self.path) if name)

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> "Operation":
        """From its row in the table."""
        given = dict(row)
        fields = given.get("fields", ())
        given["fields"] = None if fields is None else tuple(map(Field.of, fields))
        return cls(**given)


class Versions(Mapping[tuple[str, str], Operation]):
    """Every endpoint by name and version; each is made on first use, since a process uses few of them."""

    def __init__(self) -> None:
        self._made: dict[tuple[str, str], Operation] = {}

    def __getitem__(self, key: tuple[str, str]) -> Operation:
        if key not in self._made:
            self._made.setdefault(key, Operation.of(_rows()[key]))
        return self._made[key]

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(_rows())

    def __len__(self) -> int:
        return len(_rows())


class Newest(Mapping[str, Operation]):
    """Endpoints by name, each in the version of the highest `rank`."""

    def __init__(self, versions: Mapping[tuple[str, str], Operation]) -> None:
        self._versions = versions

    def __getitem__(self, name: str) -> Operation:
        return self._versions[name, _newest()[name]]

    def __iter__(self) -> Iterator[str]:
        return iter(_newest())

    def __len__(self) -> int:
        return len(_newest())


@cache
def _rows() -> dict[tuple[str, str], dict[str, Any]]:
    rows = json.loads(Path(__file__).with_name("table.json").read_bytes())
    return {(row["name"], row["version"]): row for row in rows}


@cache
def _newest() -> dict[str, str]:
    """Name -> the version to use unless the caller names one."""
    chosen: dict[str, dict[str, Any]] = {}
    for row in _rows().values():
        other = chosen.get(row["name"])
        if other is None or rank(row) > rank(other):
            chosen[row["name"]] = row
    return {name: row["version"] for name, row in chosen.items()}


def rank(row: Mapping[str, Any]) -> tuple[bool, bool, tuple[int, ...]]:
    """Rank the versions of a name: a published one wins, then one that is not deprecated, then the newest.

    A tenant of the contract's age answers 404 to versions that only later indexes name.
    """
    version = tuple(map(int, row["version"].split(".")))
    return row.get("published", True), not row.get("deprecated"), version


VERSIONS: Mapping[tuple[str, str], Operation] = Versions()
"""Every endpoint, by name and version."""

OPERATIONS: Mapping[str, Operation] = Newest(VERSIONS)
"""By name, in the version that is called unless a caller names another one (`rank`)."""
