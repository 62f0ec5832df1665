"""One handler run by hand, outside the log: dry, or for real. It records nothing and settles nothing.

It makes a handler ready as a worker would (settings, lifespan, clients). It takes no lease, so for a run that really
calls something, the operator makes sure that no worker is at the same event.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

from ampeco.client import AsyncClient, Client
from ampeco.wire import WireRequest
from eventlog.record import StoredEvent
from handlers.discovery import Found
from handlers.event import Echo
from workers.delivery.attempt import Attempt, Runtime, run
from workers.delivery.outcomes import Outcome
from workers.delivery.runtimes import without_clients

NOWHERE = "https://tenant.invalid"


class DryAction(NamedTuple):
    """A request to AMPECO that was not sent: name of the operation, path, and JSON body (empty without one)."""

    operation: str
    path: str
    body: bytes


class ManualSteps:
    """Stands where the once-only steps of an attempt would, and writes nothing to the log.

    It makes each call, or in a dry run notes it. A noted call returns None. Reads of AMPECO are made either way.

    Attributes:
        actions, steps: the noted requests, and the names of the noted once-only steps, in order.
    """

    def __init__(self, *, dry: bool) -> None:
        self._dry = dry
        self.actions: list[DryAction] = []
        self.steps: list[str] = []

    async def once(self, step: str, call: Callable[[], Any], **how: Any) -> Any:
        result = self.once_in_thread(step, call, **how)
        return await result if inspect.isawaitable(result) else result

    async def through(self, request: WireRequest, send: Callable[[], Awaitable[Any]]) -> Any:
        result = self.through_in_thread(request, send)
        return None if result is None else await result

    def once_in_thread(self, step: str, call: Callable[[], Any], **_: Any) -> Any:
        if not self._dry:
            return call()
        self.steps.append(step)
        return None

    def through_in_thread(self, request: WireRequest, send: Callable[[], Any]) -> Any:
        if not self._dry:
            return send()
        self.actions.append(DryAction(request.operation.name, request.path, request.body))
        return None

    async def settled(self) -> None:
        pass


@dataclass(frozen=True)
class Trial:
    """What one run came to.

    Attributes:
        actions: requests that would have been sent; empty after a real run.
        steps: once-only steps that would have been called.
        called: what was called at AMPECO, each `operation path outcome status`.
    """

    outcome: Outcome
    actions: tuple[DryAction, ...] = ()
    steps: tuple[str, ...] = ()
    called: tuple[str, ...] = ()


@contextlib.asynccontextmanager
async def ready(found: Found, tenant_url: str | None, token: str | None) -> AsyncIterator[Runtime]:
    """A handler with all it needs.

    Args:
        tenant_url, token: None where there is no tenant: then calls to AMPECO fail as not reachable.
    """
    where = (tenant_url or NOWHERE, token or "none")
    async with contextlib.AsyncExitStack() as exits:
        runtime = await without_clients(found, exits)
        runtime.client = await exits.enter_async_context(AsyncClient(*where))
        runtime.sync_client = exits.enter_context(Client(*where))
        runtime.threads = exits.enter_context(ThreadPoolExecutor(1, thread_name_prefix="handler"))
        yield runtime


async def try_out(
    runtime: Runtime,
    event: StoredEvent,
    *,
    for_real: bool = False,
    replayed: bool = False,
    echo_of: Echo | None = None,
) -> Trial:
    """Run a handler on one event, as the first attempt.

    Args:
        for_real: call what the handler calls; else write down what it would have called.
        replayed, echo_of: what the event says of itself.
    """
    steps = ManualSteps(dry=not for_real)
    attempt = Attempt(
        event=event,
        number=1,
        age_s=0.0,
        allowed=lambda: True,
        overdue=lambda: None,
        steps=lambda: steps,
        replayed=replayed,
        echo_of=echo_of,
    )
    outcome = await run(runtime, attempt)
    return Trial(outcome, tuple(steps.actions), tuple(steps.steps), tuple(attempt.actions))
