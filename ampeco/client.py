"""Clients of AMPECO's API, asynchronous and not: two thin shells that send what `calls` says, without a policy.

A request that certainly was not sent is tried once more if it only reads. Everything else, waiting and repeating
included, is for the caller: AMPECO documents no idempotency key.
"""

from functools import partial
from typing import Any, Self, TypeVar

import httpx2

from ampeco.calls import Call
from ampeco.connection import AsyncThrough, Gate, Passage, Tenant, Through, unreachable
from ampeco.errors import ApiError, NotSent
from ampeco.methods import Actions, AsyncActions, AsyncNotifications, Notifications
from ampeco.models.notification_subscription import NotificationSubscription
from ampeco.wire import WireRequest

__all__ = ["AsyncClient", "AsyncThrough", "Client", "Gate", "NotificationSubscription", "Through"]

T = TypeVar("T")


class AsyncClient:
    """AMPECO's API for async code.

    Args:
        tenant_url: `https://<tenant>`, without `/public-api`.
        token: API token.
        timeout_s: for each phase of a request (connecting, each read, each write).
        transport: replaces the network, for tests.

    Every method raises a subclass of `ampeco.errors.ApiError` when it did not do what it says.
    """

    def __init__(
        self,
        tenant_url: str,
        token: str,
        *,
        timeout_s: float = 10.0,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        tenant = Tenant.of(tenant_url, token)
        http = httpx2.AsyncClient(transport=transport, **tenant.http_options(timeout_s))
        self._assemble(tenant, http, owner=True)

    def _assemble(
        self,
        tenant: Tenant,
        http: httpx2.AsyncClient,
        *,
        gate: Gate | None = None,
        through: AsyncThrough | None = None,
        owner: bool = False,
    ) -> None:
        self._tenant = tenant
        self._http = http
        self._gate = gate
        self._through = through
        self._owner = owner
        self.notifications = AsyncNotifications(self._run)
        self.actions = AsyncActions(self._run)

    def gated(self, gate: Gate | None, *, through: AsyncThrough | None = None) -> "AsyncClient":
        """The same client, sharing its connections, with somebody on the way of each request.

        Args:
            gate: asked before each send, and told afterwards.
            through: carries out whatever is no read, all repetitions of it as one.
        """
        view = AsyncClient.__new__(AsyncClient)
        view._assemble(self._tenant, self._http, gate=gate, through=through)  # noqa: SLF001
        return view

    async def aclose(self) -> None:
        """Close the connections; on a gated view of a client this does nothing."""
        if self._owner:
            await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"<AsyncClient {self._tenant.url}>"

    async def _run(self, call: Call[T]) -> T:
        try:
            request = next(call)
            while True:
                try:
                    answer = await self._ask(request)
                except ApiError as error:
                    request = call.throw(error)
                else:
                    request = call.send(answer)
        except StopIteration as end:
            result: T = end.value
            return result

    async def _ask(self, request: WireRequest) -> Any:
        if self._through is None or request.operation.kind == "read":
            return await self._repeat(request)
        return await self._through(request, partial(self._repeat, request))

    async def _repeat(self, request: WireRequest) -> Any:
        try:
            return await self._send(request)
        except NotSent:
            if request.operation.kind != "read":
                raise
        return await self._send(request)

    async def _send(self, request: WireRequest) -> Any:
        with Passage(self._gate, request) as passage:
            try:
                response = await self._http.request(**self._tenant.arguments(request))
            except httpx2.HTTPError as error:
                raise unreachable(request, error) from error
            passage.status = response.status_code
            return self._tenant.decipher(request, response)


class Client:
    """AMPECO's API for code that is not async; arguments and errors as in `AsyncClient`."""

    def __init__(
        self,
        tenant_url: str,
        token: str,
        *,
        timeout_s: float = 10.0,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        tenant = Tenant.of(tenant_url, token)
        http = httpx2.Client(transport=transport, **tenant.http_options(timeout_s))
        self._assemble(tenant, http, owner=True)

    def _assemble(
        self,
        tenant: Tenant,
        http: httpx2.Client,
        *,
        gate: Gate | None = None,
        through: Through | None = None,
        owner: bool = False,
    ) -> None:
        self._tenant = tenant
        self._http = http
        self._gate = gate
        self._through = through
        self._owner = owner
        self.notifications = Notifications(self._run)
        self.actions = Actions(self._run)

    def gated(self, gate: Gate | None, *, through: Through | None = None) -> "Client":
        """The same client, sharing its connections, with somebody on the way of each request.

        Args:
            gate: asked before each send, and told afterwards.
            through: carries out whatever is no read, all repetitions of it as one.
        """
        view = Client.__new__(Client)
        view._assemble(self._tenant, self._http, gate=gate, through=through)  # noqa: SLF001
        return view

    def close(self) -> None:
        """Close the connections; on a gated view of a client this does nothing."""
        if self._owner:
            self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Client {self._tenant.url}>"

    def _run(self, call: Call[T]) -> T:
        try:
            request = next(call)
            while True:
                try:
                    answer = self._ask(request)
                except ApiError as error:
                    request = call.throw(error)
                else:
                    request = call.send(answer)
        except StopIteration as end:
            result: T = end.value
            return result

    def _ask(self, request: WireRequest) -> Any:
        if self._through is None or request.operation.kind == "read":
            return self._repeat(request)
        return self._through(request, partial(self._repeat, request))

    def _repeat(self, request: WireRequest) -> Any:
        try:
            return self._send(request)
        except NotSent:
            if request.operation.kind != "read":
                raise
        return self._send(request)

    def _send(self, request: WireRequest) -> Any:
        with Passage(self._gate, request) as passage:
            try:
                response = self._http.request(**self._tenant.arguments(request))
            except httpx2.HTTPError as error:
                raise unreachable(request, error) from error
            passage.status = response.status_code
            return self._tenant.decipher(request, response)
