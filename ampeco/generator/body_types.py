"""The Python types of arguments: text with known values, ids in either spelling, TypedDicts for nested objects."""

import json
from collections.abc import Iterable
from typing import Any

from ampeco.generator.facts import GENERATED, judgements

_PLAIN = {"string": "str", "integer": "int", "number": "float", "boolean": "bool"}
_ID_ENDINGS = ("Id", "Ids", "_id")

Row = dict[str, Any]


def open_text(values: Iterable[str]) -> str:
    """Text with these known values."""
    return f"Literal[{', '.join(map(json.dumps, values))}] | str"


class BodyTypes:
    """Collects the nested objects of all bodies while it names types; equal names must mean equal shapes."""

    def __init__(self) -> None:
        self._shapes: dict[str, list[Row]] = {}
        self._in_signatures: set[str] = set()

    def argument(self, field: Row) -> str:
        """Type of an argument that is a member of the body, with its default if it has one."""
        if field.get("fields"):
            self._in_signatures.add(_class_name(field))
        if field.get("required"):
            return self._type(field)
        unset = {**field, "nullable": False}
        return f"{self._type(unset)} | Unset{' | None' if field.get('nullable') else ''} = UNSET"

    def in_signatures(self) -> list[str]:
        """Names that `argument` has given out."""
        return sorted(self._in_signatures)

    def module(self) -> str:
        """The module that defines every type that was named."""
        classes = "\n\n\n".join(self._class(name) for name in sorted(self._shapes))
        return f'''# {GENERATED}
"""Objects inside the bodies of actions; their keys are spelled as AMPECO spells them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal, NotRequired, TypedDict

from ampeco.operations import Id


{classes}
'''

    def _class(self, name: str) -> str:
        members = [f"    {f['name']}: {_member(self._type(f), f)}" for f in self._shapes[name]]
        return f'class {name}(TypedDict):\n    """Inside the body of an action."""\n\n' + "\n".join(members)

    def _type(self, field: Row) -> str:
        plain = self._one(field, field["type"])
        if field["type"] == "array":
            plain = f"Sequence[{self._one(field, field.get('items', ''))}]"
        return f"{plain} | None" if field.get("nullable") else plain

    def _one(self, field: Row, kind: str) -> str:
        if field.get("fields"):
            return self._named(field)
        if field.get("values"):
            return open_text(field["values"])
        if field.get("format"):
            return "datetime | str"
        if kind != "boolean" and (field["name"] == "id" or field["name"].endswith(_ID_ENDINGS)):
            return "Id"
        return _PLAIN.get(kind, "Any")

    def _named(self, field: Row) -> str:
        name = _class_name(field)
        if self._shapes.setdefault(name, field["fields"]) != field["fields"]:
            raise ValueError(f"two shapes are called {name}")
        for member in field["fields"]:
            self._type(member)
        return name


def _member(kind: str, field: Row) -> str:
    return kind if field.get("required") else f"NotRequired[{kind}]"


def _class_name(field: Row) -> str:
    given: str | None = judgements()["types"].get(field["name"])
    return given or "".join(part[0].upper() + part[1:] for part in field["name"].split("_"))
