"""Every answer that the published contract names, to each of its operations, through both clients."""

import json
from collections.abc import Generator, Iterator
from functools import reduce
from pathlib import Path
from typing import Any

import httpx2
import pytest

from ampeco import facts
from ampeco.errors import AmpecoError, ApiError, ChargePointRefused, NotSupported, error_class
from ampeco.operations import VERSIONS, Operation
from ampeco.wire import WireRequest, build
from tests.unit.ampeco.scripted import Caller, Tenant, ok

CONTRACT = json.loads(Path(facts.__file__).with_name("contract.json").read_text())
TABLE = {f"{operation.method} {operation.path}": operation for operation in VERSIONS.values()}
REPEATED = {"429"}
OBJECTS = [
    operation
    for address, operation in TABLE.items()
    if address in CONTRACT["operations"] and operation.name.startswith("resources.")
    if operation.method == "GET" and not operation.name.endswith(".list")
]


def answers() -> Iterator[tuple[Operation, str]]:
    for address, contract in CONTRACT["operations"].items():
        yield from ((TABLE[address], status) for status in contract["answers"])


def one(operation: Operation) -> Generator[WireRequest, Any, Any]:
    body = {} if operation.method in ("POST", "PUT", "PATCH") else None
    return (yield build(operation, dict.fromkeys(operation.parameters, "7"), body))


class Answering:
    """A tenant that answers each request with the status that is due, and counts them."""

    def __init__(self) -> None:
        self.status = 200
        self.requests = 0

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.requests += 1
        return ok(status=self.status)


def test_each_status_of_the_contract_is_a_leaf_of_the_tree() -> None:
    statuses = {int(status) for _, status in answers() if not status.startswith("2")}
    assert {400, 401, 403, 404, 405, 406, 409, 412, 422, 429, 501} <= statuses
    for status in statuses:
        kind = error_class(status)
        assert not [each for each in kind.__subclasses__() if each.__module__ == kind.__module__], status
    kinds = [error_class(status) for status in statuses]
    assert len(kinds) == len(set(kinds))


def test_each_answer_of_the_contract_is_a_success_or_its_leaf(through: Caller) -> None:
    """Repeated is only a 429, and only where this is harmless."""
    tenant, met = Answering(), 0

    def check_all(client: Any) -> Any:
        if through.kind == "async":
            return check_all_async(client)
        for operation, status in answers():
            begin(status)
            try:
                client._run(one(operation))
            except ApiError as error:
                check(operation, status, error)
            else:
                check(operation, status, None)
        return None

    async def check_all_async(client: Any) -> None:
        for operation, status in answers():
            begin(status)
            try:
                await client._run(one(operation))
            except ApiError as error:
                check(operation, status, error)
            else:
                check(operation, status, None)

    def begin(status: str) -> None:
        tenant.status, tenant.requests = int(status), 0

    def check(operation: Operation, status: str, error: AmpecoError | None) -> None:
        nonlocal met
        met += 1
        expected = None if status.startswith("2") else error_class(int(status))
        assert (None if error is None else type(error)) is expected, (operation.name, status)
        assert tenant.requests == (3 if status in REPEATED and operation.idempotent else 1)

    through(tenant, check_all)  # type: ignore[arg-type]
    assert met == sum(len(contract["answers"]) for contract in CONTRACT["operations"].values()) > 1500


@pytest.mark.parametrize(
    ("status", "document", "kind", "said"),
    [
        (406, None, ChargePointRefused, "a later try may work"),
        (406, {"message": "Rejected"}, ChargePointRefused, "406: Rejected"),
        (501, None, NotSupported, "nothing happened"),
    ],
)
def test_an_error_without_words_of_ampeco_says_what_it_means(
    through: Caller, status: int, document: Any, kind: type[ApiError], said: str
) -> None:
    with pytest.raises(kind, match=said):
        through(Tenant([ok(document, status)]), lambda c: c.actions.charge_point.unlock("12", "34"))


def example(shape: Any) -> Any:
    """A document of a shape of the contract, with everything that it may hold."""
    match shape:
        case str() if shape.startswith("@"):
            return example(CONTRACT["shared"][shape[1:]])
        case str():
            kind = shape.split(":")[0].rstrip("?")
            if shape.startswith("string:date-time"):
                return "2026-11-24T03:50:00Z"
            return {"string": "x", "integer": 7, "number": 1.5, "boolean": True}.get(kind, {"x": 1})
        case list():
            return [example(shape[0])]
        case {"fields": dict(fields)}:
            return {name.split()[0]: example(part) for name, part in fields.items()}
        case {"all": parts}:
            examples = [example(part) for part in parts]
            if not all(isinstance(each, dict) for each in examples):
                return examples[0]
            return {name: value for each in examples for name, value in each.items()}
        case {"any": [first, *_]} | {"one": [first, *_]}:
            return example(first)
        case {"array": first}:
            return [example(first)]
        case {"is": kind}:
            return shape["enum"][0] if "enum" in shape else example(kind)
    raise AssertionError(shape)


@pytest.mark.parametrize("operation", OBJECTS, ids=lambda operation: f"{operation.name} {operation.version}")
def test_each_read_takes_what_the_contract_says_with_and_without_the_envelope(
    operation: Operation, through: Caller
) -> None:
    contract = CONTRACT["operations"][f"GET {operation.path}"]
    document = example(contract["answers"]["200"])
    enveloped = isinstance(document, dict) and "data" in document
    bare = document["data"] if enveloped else document

    def read(client: Any) -> Any:
        method = reduce(getattr, operation.name.replace("-", "_").split("."), client)
        return method(*(7 for _ in operation.parameters), version=operation.version)

    found = [
        through(lambda _, sent=sent: ok(sent), read)  # type: ignore[arg-type,misc]
        for sent in (bare, {"data": bare})
    ]
    assert found[0] == found[1]
    if isinstance(found[0], dict | list | int | float | str):
        assert found[0] == bare
    else:
        assert set(found[0].model_fields_set)
