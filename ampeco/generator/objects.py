"""Schemas of AMPECO's objects -> `ampeco/models/objects/`, one module and one class per schema title.

The published contract says names and types; names that only an older or newer fact has are added. What the
contract requires is required in the objects that notifications carry, and in those only: of the others one `id`
at most is promised, because a read may answer with an older or a newer version.
"""

import json
import re
import textwrap
from pathlib import Path
from typing import Any

from ampeco.facts.shapes import schema_of
from ampeco.generator.classes import WIDTH, Classes, Schema, joined, plain, snake
from ampeco.generator.facts import FACTS, GENERATED, PACKAGE, facts, formatted
from ampeco.generator.object_words import NOT_ANSWERED, SUMMARIES

TARGET = PACKAGE / "models" / "objects"

CARRIED = {
    "ChargePointV1": ("ChargePointChangedNotification", "chargePoint"),
    "LocationV1": ("LocationChangedNotification", "location"),
    "Session": ("SessionUpdateNotification", "session"),
    "Tariff": ("TariffChangedNotification", "tariff"),
    "User": ("UserChangedNotification", "user"),
}
"""Title -> the notification that carries the object, and the field it is in."""

ANSWERED = {
    "Session": ("GET /public-api/resources/sessions/v1.0/{session}",),
    "Tariff": (
        "GET /public-api/resources/tariffs/v1.0/{tariff}",
        "GET /public-api/resources/tariff-snapshots/v1.0/{tariffSnapshot}",
    ),
    "User": ("GET /public-api/resources/users/v1.0/{user}",),
}
"""Title -> reads of the contract that answer with the same class; what only they have is optional."""


def outputs() -> dict[Path, str]:
    """Every generated module by its path."""
    schemas = [json.loads(path.read_text()) for path in sorted((FACTS / "schemas").glob("*.json"))]
    schemas = [schema for schema in schemas if schema["title"] not in NOT_ANSWERED]
    titles = sorted(str(schema["title"]) for schema in schemas)
    modules = {TARGET / f"{snake(schema['title'])}.py": _module(schema) for schema in schemas}
    modules = {path: formatted(path, text) for path, text in modules.items()}
    return {TARGET / "__init__.py": _package(titles), TARGET / "places.py": _places(titles), **modules}


def callback(notification: str) -> dict[str, Any]:
    """The schema of a notification's payload, as the contract has it."""
    contract = facts("contract.json")
    return plain(schema_of(contract["callbacks"][notification]["payload"], contract["shared"]))


def _module(schema: Schema) -> str:
    title = str(schema["title"])
    read = re.search(r"GET (/\S+)", schema["x-resource"])
    documented = _contract(title, f"GET {read[1].rstrip('.;,')}" if read else "")
    older = _named_later(schema)
    for answered in filter(None, map(_answer, ANSWERED.get(title, ()))):
        older = joined(older, {**answered, "required": []})
    promised = "id" in schema.get("required", ()) or "id" in (schema.get("x-required-3.251.8") or ())
    carried = title in CARRIED
    classes = Classes(strict=carried, promised=frozenset({f"{title}.id"} if promised and not carried else ()))
    classes.add(
        title,
        joined(documented, {**plain(older), "required": []}) if documented else older,
        summary=SUMMARIES.get(title, f"{_with_article(title)}."),
    )
    source = (
        "Source: the published contract v3.110.0; names that it lacks: older and newer indexes (optional)."
        if documented
        else "Source: index of the specification v3.251.8 (names only)."
    )
    about = textwrap.wrap(f"{title}: {schema['x-resource']}.", WIDTH)
    return classes.text("\n".join([*about, "", source]), GENERATED)


def _contract(title: str, operation: str) -> dict[str, Any] | None:
    if title in CARRIED:
        notification, name = CARRIED[title]
        return plain(callback(notification)["properties"][name])
    return _answer(operation)


def _answer(operation: str) -> dict[str, Any] | None:
    """The object that an operation of the contract answers with; None where it documents none."""
    contract = facts("contract.json")
    shape = contract["operations"].get(operation, {}).get("answers", {}).get("200")
    if shape is None:
        return None
    answer = plain(schema_of(shape, contract["shared"], without="wo"))
    properties = answer.get("properties", {})
    return plain(properties["data"]) if "data" in properties else answer


def _named_later(schema: Schema) -> dict[str, Any]:
    found = plain(schema)
    for name in schema.get("x-added-after-3.96.4") or ():
        found["properties"].setdefault(name, {})
    return found


def _with_article(title: str) -> str:
    words = title if title.isupper() else snake(title).replace("_", " ")
    return f"{'An' if words[0].lower() in 'aeio' else 'A'} {words}"


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
