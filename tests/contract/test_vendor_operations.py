"""Every operation of the vendor's own document through our client, against a stand-in that holds us to it."""

from __future__ import annotations

import inspect
import json
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache, reduce
from typing import Any

import httpx2
import pytest

from ampeco.actions.answers import Answer
from ampeco.client import Client
from ampeco.errors import ServerFault
from ampeco.operations import OPERATIONS, VERSIONS, Operation
from tests.contract.vendor_bodies import How, made, variants
from tests.contract.vendor_document import Described, Node, needs_the_document, operations, validator
from tests.contract.vendor_reading import fields_of, unlike

pytestmark = needs_the_document

TOKEN = "token-of-the-stand-in"
MOST_OF_A_KIND = 3
"""Documents of each kind for one body or answer; some enums have hundreds of values."""
LAX = {"examples", "unknown fields", "numbers as text", "numeric texts as numbers"}


@cache
def table() -> dict[tuple[str, str], Operation]:
    return {(each.method, each.path): each for each in VERSIONS.values()}


class StandIn:
    """A tenant that knows one operation at a time, and notes what the document does not allow.

    Attributes:
        described: the operation.
        answers: what it answers, in turn; an exception is raised.
        faults: what was wrong with requests.
        bodies: of the requests, decoded.
    """

    def __init__(self) -> None:
        self.described: Described
        self.answers: list[httpx2.Response | Exception] = []
        self.faults: Counter[str] = Counter()
        self.bodies: list[Any] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        for fault in self._faults(request):
            self.faults[f"{self.described.method} {self.described.path}: {fault}"] += 1
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _faults(self, request: httpx2.Request) -> Iterator[str]:
        known = self.described
        if request.method != known.method or not re.fullmatch(
            _pattern(known.path), request.url.raw_path.partition(b"?")[0].decode()
        ):
            yield f"sent {request.method} {request.url.path}"
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            yield "no token"
        for name in request.url.params:
            if name.partition("[")[0] not in known.query:
                yield f"unknown query parameter {name}"
        body = json.loads(request.content) if request.content else None
        self.bodies.append(body)
        if body is not None and request.headers.get("content-type") != "application/json":
            yield "content type"
        if body is None and known.body_required:
            yield "a body is required"
        if body is not None and known.body is None:
            yield "a body where none is described"


def _pattern(path: str) -> str:
    return re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(path))


@pytest.fixture(scope="module")
def stand_in() -> StandIn:
    return StandIn()


@pytest.fixture(scope="module")
def client(stand_in: StandIn) -> Iterator[Client]:
    transport = httpx2.MockTransport(stand_in)
    with Client("https://t.example", TOKEN, transport=transport, sleep=lambda _: None) as made_client:
        yield made_client


def test_every_operation_of_the_document_is_one_of_ours() -> None:
    for each in operations():
        ours = table()[each.method, each.path]
        assert ours.published, ours.name
        assert ours.deprecated >= each.deprecated, ours.name  # later indexes deprecate more
        assert len(ours.parameters) == len(each.ids), ours.name
        assert f"/v{ours.version}" in each.path
    described = {(each.method, each.path) for each in operations()}
    assert {address for address, ours in table().items() if ours.published} == described


def test_the_version_that_is_called_is_the_newest_that_the_document_does_not_deprecate() -> None:
    by_name: dict[str, list[Described]] = {}
    for each in operations():
        by_name.setdefault(table()[each.method, each.path].name, []).append(each)
    for name, versions in by_name.items():
        kept = [each for each in versions if not each.deprecated] or versions
        newest = max(
            kept, key=lambda each: tuple(map(int, table()[each.method, each.path].version.split(".")))
        )
        assert OPERATIONS[name].path == newest.path, name


def test_every_body_that_the_document_allows_is_sent_as_it_is(client: Client, stand_in: StandIn) -> None:
    count: Counter[str] = Counter()
    faults: Counter[str] = Counter()
    for each in operations():
        ours = table()[each.method, each.path]
        if each.body is None or ours.name.startswith("notifications."):
            continue
        judge = validator(each.body, without="readOnly")
        for kind, body in _few(variants(each.body, each.path, by_chance=3, without="readOnly")):
            if kind in LAX:
                continue
            invalid = [error.message for error in judge.iter_errors(body)]
            assert invalid == [], (ours.name, kind)
            stand_in.described, stand_in.answers = each, [httpx2.Response(min(each.successes))]
            stand_in.bodies.clear()
            count[ours.kind] += 1
            try:
                call(client, each, body)
            except (TypeError, ValueError, ServerFault) as error:
                faults[f"{ours.name} {ours.version} ({kind}): {error}"] += 1
                continue
            if stand_in.bodies != [body]:
                faults[f"{ours.name} {ours.version} ({kind}): another body {stand_in.bodies} {body}"] += 1
    print(count)
    assert not faults, "\n" + "\n".join(f"{n} {fault}" for fault, n in sorted(faults.items()))
    assert stand_in.faults == {}


