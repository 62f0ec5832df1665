"""Callbacks of the contract -> `ampeco/models/*.py`: one class per payload, modules by noun."""

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ampeco.generator.classes import WIDTH, Classes, snake
from ampeco.generator.facts import GENERATED, PACKAGE, formatted
from ampeco.generator.objects import CARRIED, callback
from ampeco.generator.payload_words import PAYLOADS, Words


def outputs() -> dict[Path, str]:
    """Every generated module by its path."""
    by_module: dict[str, list[str]] = {}
    for name, words in PAYLOADS.items():
        if words.summary:
            by_module.setdefault(words.module, []).append(name)
    made = {
        PACKAGE / "models" / f"{module}.py": _module(module, names) for module, names in by_module.items()
    }
    return {path: formatted(path, text) for path, text in made.items()}


def _module(module: str, names: list[str]) -> str:
    classes = Classes(strict=True)
    for name in names:
        _add(classes, name, PAYLOADS[name])
    bases = sorted({PAYLOADS[name].base for name in names})
    objects = sorted(title for title, (notification, _) in CARRIED.items() if notification in names)
    imports = (
        f"from ampeco.models.liberal import {', '.join(bases)}",
        *(f"from ampeco.models.objects.{snake(title)} import {title}" for title in objects),
    )
    types = ", ".join(f"`{name}`" for name in names)
    docstring = "\n".join(
        [
            f"Payloads of {module.replace('_', ' ')} notifications.",
            "",
            *textwrap.wrap(
                f"Source: published contract v3.110.0, callbacks {types}.", WIDTH, break_on_hyphens=False
            ),
        ]
    )
    return classes.text(docstring, GENERATED, imports)


def _add(classes: Classes, name: str, words: Words) -> None:
    schema = callback(name)
    fields: dict[str, Any] = {
        wire: value for wire, value in schema["properties"].items() if wire != "notification"
    }
    carried = {field: title for title, (notification, field) in CARRIED.items() if notification == name}
    required = [each for each in schema.get("required", ()) if each not in words.optional]
    docs = {f"{words.name}.{_wire(attribute, words, fields)}": said for attribute, said in words.docs.items()}
    summary = words.summary
    if words.more:
        wrapped = [part for line in words.more.splitlines() for part in textwrap.wrap(line, WIDTH - 4)]
        summary = "\n    ".join([summary, "", *wrapped])
    classes.add(
        words.name,
        {"type": "object", "properties": fields, "required": required},
        base=words.base,
        summary=summary,
        names=words.attributes,
        constants=tuple(_constants(name, words)),
        objects=carried,
        docs=docs,
    )


def _wire(attribute: str, words: Words, fields: Mapping[str, Any]) -> str:
    return next(wire for wire in fields if words.attributes.get(wire, snake(wire)) == attribute)


def _constants(name: str, words: Words) -> list[str]:
    types = (name, *words.covers)
    lines = [f"    notification_types: ClassVar[tuple[str, ...]] = {types!r}"]
    if words.carries:
        lines.append(f"    carries: ClassVar[str] = {words.carries!r}")
    if words.nouns:
        lines.append(f"    nouns: ClassVar[tuple[str, ...]] = {words.nouns!r}")
    if words.synonyms:
        lines.append(f"    synonyms: ClassVar[Mapping[str, tuple[str, ...]]] = {dict(words.synonyms)!r}")
    if words.same_words:
        same = {field: dict(each) for field, each in words.same_words.items()}
        lines.append(f"    same_words: ClassVar[Mapping[str, Mapping[str, str]]] = {same!r}")
    return lines
