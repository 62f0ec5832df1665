"""Schemas of AMPECO's objects -> `ampeco/models/objects/`, one module and one class per schema title.

A nested object becomes a class named by its path (`Session.totalAmount` -> `SessionTotalAmount`) unless
`object_words` has a better name; equal shapes of one module share a class. Nothing is required but the `id` of
an object that promises one: AMPECO does not say what may be null.
"""

import json
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ampeco.generator.facts import FACTS, GENERATED, PACKAGE
from ampeco.generator.object_words import (
    ANNOTATIONS,
    CLASS_NAMES,
    DOCS,
    IDS,
    SECRETS,
    SUMMARIES,
    TEXT,
    TIMES_OF_DAY,
)

TARGET = PACKAGE / "models" / "objects"

_WIDTH = 108
_WORDS = re.compile(r"SoC|[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z0-9]+|[A-Z]+")

Schema = Mapping[str, Any]


def outputs() -> dict[Path, str]:
    """Every generated module by its path."""
    schemas = [json.loads(path.read_text()) for path in sorted((FACTS / "schemas").glob("*.json"))]
    titles = sorted(str(schema["title"]) for schema in schemas)
    modules = {TARGET / f"{snake(schema['title'])}.py": _Module(schema).text() for schema in schemas}
    return {TARGET / "__init__.py": _package(titles), TARGET / "places.py": _places(titles), **modules}


def snake(name: str) -> str:
    """`chargePointId` -> `charge_point_id`; a name in snake_case stays as it is."""
    return name if "_" in name or name.islower() else "_".join(_WORDS.findall(name)).lower()


class _Module:
    """One schema's module, built up class by class, inner ones first."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._title = str(schema["title"])
        self._classes: dict[str, str] = {}
        self._shapes: dict[str, str] = {}

    def text(self) -> str:
        self._add(self._title, self._title, self._schema)
        body = "\n\n\n".join(self._classes.values())
        return f'# {GENERATED}\n"""{self._docstring()}\n"""\n\n{_imports(body)}\n\n\n{body}\n'

    def _docstring(self) -> str:
        known = (
            "typed client of the specification v3.96.4 (names and types: confirmed); its index at v3.251.8"
        )
        if "x-types" in self._schema:
            known = "index of the specification v3.251.8"
        source = f"Source: {known} (names: confirmed; their types are not published)."
        lines = textwrap.wrap(source, _WIDTH)
        resource = textwrap.wrap(f"{self._title}: {self._schema['x-resource']}.", _WIDTH)
        return "\n".join([*resource, "", *lines])

    def _add(self, name: str, path: str, schema: Schema) -> str:
        """Add the class of an object, and those of the objects in it."""
        shape = _shape(schema)
        if shape in self._shapes and name != self._title:
            return self._shapes[shape]
        properties = _properties(schema)
        for added in schema.get("x-added-after-3.96.4") or ():
            properties.setdefault(added, {})
        fields = [self._field(name, f"{path}.{wire}", wire, value) for wire, value in properties.items()]
        lines = [f"class {name}(VendorObject):", *_class_doc(self._title, path, properties), "", *fields]
        self._classes[name] = "\n".join(lines)
        self._shapes[shape] = name
        return name

    def _field(self, owner: str, path: str, wire: str, schema: Schema) -> str:
        name = snake(wire)
        if path == f"{self._title}.id" and _promises_id(self._schema):
            return "    id: Id"
        settings = ["default=None"]
        if name != wire and _camel(name) != wire:
            settings.append(f'alias="{wire}"')
        if wire in SECRETS:
            settings.append("repr=False")
        value = "None" if len(settings) == 1 else f"Field({', '.join(settings)})"
        return f"    {name}: {self._annotation(owner, path, wire, schema)} = {value}"

    def _annotation(self, owner: str, path: str, wire: str, schema: Schema) -> str:
        if path in ANNOTATIONS:
            return ANNOTATIONS[path]
        kind = _kind(schema)
        if kind == "array":
            item = self._item(owner, path, wire, schema.get("items") or {})
            return f"list[{item}] | None"
        if kind == "object":
            if _properties(schema):
                return f"Nested[{self._nested(owner, path, wire, schema)}]"
            return "Nested[dict[str, Any]]"
        return _scalar(path, wire, kind, schema)

    def _item(self, owner: str, path: str, wire: str, items: Schema) -> str:
        kind = _kind(items)
        if kind == "object":
            return (
                self._nested(owner, path, _singular(wire), items) if _properties(items) else "dict[str, Any]"
            )
        if _is_id_list(path, wire):
            return "Id"
        return {"number": "float", "string": "str", "boolean": "bool"}.get(kind, "Any")

    def _nested(self, owner: str, path: str, wire: str, schema: Schema) -> str:
        named = owner + "".join(word.capitalize() for word in snake(wire).split("_"))
        return self._add(CLASS_NAMES.get(named, named), path, schema)


def _scalar(path: str, wire: str, kind: str, schema: Schema) -> str:
    if kind in ("", "string") and _is_time(path, wire):
        return "Time"
    if schema.get("x-likely") == "integer" or path in IDS or re.fullmatch(r"id|.*(Id|ID|_id)", wire):
        return "OptionalId"
    if kind == "" and _is_id_list(path, wire):
        return "list[Id] | None"
    if kind == "" and path in TEXT:
        return "str | None"
    return {"number": "float | None", "string": "str | None", "boolean": "bool | None"}.get(kind, "Any")


def _is_time(path: str, wire: str) -> bool:
    return (wire == "timestamp" or wire.endswith("At")) and path not in TIMES_OF_DAY


def _is_id_list(path: str, wire: str) -> bool:
    return path in IDS or wire.endswith(("Ids", "_ids"))


def _promises_id(schema: Schema) -> bool:
    return "id" in schema.get("required", ()) or "id" in (schema.get("x-required-3.251.8") or ())


def _kind(schema: Schema) -> str:
    kind = schema.get("type", "object" if schema.get("oneOf") or schema.get("properties") else "")
    return next(name for name in kind if name != "null") if isinstance(kind, list) else str(kind)


def _properties(schema: Schema) -> dict[str, Schema]:
    """Of an object; of several shapes that exclude each other all of them, enums joined."""
    found: dict[str, Schema] = dict(schema.get("properties") or {})
    for shape in schema.get("oneOf") or ():
        for name, value in shape["properties"].items():
            known = found.get(name, {}).get("enum", ())
            values = [*known, *(each for each in value.get("enum", ()) if each not in known)]
            found[name] = {**value, "enum": values} if values else value
    return found


def _shape(schema: Schema) -> str:
    """What makes two objects the same class: names and types, whatever is required."""
    return json.dumps(
        {
            name: (value.get("type"), _shape(value), _shape(value.get("items") or {}))
            for name, value in _properties(schema).items()
        },
        sort_keys=True,
    )


def _class_doc(title: str, path: str, properties: Mapping[str, Schema]) -> Iterator[str]:
    summary = f"`{path}`." if path != title else SUMMARIES.get(title, f"{_with_article(title)}.")
    entries = [entry for wire, value in properties.items() for entry in _entry(f"{path}.{wire}", wire, value)]
    if not entries:
        yield f'    """{summary}"""'
        return
    yield f'    """{summary}'
    yield ""
    yield "    Attributes:"
    yield from entries
    yield '    """'