def test_every_answer_that_the_document_allows_is_read(client: Client, stand_in: StandIn) -> None:
    count: Counter[str] = Counter()
    faults: Counter[str] = Counter()
    for each in operations():
        ours = table()[each.method, each.path]
        if ours.name.startswith("notifications."):
            continue
        body = made(each.body, _how(each)) if each.body is not None else None
        for status, node in each.successes.items():
            answers = (
                [("empty", None)]
                if node is None
                else _few(variants(node, each.path, by_chance=2, without="writeOnly"))
            )
            for kind, answer in answers:
                if kind == "numbers as text" and not isinstance(answer, dict):
                    continue
                answer = _tidied(answer)
                content = b"" if answer is None else json.dumps(answer)
                stand_in.described = each
                stand_in.answers = [httpx2.Response(status, content=content)]
                count[ours.kind] += 1
                try:
                    found = call(client, each, body)
                    if node is not None:
                        faults.update(f"{fault} ({kind})" for fault in _unlike(ours, found, answer, node))
                except Exception as error:
                    faults[f"{ours.name} {ours.version} {status} ({kind}): {error!r:.200}"] += 1
    print(count)
    assert not faults, "\n" + "\n".join(f"{n} {fault}" for fault, n in sorted(faults.items()))
    assert stand_in.faults == {}


def call(client: Client, each: Described, body: Any) -> Any:
    """Call the method of an operation with the vendor's own names and values."""
    ours = table()[each.method, each.path]
    ids = [made(parameter["schema"], _how(each)) for parameter in each.ids]
    if ours.kind == "action":
        method = reduce(getattr, ours.name.replace("-", "_").split("."), client.actions)
        return method(*ids, **_keywords(method, body))
    method = reduce(getattr, ours.name.replace("-", "_").split("."), client)
    given = [] if body is None else [body]
    result = method(*ids, *given, version=ours.version)
    return list(result) if isinstance(result, Iterator) else result


def _keywords(method: Any, body: Any) -> dict[str, Any]:
    """The arguments for the members of a body; what no argument is for goes to `extra`, which is a fault."""
    if body is None:
        return {}
    named = {name.replace("_", ""): name for name in inspect.signature(method).parameters}
    if isinstance(body, list):
        (name,) = (n for n in named.values() if n not in ("self", "extra", "body") and not _is_id(method, n))
        return {name: body}
    if "body" in named and len(body) and not any(_plain(name) in named for name in body):
        raise TypeError(f"{method.__name__} has no argument for any of {sorted(body)}")
    missing = [name for name in body if _plain(name) not in named]
    if missing:
        raise TypeError(f"{method.__name__} has no argument for {missing}")
    return {named[_plain(name)]: value for name, value in body.items()}


def _is_id(method: Any, name: str) -> bool:
    return inspect.signature(method).parameters[name].kind is not inspect.Parameter.KEYWORD_ONLY


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


def _how(each: Described, **more: Any) -> How:
    import random

    return How(random.Random(each.path), without="readOnly", **more)


def _few(documents: Iterator[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    met: Counter[str] = Counter()
    for kind, document in documents:
        met[kind] += 1
        if met[kind] <= MOST_OF_A_KIND and (
            not kind.startswith("moments") or kind == "moments: with a space"
        ):
            yield kind, document


def _tidied(answer: Any) -> Any:
    """No further page, and no action that did not succeed: both have tests of their own."""
    if not isinstance(answer, dict):
        return answer
    tidy = dict(answer)
    for name in ("success",):
        if name in tidy:
            tidy[name] = True
    if isinstance(tidy.get("links"), dict):
        tidy["links"] = {**tidy["links"], "next": None}
    if isinstance(tidy.get("meta"), dict):
        meta = {
            name: None if name in ("next_cursor", "cursor") else value for name, value in tidy["meta"].items()
        }
        tidy["meta"] = meta | ({"current_page": 1, "last_page": 1} if "last_page" in meta else {})
    if isinstance(tidy.get("data"), dict):
        tidy["data"] = _tidied(tidy["data"])
    return tidy


def _unlike(ours: Operation, found: Any, answer: Any, node: Node) -> Iterator[str]:
    where = f"{ours.name} {ours.version}"
    inner = fields_of(node)
    if ours.kind == "action":
        if not isinstance(found, Answer):
            if found != answer:
                yield f"{where}: another answer"
            return
        if type(found).enveloped and "data" in inner:
            answer, node = answer.get("data", {}), inner["data"]
        yield from unlike(where, found, answer, node)
        return
    if ours.method == "DELETE":
        if found is not None:
            yield f"{where}: an answer"
        return
    if isinstance(answer, dict) and "data" in answer:
        answer, node = answer["data"], inner.get("data", {})
    yield from unlike(where, found, answer, node)
