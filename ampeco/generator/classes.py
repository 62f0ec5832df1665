"""JSON Schemas -> the text of pydantic classes: one class per object, one typed attribute per field.

A nested object becomes a class named by its path (`Session.totalAmount` -> `SessionTotalAmount`) unless
`object_words` has a better name; equal shapes of one module share a class. Enums stay text, because AMPECO may
add values; the docstring lists the known ones.
"""

import json
import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ampeco.generator.object_words import CLASS_NAMES, DOCS, IDS, NO_MOMENTS, SECRETS, TEXT

WIDTH = 108
_LISTED_VALUES = 12
_WORDS = re.compile(r"SoC|[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z0-9]+|[A-Z]+")
_SCALARS = {"integer": "Whole", "number": "Number", "boolean": "Flag", "string": "Text"}
_IMPORTED = {
    "collections.abc": ("Mapping",),
    "typing": ("ClassVar",),
    "pydantic": ("Field",),
    "ampeco.models.fields": (
        "Anything", "Flag", "FreeObject", "Id", "Number", "OptionalId", "RequiredTime", "Text", "Time", "Whole",
    ),
    "ampeco.models.payload": ("Nested", "Payload", "VendorObject"),
    "ampeco.states": ("normal_network_status",),
}  # fmt: skip

Schema = Mapping[str, Any]


def snake(name: str) -> str:
    """`chargePointId` -> `charge_point_id`; a name in snake_case stays as it is."""
    return name if "_" in name or name.islower() else "_".join(_WORDS.findall(name)).lower()


def camel(name: str) -> str:
    """As pydantic's `to_camel` has it, which needs no import here."""
    return re.sub(r"_([a-z0-9])", lambda found: found[1].upper(), name)


def plain(schema: Schema) -> dict[str, Any]:
    """A schema whose groups (`allOf`, `anyOf`, `oneOf`) are merged into one, all fields of all parts together."""
    merged: dict[str, Any] = {name: value for name, value in schema.items() if name not in _GROUPS}
    for part in (part for group in _GROUPS for part in schema.get(group) or ()):
        if part.get("type") != "null":
            merged = joined(merged, plain(part))
    return merged


_GROUPS = ("allOf", "anyOf", "oneOf")


def joined(first: Schema, second: Schema) -> dict[str, Any]:
    """Both schemas in one; where they name the same field, the first one says its type."""
    first, second = plain(first), plain(second)
    found = {**second, **first}
    if "properties" in first and "properties" in second:
        names = [
            *first["properties"],
            *(name for name in second["properties"] if name not in first["properties"]),
        ]
        found["properties"] = {
            name: joined(first["properties"].get(name, {}), second["properties"].get(name, {}))
            for name in names
        }
        found["required"] = [*first.get("required", ()), *second.get("required", ())]
    if "items" in first and "items" in second:
        found["items"] = joined(first["items"], second["items"])
    if "enum" in first and "enum" in second:
        found["enum"] = [*first["enum"], *(each for each in second["enum"] if each not in first["enum"])]
    return found


@dataclass
class Classes:
    """The classes of one module, built up one by one, inner ones first.

    Attributes:
        strict: what the schemas require is required; else nothing is but the ids in `promised`.
        promised: paths of ids that are always there.
    """

    strict: bool
    promised: frozenset[str] = frozenset()
    _texts: dict[str, str] = field(default_factory=dict)
    _names: dict[str, str] = field(default_factory=dict)

    def add(
        self,
        name: str,
        schema: Schema,
        *,
        path: str = "",
        base: str = "VendorObject",
        summary: str = "",
        names: Mapping[str, str] | None = None,
        constants: tuple[str, ...] = (),
        objects: Mapping[str, str] | None = None,
        docs: Mapping[str, str] | None = None,
    ) -> str:
        """Add the class of an object, and those of the objects in it; returns its name.

        Args:
            path: where the object is, for words about its fields.
            names: wire name -> attribute, where it is not the wire name in snake_case.
            constants: lines above the fields.
            objects: wire name -> class of another module that it holds.
            docs: path of a field -> words about it, beyond those in `object_words`.
        """
        path, schema = path or name, plain(schema)
        fields: dict[str, Schema] = {
            wire: plain(value) for wire, value in schema.get("properties", {}).items()
        }
        required = {camel(each.replace("-", "_")) for each in schema.get("required", ())} | {
            *schema.get("required", ())
        }
        shape = json.dumps(_shape(schema, strict=self.strict), sort_keys=True)
        if base == "VendorObject" and shape in self._names:
            return self._names[shape]
        lines, entries = [], []
        for wire, value in fields.items():
            attribute = (names or {}).get(wire, snake(wire))
            here = f"{path}.{wire}"
            entries += _documented(attribute, (docs or {}).get(here) or DOCS.get(here, ""), value)
            needed = here in self.promised or (self.strict and wire in required and not _nullable(value))
            known = (objects or {}).get(wire) or self._annotation(name, here, wire, value)
            annotation = known if needed else _optional(known)
            lines.append(_line(wire, attribute, annotation, needed=needed))
        heading = f'    """{summary or f"`{path}`."}'
        doc = [heading, "", "    Attributes:", *entries, '    """'] if entries else [f'{heading}"""']
        parts = [f"class {name}({base}):", *doc, "", *constants, *([""] if constants else []), *lines]
        self._texts[name] = "\n".join([*parts, *_normal_status(lines)])
        self._names[shape] = name
        return name

    def text(self, docstring: str, generated: str, imports: tuple[str, ...] = ()) -> str:
        """The module."""
        body = "\n\n\n".join(self._texts.values())
        used = {
            module: [each for each in names if re.search(rf"\b{each}\b", body)]
            for module, names in _IMPORTED.items()
        }
        lines = [f"from {module} import {', '.join(names)}" for module, names in used.items() if names]
        ours = sorted([*(line for line in lines if line.startswith("from ampeco")), *imports])
        typing = [line for line in lines if line.startswith(("from collections", "from typing"))]
        pydantic = [line for line in lines if line.startswith("from pydantic")]
        groups = ["\n".join(group) for group in (typing, pydantic, ours) if group]
        head = "\n\n".join(groups)
        return f'# {generated}\n"""{docstring}\n"""\n\n{head}\n\n\n{body}\n'

    def _annotation(self, owner: str, path: str, wire: str, schema: Schema) -> str:
        """The type of a value that is there."""
        kind = _kind(schema)
        if kind == "object":
            return self._object(owner, path, wire, schema)
        if kind != "array":
            return _scalar(path, wire, schema)
        items = plain(schema.get("items") or {})
        if _kind(items) == "object":
            return f"tuple[{self._object(owner, path, _singular(wire), items)}, ...]"
        return f"tuple[{_scalar(path, f'{wire}Id' if _lists_ids(path, wire) else '', items)}, ...]"

    def _object(self, owner: str, path: str, wire: str, schema: Schema) -> str:
        if not schema.get("properties"):
            return "FreeObject"
        named = owner + "".join(word.capitalize() for word in snake(wire).split("_"))
        return self.add(CLASS_NAMES.get(named, named), schema, path=path)