def _entry(path: str, wire: str, schema: Schema) -> Iterable[str]:
    said = DOCS.get(path, "")
    values = schema.get("enum") or (schema.get("items") or {}).get("enum")
    if values:
        known = ", ".join(str(value) for value in values if value is not None)
        said = f"{said + '; ' if said else ''}open set; known are {known}."
    if not said:
        return ()
    return textwrap.wrap(
        f"{snake(wire)}: {said}",
        _WIDTH,
        initial_indent=" " * 8,
        subsequent_indent=" " * 12,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _with_article(title: str) -> str:
    words = title if title.isupper() else " ".join(_WORDS.findall(title)).lower()
    return f"{'An' if words[0].lower() in 'aeio' else 'A'} {words}"


def _singular(name: str) -> str:
    if name.endswith("ies"):
        return name[:-3] + "y"
    return name[:-1] if name.endswith("s") and not name.endswith("ss") else name


def _camel(name: str) -> str:
    """As pydantic's `to_camel` has it, which needs no import here."""
    return re.sub(r"_([a-z0-9])", lambda found: found[1].upper(), name)


def _imports(body: str) -> str:
    used = {name for name in ("Annotated", "Any") if re.search(rf"\b{name}\b", body)}
    lines = [f"from typing import {', '.join(sorted(used))}", ""] if used else []
    if "Field(" in body:
        lines += ["from pydantic import Field", ""]
    scalars = [name for name in ("Id", "OptionalId", "Time") if re.search(rf"[:\[] ?{name}\b", body)]
    if scalars:
        lines.append(f"from ampeco.models.fields import {', '.join(scalars)}")
    base = "Nested, VendorObject" if "Nested[" in body else "VendorObject"
    return "\n".join([*lines, f"from ampeco.models.payload import {base}"])


def _places(titles: list[str]) -> str:
    places = "\n".join(f'    "{title}": "ampeco.models.objects.{snake(title)}",' for title in titles)
    return f'''# {GENERATED}
"""Where each object is, by the title of its schema; imports one when it is asked for."""

from collections.abc import Mapping

from ampeco.models.lazy import LazyModels
from ampeco.models.payload import VendorObject

_PLACES = {{
{places}
}}

OBJECTS: Mapping[str, type[VendorObject]] = LazyModels(VendorObject, _PLACES)
'''


def _package(titles: list[str]) -> str:
    modules = sorted(titles, key=snake)
    imports = "\n".join(f"    from ampeco.models.objects.{snake(title)} import {title}" for title in modules)
    exported = sorted(["OBJECTS", *titles], key=lambda name: (not name.isupper(), name))
    names = "\n".join(f'    "{name}",' for name in exported)
    return f'''# {GENERATED}
"""The objects of AMPECO's API that the facts describe, by the title of their schema; imported when used."""

from typing import TYPE_CHECKING

from ampeco.models.objects.places import OBJECTS
from ampeco.models.payload import VendorObject

if TYPE_CHECKING:
{imports}

__all__ = [
{names}
]

if not TYPE_CHECKING:  # a type checker would take every name for an existing one

    def __getattr__(name: str) -> type[VendorObject]:
        if name in OBJECTS:
            return OBJECTS[name]
        raise AttributeError(f"module {{__name__!r}} has no attribute {{name!r}}")
'''
