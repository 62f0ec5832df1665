"""Rows of bodies -> Python types: a TypedDict for each object, an alias for each long set of values."""

import json
import re
from collections.abc import Callable, Iterable
from typing import Any

from ampeco.generator.facts import GENERATED, judgements

_PLAIN = {"string": "str", "integer": "int", "number": "float", "boolean": "bool"}
_ID_ENDINGS = ("Id", "Ids", "_id")
_LONG = 40
_IMPORTS = {
    "collections.abc": ("Mapping", "Sequence"),
    "datetime": ("datetime",),
    "typing": ("Any", "Literal", "NotRequired", "Required", "TypedDict"),
    "ampeco.newer": ("Newer", "NewerNumber"),
    "ampeco.operations": ("Id",),
}
_SAYS_LITTLE = {"Type", "Status", "Reason", "Action", "Name", "Kind"}

Row = dict[str, Any]


class BodyTypes:
    """Collects the objects of all bodies while it names their types; equal shapes of one noun share one.

    Args:
        says: docstring of the module.
        ids: members that are called like ids take the text of a number too (`encode` turns it into one).
    """

    def __init__(self, says: str, *, ids: bool) -> None:
        self._says, self._ids, self._noun = says, ids, ""
        self._texts: dict[str, str] = {}
        self._names: dict[str, str] = {}
        self._used: set[str] = set()

    def argument(self, field: Row, owners: list[str]) -> str:
        """Type of an argument that is a member of the body, with its default if it has one.

        Args:
            owners: what a name may start with where the field's own name is taken or says little.
        """
        if field.get("required"):
            return self._type(field, owners, used=True)
        unset = self._type({**field, "nullable": False}, owners, used=True)
        return f"{unset} | Unset{' | None' if field.get('nullable') else ''} = UNSET"

    def body(self, row: Row, name: str, owner: str) -> str:
        """Name of the type of a whole body; bodies of one shape and noun are one type with two names.

        Args:
            name: what to call it.
            owner: start of the names of the objects in it; where that is taken, `name` is.
        """
        self._noun = owner
        made = self._named(row["fields"], [name], [owner, name], f"Body of `{row['name']}`.", used=True)
        if name not in self._texts:
            self._texts[name] = f"{name} = {made}"
        return name

    def values(self, field: Row, owners: list[str]) -> str:
        """Type of a path parameter that is one of a few words."""
        return self._literal(field, owners, used=True)

    def in_signatures(self) -> list[str]:
        """Names that were given out, of types that a signature needs."""
        return sorted(self._used)

    def module(self) -> str:
        """The module that defines every type that was named."""
        texts = sorted(self._texts.items())
        values = (text for _, text in texts if " = Literal[" in text)
        classes = ("\n\n" + text for _, text in texts if text.startswith("class "))
        same = (text for name, text in texts if text.startswith(f"{name} = ") and "[" not in text)
        body = "\n".join([*values, *classes, "\n", *same])
        imports = [
            f"from {module} import {', '.join(found)}"
            for module, names in _IMPORTS.items()
            if (found := [name for name in names if re.search(rf"\b{name}\b", body)])
        ]
        head = [f"# {GENERATED}", f'"""{self._says}"""', "from __future__ import annotations", *imports]
        return "\n".join([*head, "", body, ""])

    def _type(self, field: Row, owners: list[str], *, used: bool = False) -> str:
        plain = self._one(field, field["type"], owners, used=used)
        if field["type"] == "array":
            plain = f"Sequence[{self._one(field, field.get('items', ''), owners, used=used)}]"
        return f"{plain} | None" if field.get("nullable") and plain != "Any" else plain

    def _one(self, field: Row, kind: str, owners: list[str], *, used: bool) -> str:
        if field.get("fields"):
            name = judgements()["types"].get(field["name"]) or _type_name(field)
            below = [owner + name for owner in owners]
            names = [name, *below] if self._ids else below
            return self._named(field["fields"], names, below, used=used)
        if field.get("values"):
            return self._literal(field, owners, used=used)
        if field.get("format") == "date":
            return "date | str"
        if field.get("format"):
            return "datetime | str"
        if kind == "object":
            rest = field.get("rest")
            return f"Mapping[str, {self._type(rest, owners) if rest else 'Any'}]"
        if self._ids and kind != "boolean" and (field["name"] == "id" or field["name"].endswith(_ID_ENDINGS)):
            return "Id"
        return _PLAIN.get(kind, "Any")

    def _literal(self, field: Row, owners: list[str], *, used: bool) -> str:
        newer = "Newer" if isinstance(field["values"][0], str) else "NewerNumber"
        text = f"Literal[{', '.join(map(json.dumps, field['values']))}] | {newer}"
        if len(text) <= _LONG:
            return text
        name = _type_name(field)
        names = [*([] if name in _SAYS_LITTLE else [name]), *(owner + name for owner in owners)]
        return self._add(text, names, lambda chosen: f"{chosen} = {text}", used=used)

    def _named(
        self, fields: list[Row], names: list[str], owners: list[str], says: str = "", *, used: bool = False
    ) -> str:
        members = [(f, self._type(f, owners)) for f in fields]
        optional = [f for f in fields if not f.get("required")]
        total = len(optional) * 2 <= len(fields)
        lines = [f"    {f['name']}: {_member(kind, f, total)}" for f, kind in members]
        head = [f'    """{says}"""\n'] if says else []
        text = "\n".join([f"(TypedDict{'' if total else ', total=False'}):", *head, *lines])
        shape = "\n".join([self._noun, str(total), *lines])
        return self._add(shape, names, lambda chosen: f"class {chosen}{text}", used=used)

    def _add(self, shape: str, names: Iterable[str], text: Callable[[str], str], *, used: bool) -> str:
        if shape not in self._names:
            name = next((name for name in names if name not in self._texts), None)
            if name is None:
                raise ValueError(f"no name is left among {names} for {shape}")
            self._names[shape], self._texts[name] = name, text(name)
        if used:
            self._used.add(self._names[shape])
        return self._names[shape]


def _member(kind: str, field: Row, total: bool) -> str:
    if total:
        return kind if field.get("required") else f"NotRequired[{kind}]"
    return f"Required[{kind}]" if field.get("required") else kind


def singular(name: str) -> str:
    """One of what a plural names: `currencies` -> `currency`."""
    if name.endswith("ies"):
        return name[:-3] + "y"
    return name.removesuffix("es") if name.endswith("xes") else name.removesuffix("s")


def _type_name(field: Row) -> str:
    return _pascal(singular(field["name"]) if field["type"] == "array" else field["name"])


def _pascal(name: str) -> str:
    return "".join(part[0].upper() + part[1:] for part in name.split("_"))
