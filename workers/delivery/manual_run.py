"""One handler run by hand, outside the log: dry, or for real. It records nothing and settles nothing.

It makes a handler ready as a worker would (settings, lifespan, clients). It asks no throttle and takes no lease. So
before a run that really calls something, the operator must make sure that no worker runs the same event.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from ampeco.client import AsyncClient, Client
from ampeco.wire import WireRequest
from eventlog.record import StoredEvent
from handlers.context import StepEnd
from handlers.declaration import Handler
from handlers.discovery import Found
from handlers.entity_notes import EntityNotes
from handlers.event import Echo
from handlers.timer import SetTimer
from workers.delivery.attempt import Attempt, Runtime, run
from workers.delivery.dry_run import DryAction, DrySteps, Lookup, nothing_recorded
from workers.delivery.opening import without_clients
from workers.delivery.outcomes import Outcome

NOWHERE = "https://tenant.invalid"


Kept = Callable[[str, int], Awaitable[tuple[dict[str, str], str]]]
"""Finds what is kept of a key in a lane: generations of its pending timers by name, and its state as JSON text."""


async def nothing_kept(key: str, lane: int) -> tuple[dict[str, str], str]:
    """Find nothing, as for an event that is in no log."""
    return {}, ""


class RealSteps:
    """Replaces the once-only steps of an attempt: makes each call, and writes nothing to the log."""

    def __init__(self) -> None:
        self.ends: dict[str, StepEnd] = {}

    async def once(self, step: str, call: Callable[[], Any], **_: Any) -> Any:
        result = call()
        if inspect.isawaitable(result):
            result = await result
        self.ends[step] = "called"
        return result

    async def through(self, request: WireRequest, send: Callable[[], Awaitable[Any]]) -> Any:
        return await send()

    def once_in_thread(self, step: str, call: Callable[[], Any], **_: Any) -> Any:
        result = call()
        self.ends[step] = "called"
        return result

    def through_in_thread(self, request: WireRequest, send: Callable[[], Any]) -> Any:
        return send()

    async def settled(self) -> None:
        pass


@dataclass(frozen=True)
class Trial:
    """The result of one run.

    Attributes:
        actions: requests that would have been sent; empty after a real run.
        steps: once-only steps that would have been called.
        called: the calls to AMPECO that change something, each a line of `eventlog.called`.
        timers: name -> timer to set, or None to cancel it, as the handler asked. None of it was done.
        state: the state of the entity that would be kept, as JSON text (empty for none); None when it did not change.
    """

    outcome: Outcome
    actions: tuple[DryAction, ...] = ()
    steps: tuple[str, ...] = ()
    called: tuple[str, ...] = ()
    timers: Mapping[str, SetTimer | None] = field(default_factory=dict)
    state: str | None = None


@contextlib.asynccontextmanager
async def ready(found: Found, tenant_url: str | None, token: str | None) -> AsyncIterator[Runtime]:
    """Make a handler ready to run, for as long as the block lasts.

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
    kept: Kept = nothing_kept,
    entity: EntityNotes | None = None,
) -> Trial:
    """Run a handler on one event, as the first attempt.

    Args:
        for_real: make the handler's calls; otherwise only note them.
        replayed, echo_of: what the event says of itself.
        lookup: finds what is recorded of once-only steps, for a dry run.
        kept: finds the pending timers and the state of the entity. Neither is changed.
        entity: notes timers and the state, in place of what `kept` finds.
    """
    own = None if runtime.key_of is None else runtime.key_of(event)
    key = event.key if own is None else own.key
    if entity is None:
        entity = await _notes(runtime.handler, event, key, kept)
    dry = None if for_real else DrySteps(lookup, event.event_id, key)
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
    attempt.dry_run, attempt.entity = not for_real, entity
    attempt.unkeyed = None if own is None else own.dead
    outcome = await run(runtime, attempt)
    noted = (tuple(dry.actions), tuple(dry.steps)) if dry else ((), ())
    state = entity.document if entity.is_changed else None
    changes = entity.changes if outcome.kind in ("done", "skipped") else {}
    return Trial(outcome, *noted, tuple(attempt.called(reads=False)), changes, state)


async def _notes(handler: Handler, event: StoredEvent, key: str | None, kept: Kept) -> EntityNotes:
    timers, document = await kept(key, event.lane) if key is not None else ({}, "")
    return EntityNotes(
        key,
        timers=timers if handler.timers is not None else None,
        model=handler.entity_state,
        document=document,
    )
