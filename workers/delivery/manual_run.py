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
from typing import Any

from ampeco.client import AsyncClient, Client
from ampeco.wire import WireRequest
from eventlog.record import StoredEvent
from handlers.discovery import Found
from handlers.event import Echo
from workers.delivery.attempt import Attempt, Runtime, run
from workers.delivery.dry_run import DryAction, DrySteps, Lookup, nothing_recorded
from workers.delivery.outcomes import Outcome
from workers.delivery.runtimes import without_clients

NOWHERE = "https://tenant.invalid"


class RealSteps:
    """Stands where the once-only steps of an attempt would, makes each call, and writes nothing to the log."""

    async def once(self, step: str, call: Callable[[], Any], **_: Any) -> Any:
        result = call()
        return await result if inspect.isawaitable(result) else result

    async def through(self, request: WireRequest, send: Callable[[], Awaitable[Any]]) -> Any:
        return await send()

    def once_in_thread(self, step: str, call: Callable[[], Any], **_: Any) -> Any:
        return call()

    def through_in_thread(self, request: WireRequest, send: Callable[[], Any]) -> Any:
        return send()

    async def settled(self) -> None:
        pass


@dataclass(frozen=True)
class Trial:
    """What one run came to.

    Attributes:
        actions: requests that would have been sent; empty after a real run.
        steps: once-only steps that would have been called.
        called: what was called at AMPECO and changes something, each a line of `eventlog.called`.
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
    lookup: Lookup = nothing_recorded,
) -> Trial:
    """Run a handler on one event, as the first attempt.

    Args:
        for_real: call what the handler calls; else write down what it would have called.
        replayed, echo_of: what the event says of itself.
        lookup: finds what is recorded of once-only steps, for a dry run.
    """
    dry = None if for_real else DrySteps(lookup, event.event_id, event.key)
    attempt = Attempt(
        event=event,
        number=1,
        age_s=0.0,
        allowed=lambda: True,
        overdue=lambda: None,
        steps=lambda: dry or RealSteps(),
        replayed=replayed,
        echo_of=echo_of,
    )
    attempt.dry_run = not for_real
    outcome = await run(runtime, attempt)
    noted = (tuple(dry.actions), tuple(dry.steps)) if dry else ((), ())
    return Trial(outcome, *noted, tuple(attempt.called(reads=False)))
