"""The client for async code: a thin shell that sends calls and waits between attempts.

`calls` builds what a method sends; `repeating` decides whether and when it is sent again.

`ampeco/sync_client.py` is made from this file (`make generate`).
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Self, TypeVar

import httpx2

from ampeco import calls
from ampeco.answer_body import AnswerBody
from ampeco.async_endpoints import AsyncNotifications, AsyncNotificationsV1
from ampeco.budget import AsyncBudget
from ampeco.calls import Call
from ampeco.connection import AsyncThrough, Gate, Passage, Tenant, late
from ampeco.errors import ApiError
from ampeco.listing import Listing
from ampeco.operations import Method
from ampeco.repeating import Attempts, RetryPolicy
from ampeco.wire import WireRequest

if TYPE_CHECKING:  # imported when first used: long modules, and a process seldom needs both of a kind
    from ampeco.actions.asynchronous import AsyncActions
    from ampeco.resources.asynchronous import AsyncLogs, AsyncResources

T = TypeVar("T")
_USUAL = RetryPolicy()


@dataclass(frozen=True, slots=True)
class AsyncLine:
    """Shared by a client and all its gated views."""

    tenant: Tenant
    http: httpx2.AsyncClient
    retry: RetryPolicy
    budget: AsyncBudget | None
    clock: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]
    answer_s: float


class AsyncClient:
    """AMPECO's API for async code.

    Args:
        tenant_url: `https://<tenant>`, without `/public-api`.
        token: API token.
        timeout_s: for each phase of a request (connecting, each read, each write).
        answer_s: for all of a request, from connecting to the last byte of the answer.
        retry: what is repeated, and when.
        budget: asked before each send.
        transport: replaces the network, for tests.

    Every method raises a subclass of `ampeco.errors.ApiError` when it did not do what it says.
    """

    def __init__(
        self,
        tenant_url: str,
        token: str,
        *,
        timeout_s: float = 10.0,
        answer_s: float = 30.0,
        retry: RetryPolicy = _USUAL,
        budget: AsyncBudget | None = None,
        transport: httpx2.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        tenant = Tenant.of(tenant_url, token)
        http = httpx2.AsyncClient(transport=transport, **tenant.http_options(timeout_s))
        self._line = AsyncLine(tenant, http, retry, budget, clock, sleep, answer_s)
        self._gate: Gate | None = None
        self._through: AsyncThrough | None = None
        self._owner = True

    @cached_property
    def notifications(self) -> AsyncNotifications:
        """Our notification subscriptions at AMPECO."""
        return AsyncNotifications(self._run)

    @cached_property
    def notifications_v1(self) -> AsyncNotificationsV1:
        """Our notification subscriptions in the deprecated version 1.0, for tenants without 2.0."""
        return AsyncNotificationsV1(self._run)

    @cached_property
    def actions(self) -> "AsyncActions":
        """Actions: calls that make something happen."""
        from ampeco.actions.asynchronous import AsyncActions

        return AsyncActions(self._run)

    @cached_property
    def resources(self) -> "AsyncResources":
        """Resources: what AMPECO keeps records of."""
        from ampeco.resources.asynchronous import AsyncResources

        return AsyncResources(self._run, self._walk)

    @cached_property
    def logs(self) -> "AsyncLogs":
        """AMPECO's logs."""
        from ampeco.resources.asynchronous import AsyncLogs

        return AsyncLogs(self._run, self._walk)

    async def call(
        self,
        method: Method,
        path: str,
        *,
        body: Mapping[str, Any] | Sequence[Any] | None = None,
        query: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call an operation that has no method of its own here, e.g. one that is newer than this release.

        A POST or PATCH to a path that we do not know is sent once; budget, gate and errors are those of any call.

        Args:
            path: below `/public-api/`, with its ids, e.g. `/public-api/actions/session/v1.0/12/change-tariff`.
            body: sent as JSON; None for none.
            query: a sequence is sent as `name[]=v` for each of its values.

        Returns:
            The document that AMPECO answered, with its `data` envelope; None for an empty answer. Of a list it is
            one page.

        Raises:
            ValueError: the method or the path is none of AMPECO's API.
            ApiError: as every method.
        """
        return await self._run(calls.call(method, path, body, query))

    def gated(
        self, gate: Gate | None, *, through: AsyncThrough | None = None, budget: AsyncBudget | None = None
    ) -> "AsyncClient":
        """Return a view of this client that shares its connections and passes each request through a gate.

        Args:
            gate: may refuse each send, and learns its outcome.
            through: carries out every request that is not a read, together with its repetitions.
            budget: asked instead of that of this client; None leaves it.
        """
        view = AsyncClient.__new__(AsyncClient)
        line = self._line if budget is None else replace(self._line, budget=budget)
        view._line, view._gate, view._through, view._owner = line, gate, through, False  # noqa: SLF001
        return view

    async def aclose(self) -> None:
        """Close the connections; on a gated view of a client this does nothing."""
        if self._owner:
            await self._line.http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"<AsyncClient {self._line.tenant.url}>"

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

    async def _walk(self, listing: Listing[T]) -> AsyncIterator[T]:
        request: WireRequest | None = listing.first()
        while request is not None:
            entries, request = listing.read(await self._ask(request))
            for entry in entries:
                yield entry

    async def _ask(self, request: WireRequest) -> Any:
        if self._through is None or request.operation.kind == "read":
            return await self._repeat(request)
        return await self._through(request, partial(self._repeat, request))

    async def _repeat(self, request: WireRequest) -> Any:
        attempts = Attempts(self._line.retry, request.operation, self._line.clock)
        while True:
            try:
                return await self._send(request)
            except ApiError as error:
                pause_s = attempts.pause_s(error)
                if pause_s is None:
                    raise attempts.verdict(error) from error.__cause__
            await self._line.sleep(pause_s)

    async def _send(self, request: WireRequest) -> Any:
        budget = self._line.budget
        if budget is not None:
            await budget.acquire(request.operation)
        with Passage(self._gate, request, budget) as passage:
            try:
                async with (
                    asyncio.timeout(self._line.answer_s),
                    self._line.http.stream(**self._line.tenant.arguments(request, passage)) as response,
                ):
                    body = AnswerBody.of(response)
                    if not response.is_stream_consumed:  # by a transport of a test
                        async for piece in response.aiter_raw():
                            if not body.add(piece):
                                break
            except TimeoutError:
                raise late(request, self._line.answer_s) from None
            except httpx2.HTTPError as error:
                raise self._line.tenant.unreachable(request, error) from error
            passage.answered(response)
            return self._line.tenant.decipher(request, response, body)
