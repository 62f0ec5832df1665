"""AMPECO's API in memory: the simulator's rules and the published contract, without a server and without sockets.

The real clients talk to it, so requests, answers and errors are read as in production. A body that the contract does
not allow is refused with 422; what no test seeded does not exist (404).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Literal, NamedTuple

import httpx2
from pydantic.alias_generators import to_camel

from ampeco.client import AsyncClient, Client
from ampeco.errors import ApiError, NoAnswer, NotSent, Unreachable
from ampeco.operations import OPERATIONS, VERSIONS, Operation, is_declared, operation_at
from ampeco.simulator.api.call import Call
from ampeco.simulator.api.operation_answers import OperationAnswers
from ampeco.simulator.api.routing import Routes
from ampeco.simulator.fleet.scenario import Scenario
from ampeco.simulator.model import Refused
from ampeco.simulator.store import Document, Store
from ampeco.simulator.tenant import Tenant
from handlers.names import CallName
from handlers.testing.canned import Canned, CannedAnswers, status_of
from handlers.testing.clock import Clock
from handlers.testing.fields import plain

TOKEN = "token-of-the-fake"  # noqa: S105 - of a pretend tenant
_URL = "http://127.0.0.1"  # an address that no proxy setting of the environment applies to

Unknown = Literal["404", "example"]


class UndeclaredCall(AssertionError):
    """A handler called an action that its declaration, or the fake's `calls`, does not name."""


class Called(NamedTuple):
    """One request that a handler made.

    Attributes:
        operation: its name, as in `calls=`, e.g. `charge-point.reset`; of a read e.g. `resources.users.read`.
        path: with its ids.
        body: as JSON; None without one.
        status: what was answered; None without an answer, and for a call that was not sent.
        outcome: `ok`, the reason of the error (`rate-limited`, `no-answer`), or `call-not-declared`.
    """

    operation: str
    path: str
    body: Any = None
    status: int | None = None
    outcome: str = "ok"

    @property
    def reads(self) -> bool:
        """Whether it changed nothing."""
        known = OPERATIONS.get(self.operation)
        return self.operation.startswith("GET ") if known is None else known.kind == "read"


