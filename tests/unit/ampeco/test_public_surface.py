"""The names that callers use: none of `public_surface.json` is lost, and none of the contract is missing."""

import inspect
import json
import re
from collections.abc import Iterator
from functools import reduce
from pathlib import Path
from typing import Any

import pytest

from ampeco.client import AsyncClient, Client
from ampeco.generator.objects import snake
from ampeco.operations import OPERATIONS, VERSIONS, Operation
from tests.unit.ampeco.typed_surface import Typed, methods

PINNED: dict[str, str] = json.loads(Path(__file__).with_name("public_surface.json").read_text())
CONTRACT = json.loads((Path(__file__).parents[3] / "ampeco" / "facts" / "contract.json").read_text())
CLIENTS = {kind.__name__: kind("https://tenant.example", "token") for kind in (AsyncClient, Client)}
client_of = pytest.mark.parametrize("client", CLIENTS.values(), ids=CLIENTS)
NO_LISTS = ("resources.circuits.soc_priorities", "resources.settings")
LISTS = (
    "resources.firmware_versions.attached_models",
    "resources.flexibility_assets.historical_time_series",
    "resources.flexibility_assets.time_series_forecast",
)
CORRECTED = {f"{noun}.list": f"{noun}.read" for noun in NO_LISTS} | {
    f"{noun}.read": f"{noun}.list" for noun in LISTS
}
"""Pinned path -> today's: older facts were wrong about which of them are lists."""
NOTIFICATIONS = {"1.0": "notifications_v1", "2.0": "notifications"}


def path_of(operation: Operation) -> str:
    """Where a client has an operation: `actions.charge_point.reset`."""
    name = operation.name.replace("-", "_")
    if operation.kind == "action":
        return f"actions.{name}"
    noun, _, verb = name.partition(".")
    return f"{NOTIFICATIONS[operation.version]}.{verb}" if noun == "notifications" else name


def described(client: Any, path: str) -> str:
    """Parameters of a method as `public_surface.json` writes them."""
    noun = reduce(getattr, path.split(".")[:-1], client)
    method = getattr(noun, path.rsplit(".", 1)[1])
    typed = methods(type(noun)).get(method.__name__)
    return signature(method) if typed is None else signature_of_mixin(noun, method, typed)


def signature(method: Any) -> str:
    parts = []
    for parameter in inspect.signature(method).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in parts:
            parts.append("*")
        if parameter.kind is parameter.VAR_KEYWORD:
            parts.append(f"**{parameter.name}")
        elif parameter.name == "version":
            versions = re.search(r"V([\d_]+)", parameter.annotation)
            assert versions is not None
            parts.append(f"version={'|'.join('.'.join(number) for number in versions[1].split('_'))}")
        else:
            optional = parameter.kind is parameter.KEYWORD_ONLY and parameter.default is not parameter.empty
            parts.append(parameter.name + "?" * optional)
    return " ".join(parts)


def signature_of_mixin(noun: Any, method: Any, typed: Typed) -> str:
    """Ids have no names in the signature of a mixin: they are those of the path, in its order."""
    operation = OPERATIONS[f"{noun._name}.{method.__name__}"]
    ids = [snake(name) for name in operation.parameters]
    assert len(ids) == typed.ids, operation.name
    named = [p for p in inspect.signature(method).parameters.values() if p.kind is p.KEYWORD_ONLY]
    optional = [f"{p.name}?" for p in named if p.name not in ("body", "version")]
    body = ["body"] * any(p.name == "body" for p in named)
    return " ".join([*ids, *body, "*", *optional, f"version={'|'.join(typed.versions)}"])


def parted(text: str) -> tuple[list[str], set[str]]:
    """Parameters by position, and by keyword."""
    by_position, _, by_keyword = text.partition("*")
    return by_position.split(), set(by_keyword.split())


@client_of
def test_every_pinned_method_is_there_with_its_parameters(client: Any) -> None:
    """Parameters may be added and may become optional; versions, ids and their order stay."""
    for path in PINNED.keys() - CORRECTED.keys():
        pinned = PINNED[path]
        found = described(client, path)
        (ids, keywords), (known_ids, known) = parted(found), parted(pinned)
        assert ids == known_ids, path
        for keyword in known:
            assert keywords & {keyword, f"{keyword.rstrip('?')}?"}, f"{path} has lost {keyword}: {found}"


@client_of
def test_no_method_is_without_an_operation(client: Any) -> None:
    operations = {path_of(operation) for operation in VERSIONS.values()}
    assert set(walked(client)) == operations == {CORRECTED.get(path, path) for path in PINNED}


def walked(client: Any) -> Iterator[str]:
    for root in ("actions", "resources", "logs", *NOTIFICATIONS.values()):
        yield from _walked(getattr(client, root), root)


def _walked(noun: Any, path: str) -> Iterator[str]:
    names = {*dir(type(noun)), *vars(noun)}
    for name in sorted(name for name in names if not name.startswith("_")):
        found = getattr(noun, name)
        if callable(found):
            yield f"{path}.{name}"
        else:
            yield from _walked(found, f"{path}.{name}")


@client_of
def test_every_operation_of_the_contract_has_a_typed_method(client: Any) -> None:
    known = {(operation.method, operation.path): operation for operation in VERSIONS.values()}
    missing = []
    for operation_id in CONTRACT["operations"]:
        operation = known.get(tuple(operation_id.split(" ")))
        if operation is None:
            missing.append(operation_id)
            continue
        noun = reduce(getattr, path_of(operation).split(".")[:-1], client)
        verb = path_of(operation).rsplit(".", 1)[1]
        typed = methods(type(noun)).get(verb)
        if not callable(getattr(noun, verb, None)) or (typed and operation.version not in typed.versions):
            missing.append(operation_id)
    assert len(CONTRACT["operations"]) == 452
    assert missing == []