def _line(wire: str, attribute: str, annotation: str, *, needed: bool) -> str:
    settings = [] if needed else ["default=None"]
    if attribute != wire and camel(attribute) != wire:
        settings.append(f'alias="{wire}"')
    if wire in SECRETS:
        settings.append("repr=False")
    value = (
        " = None" if settings == ["default=None"] else f" = Field({', '.join(settings)})" if settings else ""
    )
    return f"    {attribute}: {annotation}{value}"


def _optional(annotation: str) -> str:
    optional = {"Id": "OptionalId", "RequiredTime": "Time", "Anything": "Anything"}
    if annotation in optional:
        return optional[annotation]
    if annotation in _SCALARS.values() or annotation.startswith("tuple["):
        return f"{annotation} | None"
    return f"Nested[{annotation}]"


def _scalar(path: str, wire: str, schema: Schema) -> str:
    kind = _kind(schema)
    if _is_moment(path, wire, schema):
        return "RequiredTime"
    is_text = path in TEXT or wire in TEXT
    if kind != "boolean" and not is_text and _is_id(path, wire, schema):
        return "Id"
    if not kind and _lists_ids(path, wire):
        return "tuple[Id, ...]"
    return _SCALARS.get("string" if is_text and not kind else kind, "Anything")


def _is_id(path: str, wire: str, schema: Schema) -> bool:
    if _kind(schema) == "number" and "x-likely" not in schema:
        return False  # the contract allows fractions
    return schema.get("x-likely") == "integer" or path in IDS or bool(re.fullmatch(r"id|.*(Id|ID|_id)", wire))


def _lists_ids(path: str, wire: str) -> bool:
    return path in IDS or wire.endswith(("Ids", "_ids"))


def _is_moment(path: str, wire: str, schema: Schema) -> bool:
    if path in NO_MOMENTS or wire in NO_MOMENTS or _kind(schema) not in ("", "string"):
        return False
    return schema.get("format") in ("date-time", "datetime") or wire == "timestamp" or wire.endswith("At")


def _kind(schema: Schema) -> str:
    kind = schema.get("type", "object" if "properties" in schema else "string" if "enum" in schema else "")
    return next(name for name in kind if name != "null") if isinstance(kind, list) else str(kind)


def _nullable(schema: Schema) -> bool:
    return isinstance(schema.get("type"), list) and "null" in schema["type"]


def _shape(schema: Schema, *, strict: bool) -> Any:
    """What makes two objects the same class: names and types, and what is required where that counts."""
    schema = plain(schema)
    fields = {name: _shape(value, strict=strict) for name, value in schema.get("properties", {}).items()}
    inner = _shape(schema["items"], strict=strict) if "items" in schema else None
    return [
        _kind(schema),
        schema.get("format"),
        fields,
        inner,
        sorted(schema.get("required", ())) if strict else [],
    ]


def _documented(attribute: str, said: str, schema: Schema) -> list[str]:
    values = schema.get("enum") or plain(schema.get("items") or {}).get("enum") or ()
    known = [str(value) for value in values if value is not None]
    if known and len(known) <= _LISTED_VALUES and _kind(schema) in ("string", "array"):
        said = f"{f'{said} Known' if said else 'known'} values: {', '.join(known)}."
    if not said:
        return []
    return textwrap.wrap(
        f"{attribute}: {said}",
        WIDTH,
        initial_indent=" " * 8,
        subsequent_indent=" " * 12,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _normal_status(lines: list[str]) -> Iterator[str]:
    for line in lines:
        if line.startswith("    network_status: Text"):
            yield ""
            yield "    @property"
            yield f"    def normal_network_status(self) -> {'str | None' if '| None' in line else 'str'}:"
            yield '        """`network_status` in its one normal form, see `ampeco.states.Network`."""'
            yield "        return normal_network_status(self.network_status)"


def _singular(name: str) -> str:
    if name.endswith("ies"):
        return name[:-3] + "y"
    return name[:-1] if name.endswith("s") and not name.endswith("ss") else name