class FakeAmpeco:
    """A pretend tenant for one test.

    Args:
        clock: its time; moved where a client would wait before it repeats a request.
        unknown: what reading an object that was not seeded answers: `404`, or an `example` of the contract.
        calls: the actions that may be called; any other raises `UndeclaredCall`. None leaves it to `deliver`, which
            checks the declaration of the handler.

    Attributes:
        calls: every request, oldest first.
    """

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        unknown: Unknown = "404",
        calls: Sequence[CallName] | None = None,
    ) -> None:
        self.clock = clock or Clock()
        self._declared = calls
        self.calls: list[Called] = []
        self._canned = CannedAnswers()
        self._store = Store(_Examples() if unknown == "example" else _Nothing())
        tenant = Tenant([TOKEN], now=self.clock.now)
        self._answers = OperationAnswers(tenant, Scenario(tenant), self._store)
        self._transport = httpx2.MockTransport(self._answer)

    # -- what a test says

    def seed(self, resource: str, id: str | int, **fields: Any) -> Document:
        """Create an object, or change some of its fields.

        Args:
            resource: as in the API, `users`, `sessions`, `charge-points`; below others `users/7/notes`.
            fields: by their names in Python or on the wire, e.g. `balance=12.5`.
        """
        path = tuple(resource.strip("/").split("/"))
        return self._store.put(path, str(id), {to_camel(name): plain(fields[name]) for name in fields})

    def answer(
        self, operation: str, document: Any = None, *, status: int = 200, times: int | None = None
    ) -> None:
        """Answer an operation with this document.

        Args:
            operation: its name, e.g. `charge-point.start`, or `POST /public-api/...` with the ids of a newer one.
            times: how often; always unless given.
        """
        self._canned.add(operation, Canned(status, document, times=times))

    def fail(
        self,
        operation: str,
        error: int | type[ApiError],
        *,
        message: str = "",
        retry_after_s: float | None = None,
        times: int | None = None,
    ) -> None:
        """Make an operation fail.

        Args:
            error: a status, or a class of `ampeco.errors`: `NotSent` (no connection), `NoAnswer` or `Unreachable`
                (sent, and no answer came), `RateLimited`, ...
            times: how often; always unless given. A client repeats some calls by itself.
        """
        headers = {} if retry_after_s is None else {"Retry-After": str(round(retry_after_s))}
        document = {"message": message or "The fake was asked to fail."}
        status = error if isinstance(error, int) else status_of(error)
        self._canned.add(operation, Canned(status, document, headers=headers, times=times, error=error))

    def refuse(self, operation: str, error_code: str, *, times: int | None = None) -> None:
        """Answer an action with `success: false`, as AMPECO answers one that it does not carry out."""
        self.answer(operation, {"success": False, "errorCode": error_code}, times=times)

    def called(self, operation: str) -> list[Called]:
        """Return the requests of one operation."""
        return [call for call in self.calls if call.operation == operation]

    def read(self, resource: str, id: str | int) -> Document:
        """Return an object as it is now."""
        return self._store.read(tuple(resource.strip("/").split("/")), str(id))

    # -- what a handler calls

    def client(self) -> AsyncClient:
        """Return a client for `async def` handlers; `Context(ampeco=fake.client)` takes this method."""
        return AsyncClient(
            _URL, TOKEN, transport=self._transport, clock=self.clock.now_s, sleep=self.clock.sleep
        )

    def sync_client(self) -> Client:
        """Return a client for `def` handlers."""
        return Client(_URL, TOKEN, transport=self._transport, clock=self.clock.now_s, sleep=self.clock.move)

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        raw, path = request.content, request.url.raw_path.partition(b"?")[0].decode("ascii")
        plain_name = f"{request.method} {path}"
        try:
            match = _routes().match(request.method, path)
        except Refused as refusal:
            self._check_declared(operation_at(request.method, path), path)
            canned = self._canned.next(plain_name)
            return self._said(plain_name, path, raw, canned or _refused(refusal))
        name = match.operation.name
        self._check_declared(match.operation, path)
        canned = self._canned.next(plain_name) or self._canned.next(name)
        if canned is None:
            pairs = tuple(request.url.params.multi_items())
            url = str(request.url.copy_with(query=None))
            try:
                found = self._answers.answer(Call(match.operation, match.params, pairs, url, TOKEN, raw))
                canned = Canned(found.status, found.document)
            except Refused as refusal:
                canned = _refused(refusal)
        return self._said(name, path, raw, canned)

    def _check_declared(self, operation: Operation, path: str) -> None:
        if self._declared is None or operation.kind == "read" or is_declared(self._declared, operation, path):
            return
        raise UndeclaredCall(f"{operation.name} was called, and calls=[...] does not name it")

    def _said(self, name: str, path: str, raw: bytes, canned: Canned) -> httpx2.Response:
        body = json.loads(raw) if raw else None
        if canned.error is NotSent:
            self.calls.append(Called(name, path, body, None, NotSent.reason))
            raise httpx2.ConnectError("the fake was asked not to connect")
        if isinstance(canned.error, type) and issubclass(canned.error, Unreachable):
            self.calls.append(Called(name, path, body, None, NoAnswer.reason))
            raise httpx2.ReadTimeout("the fake was asked not to answer")
        self.calls.append(Called(name, path, body, canned.status, canned.outcome))
        if canned.document is None:
            return httpx2.Response(canned.status, headers=canned.headers)
        return httpx2.Response(canned.status, headers=canned.headers, json=canned.document)


class _Nothing:
    """A fleet without charge points: what no test seeded does not exist."""

    def knows(self, noun: str) -> bool:
        return False

    def ids(self, path: Sequence[str]) -> Sequence[int | str]:
        return ()

    def read(self, path: Sequence[str], id_: str) -> Document | None:
        return None


class _Examples(_Nothing):
    """Every object exists; its fields are examples of the contract."""

    def read(self, path: Sequence[str], id_: str) -> Document | None:
        return {"id": int(id_) if id_.isascii() and id_.isdecimal() else id_}


@cache
def _routes() -> Routes:
    return Routes(VERSIONS.values())


def _refused(refusal: Refused) -> Canned:
    document: dict[str, Any] = {"message": refusal.message}
    if refusal.errors:
        document["errors"] = refusal.errors
    headers: Mapping[str, str] = (
        {} if refusal.retry_after_s is None else {"Retry-After": str(refusal.retry_after_s)}
    )
    return Canned(refusal.status, document, headers=headers)
