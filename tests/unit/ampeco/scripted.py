"""A tenant that answers from a script, a gate that takes notes, and one way to call through either client."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import httpx2

from ampeco.client import AsyncClient, Client
from ampeco.operations import Operation

TOKEN = "tok/en-0123456789abcdef"
URL = "https://tenant.example"


@dataclass
class Tenant:
    """Hands out answers in order, an exception by raising it, and keeps the requests."""

    answers: list[Any]
    requests: list[httpx2.Request] = field(default_factory=list)

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def bodies(self) -> list[Any]:
        return [json.loads(request.content) if request.content else None for request in self.requests]

    @property
    def lines(self) -> list[tuple[str, str]]:
        return [(request.method, request.url.path) for request in self.requests]


@dataclass
class Journal:
    """A gate that notes what it sees and refuses what the test chooses."""

    refused: frozenset[str] = frozenset()
    seen: list[tuple[str, ...]] = field(default_factory=list)

    def admit(self, operation: Operation, path: str) -> None:
        self.seen.append(("admit", operation.name, path))
        if operation.name in self.refused:
            raise KeyboardInterrupt("refused by the gate")

    def called(
        self, operation: Operation, path: str, outcome: str, status: int | None, seconds: float
    ) -> None:
        self.seen.append(("called", operation.name, outcome, str(status)))


@dataclass
class Caller:
    """Makes one call through a client of one kind: `caller(tenant, lambda client: client.notifications.list())`.

    Attributes:
        pauses: seconds the client waited; no time passes.
    """

    kind: str
    pauses: list[float] = field(default_factory=list)

    def __call__(
        self, tenant: Tenant, call: Callable[[Any], Any], gate: Journal | None = None, **options: Any
    ) -> Any:
        transport = httpx2.MockTransport(tenant)
        if self.kind == "async":
            client = AsyncClient(URL, TOKEN, transport=transport, sleep=self._sleep, **options)
            return run(client, lambda c: call(c if gate is None else c.gated(gate)))
        with Client(URL, TOKEN, transport=transport, sleep=self.pauses.append, **options) as plain:
            return call(plain if gate is None else plain.gated(gate))

    async def _sleep(self, pause_s: float) -> None:
        self.pauses.append(pause_s)


def run(client: AsyncClient, call: Callable[[AsyncClient], Coroutine[Any, Any, Any]]) -> Any:
    async def main() -> Any:
        async with client:
            return await call(client)

    return asyncio.run(main())


def ok(document: Any = None, status: int = 200, **headers: str) -> httpx2.Response:
    return httpx2.Response(status, content=b"" if document is None else json.dumps(document), headers=headers)


def subscription(number: int, url: str = "https://us.example/hook") -> dict[str, Any]:
    return {"id": number, "via": "webhook", "notifications": ["a"], "webhook": {"callbackUrl": url}}
