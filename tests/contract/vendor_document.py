"""AMPECO's published OpenAPI document, read as it is; uses no facts, models, generator or simulator of ours.

The document is not part of this repository: where it is not at hand, tests of it are skipped.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

Node = Mapping[str, Any]
"""A schema as OpenAPI 3.0 writes it."""

DOCUMENT = Path(__file__).parents[3] / "shared" / "ampeco" / "openapi-v3.110.0.json"
needs_the_document = pytest.mark.skipif(not DOCUMENT.exists(), reason="the vendor's document is not at hand")

GROUPS = ("allOf", "anyOf", "oneOf")
_METHODS = ("get", "post", "put", "patch", "delete")
_KEPT = ("format", "minimum", "maximum", "minLength", "maxLength", "pattern", "minItems", "maxItems", "type")
_SLIPS = {"charge-point": "chargePoint"}  # required by the one name, described by the other


@dataclass(frozen=True)
class Described:
    """One operation of the document.

    Attributes:
        query: declared query parameters, name -> parameter.
        ids: path parameters in the order of the path.
        body: schema of the request; None without one.
        answers: status -> schema of the JSON answer; None for an answer without one.
    """

    method: str
    path: str
    deprecated: bool
    query: Mapping[str, Node]
    ids: tuple[Node, ...]
    body: Node | None
    body_required: bool
    answers: Mapping[int, Node | None]

    @property
    def successes(self) -> dict[int, Node | None]:
        return {status: node for status, node in self.answers.items() if status < 300}


@cache
def document() -> dict[str, Any]:
    """The whole document."""
    found: dict[str, Any] = json.loads(DOCUMENT.read_bytes())
    return found


@cache
def operations() -> tuple[Described, ...]:
    """Every operation."""
    return tuple(
        _described(path, method, entry[method], entry.get("parameters", ()))
        for path, entry in document()["paths"].items()
        for method in _METHODS
        if method in entry
    )


@cache
def payloads() -> dict[str, Node]:
    """Notification type -> schema of its body, from the callbacks of every Subscribe; their versions agree."""
    found: dict[str, Node] = {}
    for path, entry in document()["paths"].items():
        for name, by_url in entry.get("post", {}).get("callbacks", {}).items():
            ((_, called),) = by_url.items()
            schema = _json_of(called["post"]["requestBody"])
            assert schema is not None
            assert found.setdefault(name, schema) == schema, (name, path)
    return found


def examples(node: Any, format: str = "") -> Iterator[Any]:
    """Values that the document shows as examples, below this place, of a format if one is given."""
    if isinstance(node, dict):
        if "example" in node and node.get("format", "").startswith(format):
            yield node["example"]
        for part in node.values():
            yield from examples(part, format)
    elif isinstance(node, list):
        for part in node:
            yield from examples(part, format)


def validator(node: Node, *, without: str = "") -> Draft202012Validator:
    """Judge of a value.

    Args:
        without: `readOnly` in a request, `writeOnly` in an answer: fields with that mark are not required.
    """
    return Draft202012Validator(json_schema(node, without))


def json_schema(node: Node, without: str = "") -> dict[str, Any]:
    """OpenAPI 3.0 as JSON Schema (draft 2020-12)."""
    return _converted(node, frozenset(_marked(node, without)) if without else frozenset(), without)


def _converted(node: Node, hidden: frozenset[str], without: str) -> dict[str, Any]:
    made: dict[str, Any] = {word: node[word] for word in _KEPT if word in node}
    for group in GROUPS:
        if group in node:
            inner = [hidden | frozenset(_marked(part, without)) for part in node[group]]
            # Alternatives of a `oneOf` overlap in places, so more than one of them may fit.
            made[group.replace("oneOf", "anyOf")] = [
                _converted(part, hid, without) for part, hid in zip(node[group], inner, strict=True)
            ]
    if "properties" in node:
        made["properties"] = {name: json_schema(part, without) for name, part in node["properties"].items()}
    if node.get("required"):
        made["required"] = [_SLIPS.get(name, name) for name in node["required"] if name not in hidden]
    if "items" in node:
        made["items"] = json_schema(node["items"], without)
    if isinstance(node.get("additionalProperties"), Mapping):
        made["additionalProperties"] = json_schema(node["additionalProperties"], without)
    if "enum" in node:
        made["enum"] = [*node["enum"], None] if node.get("nullable") else list(node["enum"])
    if not node.get("nullable"):
        return made
    if "type" in made and not any(group in node for group in GROUPS):
        return {**made, "type": [made["type"], "null"]}
    return {"anyOf": [made, {"type": "null"}]}


def _marked(node: Node, mark: str) -> Iterator[str]:
    """Fields with this mark in any part of an object."""
    if mark:
        yield from (name for name, part in node.get("properties", {}).items() if part.get(mark))
        for group in GROUPS:
            for part in node.get(group, ()):
                yield from _marked(part, mark)


def _described(path: str, method: str, entry: Node, shared: Any) -> Described:
    parameters = [*shared, *entry.get("parameters", ())]
    named = {each["name"]: each for each in parameters if each["in"] == "path"}
    body = entry.get("requestBody")
    return Described(
        method.upper(),
        path,
        bool(entry.get("deprecated")),
        {each["name"]: each for each in parameters if each["in"] == "query"},
        tuple(named[part[1:-1]] for part in path.split("/") if part.startswith("{")),
        _json_of(body) if body else None,
        bool(body and body.get("required")),
        {int(status): _json_of(answer) for status, answer in entry["responses"].items()},
    )


def _json_of(message: Node) -> Node | None:
    content = message.get("content", {})
    assert set(content) <= {"application/json"}, list(content)
    found: Node | None = content.get("application/json", {}).get("schema")
    return found
