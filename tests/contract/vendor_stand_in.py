"""A tenant that holds our client to the vendor's document, and calls with the document's own names and values."""

from __future__ import annotations

import inspect
import json
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache, reduce
from random import Random
from typing import Any

import httpx2

from ampeco.client import Client
from ampeco.operations import VERSIONS, Operation
from tests.contract.vendor_bodies import How, made
from tests.contract.vendor_document import Described, operations

TOKEN = "token-of-the-stand-in"


@cache
def table() -> dict[tuple[str, str], Operation]:
    """Our operations by method and path."""
    return {(each.method, each.path): each for each in VERSIONS.values()}


def described() -> Iterator[tuple[Described, Operation]]:
    """The document's operations, each with ours, but for those of notification subscriptions."""
    for each in operations():
        ours = table()[each.method, each.path]
        if not ours.name.startswith("notifications.") or ours.kind == "action":
            yield each, ours


class StandIn:
    """A tenant that is asked for one operation at a time, and notes what the document does not allow.

    Attributes:
        described: the operation.
        answers: what it answers, in turn; an exception is raised.
        faults: what was wrong with requests.
        bodies: of the requests, decoded.
        requests: all of them.
    """

    def __init__(self) -> None:
        self.described: Described
        self.answers: list[httpx2.Response | Exception] = []
        self.faults: Counter[str] = Counter()
        self.bodies: list[Any] = []
        self.requests: list[httpx2.Request] = []

    def expect(self, each: Described, *answers: httpx2.Response | Exception) -> None:
        """Wait for calls of an operation."""
        self.described, self.answers, self.bodies, self.requests = each, list(answers), [], []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        for fault in self._faults(request):
            self.faults[f"{self.described.method} {self.described.path}: {fault}"] += 1
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _faults(self, request: httpx2.Request) -> Iterator[str]:
        known = self.described
        path = request.url.raw_path.decode().partition("?")[0]
        if request.method != known.method or not re.fullmatch(_pattern(known.path), path):
            yield f"sent {request.method} {path}"
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


def call(client: Client, each: Described, body: Any) -> Any:
    """Call the method of an operation; ids are made from the document."""
    ours = table()[each.method, each.path]
    ids = [made(parameter["schema"], How(Random(each.path))) for parameter in each.ids]
    root = client.actions if ours.kind == "action" else client
    method = reduce(getattr, ours.name.replace("-", "_").split("."), root)
    if ours.kind == "action":
        return method(*ids, **_keywords(method, body))
    result = method(*ids, *([] if body is None else [body]), version=ours.version)
    return list(result) if isinstance(result, Iterator) else result


def body_of(each: Described) -> Any:
    """A body with everything."""
    return None if each.body is None else made(each.body, How(Random(each.path), without="readOnly"))


def _keywords(method: Any, body: Any) -> dict[str, Any]:
    """The arguments for the members of a body; a member that has none is a fault, whatever `extra` would take."""
    parameters = inspect.signature(method).parameters.values()
    named = {_plain(each.name): each.name for each in parameters if each.kind is each.KEYWORD_ONLY}
    if body is None:
        return {}
    if isinstance(body, list):
        (name,) = named.keys() - {"extra", "body"}
        return {name: body}
    if missing := [name for name in body if _plain(name) not in named]:
        raise TypeError(f"{method.__name__} has no argument for {missing}")
    return {named[_plain(name)]: value for name, value in body.items()}


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


def _pattern(path: str) -> str:
    return re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(path))
