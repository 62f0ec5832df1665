"""Delivers one event to one handler by the rules of a worker, without Redis.

The attempt, its time limit, the gate before AMPECO, the once-only steps and the table of outcomes are the worker's
own code. What stands in for the rest: a ledger in memory, a pretend tenant, and a clock that a test moves.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from eventlog.record import NO_TIME, RECONSTRUCTED, StoredEvent, encoding_mark
from handlers.declaration import Handler
from handlers.discovery import Found
from handlers.event import Event
from handlers.testing.fake_ampeco import FakeAmpeco, UndeclaredCall
from handlers.testing.memory import Memory
from handlers.testing.outcome import Outcome, outcome_from, with_notes
from workers.delivery.attempt import Attempt, Runtime, run
from workers.delivery.manual_run import try_out
from workers.delivery.opening import without_clients
from workers.delivery.outcomes import TIMER_OVER
from workers.delivery.throttling import Throttling
from workers.once.steps import Steps

if TYPE_CHECKING:  # it starts a server
    from ampeco.simulator.testing import Box

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MOST_TIMERS = 10_000
_MOST_ATTEMPTS = 1_000  # with less than a second between them
NOT_GIVEN: Any = object()


async def deliver(
    handler: Handler,
    event: Event[Any],
    *,
    ampeco: FakeAmpeco | Box | None = None,
    settings: Any = NOT_GIVEN,
    state: Any = NOT_GIVEN,
    memory: Memory | None = None,
    attempt: int | None = None,
    timeout_s: float | None = None,
    dry_run: bool = False,
) -> Outcome:
    """Run a handler once on an event, as a worker does, and return what becomes of the delivery.

    Args:
        ampeco: what it calls: a `FakeAmpeco`, or the fixture `ampeco_tenant`. Unless given, a new fake in which
            nothing exists.
        settings: its settings; read from the environment unless given, as a worker reads them.
        state: what its `lifespan` would yield; the lifespan is entered unless given.
        memory: what earlier deliveries left: once-only steps, attempts, the time. A new one unless given.
        attempt: number of this attempt; counted by the memory unless given.
        timeout_s: a time limit instead of the handler's own.
        dry_run: send nothing to AMPECO that changes something, and call no once-only step; `ctx.dry_run` says so.

    Raises:
        UndeclaredCall: the handler called an action that `calls=` does not name, and hid the error.
    """
    memory = memory or Memory()
    ampeco = FakeAmpeco(clock=memory.clock) if ampeco is None else ampeco
    if timeout_s is not None:
        handler = dataclasses.replace(handler, timeout_s=timeout_s)
    async with opened(handler, ampeco, settings, state) as delivering:
        return await delivering.deliver(event, memory, attempt=attempt, dry_run=dry_run)


async def deliver_until_settled(
    handler: Handler, event: Event[Any], *, memory: Memory | None = None, **how: Any
) -> Outcome:
    """Deliver an event as often as the retry policy does, the clock moved in between, and return the last outcome.

    Args:
        how: as for `deliver`.

    Raises:
        RuntimeError: it is tried again and again without a pause to speak of.
    """
    memory = memory or Memory()
    began_s = memory.clock.now_s()
    attempts, reason = 0, ""
    while attempts < _MOST_ATTEMPTS or memory.clock.now_s() - began_s >= attempts:
        outcome = await deliver(handler, event, memory=memory, **how)
        if outcome.kind != "retry":
            return outcome
        memory.clock.move(outcome.after_s or 0.0)
        attempts, reason = attempts + 1, outcome.reason
    raise RuntimeError(
        f"{handler.name} is not settled after {attempts:,} attempts with less than a second between them; "
        f"the last one ended as {reason!r}"
    )


async def deliver_due(handler: Handler, memory: Memory, **how: Any) -> list[Outcome]:
    """Deliver each timer of a handler that is due by the clock of the memory, the first to fall due first.

    Those that these deliveries set are delivered as well, where they are due at once.

    Args:
        memory: given to the deliveries that set the timers. Move its clock to let them fall due.
        how: as for `deliver`.

    Returns:
        An outcome for each. A timer that is to be retried is not delivered again here.

    Raises:
        RuntimeError: a timer without a delay sets itself again and again.
    """
    outcomes = []
    while (event := memory.entities.next_due(handler)) is not None:
        outcomes.append(await deliver(handler, event, memory=memory, **how))
        if len(outcomes) > _MOST_TIMERS:
            raise RuntimeError(f"{handler.name} sets timers that are due at once, again and again")
    return outcomes


def marks_of(event: Event[Any]) -> tuple[str, ...]:
    """Return the marks with which the endpoint appends an event: how it was made, and how its body is encoded."""
    made = [RECONSTRUCTED] if event.reconstructed else []
    return (*made, *([encoding_mark(event.encoding)] if event.encoding else []))


def stored_event(event: Event[Any]) -> StoredEvent:
    """Return an event as it lies in the log."""
    lane, _, stream_id = event.id.partition("-")
    at = event.occurred_at
    marks = (*(["maybe_repeat"] if event.maybe_repeat else []), *marks_of(event))
    return StoredEvent(
        int(lane),
        stream_id,
        event.type,
        event.key,
        event.raw,
        round(event.received_at.timestamp() * 1000),
        marks=marks,
        occurred_at_us=NO_TIME if at is None else round((at - _EPOCH).total_seconds() * 1_000_000),
    )


class Delivering:
    """A handler that is ready, for any number of deliveries."""

    def __init__(self, runtime: Runtime, ampeco: FakeAmpeco | Box) -> None:
        self._runtime = runtime
        self._fake = ampeco if isinstance(ampeco, FakeAmpeco) else None

    @property
    def state(self) -> Any:
        """What its lifespan yielded, or the test gave instead."""
        return self._runtime.state

    async def deliver(
        self, event: Event[Any], memory: Memory, *, attempt: int | None = None, dry_run: bool = False
    ) -> Outcome:
        """Make one attempt; arguments and errors as those of `deliver`."""
        handler, stored, echo = self._runtime.handler, stored_event(event), event.echo_of
        own = None if self._runtime.key_of is None else self._runtime.key_of(stored)
        key = stored.key if own is None else own.key
        ledger, notes = memory.ledger(handler), memory.entities.notes(handler, key)
        if dry_run:
            trial = await try_out(
                self._runtime,
                stored,
                replayed=event.replayed,
                echo_of=echo,
                lookup=ledger.recorded,
                entity=notes,
            )
            made_of = outcome_from(trial.outcome, (), trial.called, trial.steps, would_call=trial.actions)
            return with_notes(made_of, handler, notes)
        loop, tried = asyncio.get_running_loop(), memory.tried(handler, event)
        number = tried.attempts + 1 if attempt is None else attempt
        before = len(self._fake.calls) if self._fake else 0
        began_ms = memory.clock.now_ms()
        tried.begin(began_ms)
        made = Attempt(
            event=stored,
            number=number,
            age_s=(began_ms - tried.first_ms) / 1000,
            allowed=lambda: True,
            overdue=lambda: None,
            steps=lambda: Steps(ledger, event.id, key, loop),
            replayed=event.replayed,
            echo_of=echo,
        )
        made.earlier, made.began_ms = tried.log, began_ms
        if tried.attempts:
            made.failing_s = (began_ms - tried.failed_ms) / 1000
        made.unkeyed = None if own is None else own.dead
        if handler.throttle is not None:
            made.throttling = Throttling(memory.slots(handler), handler.throttle, key, event.id)
        made.entity = notes
        is_over = memory.entities.is_over(handler, event)
        came_of = TIMER_OVER if is_over else await run(self._runtime, made)
        if came_of.kind != "retry":
            counts = came_of.kind in ("done", "skipped")
            memory.entities.settle(handler, event, key, notes if counts else None)
        if came_of.kind == "retry":
            tried.note(came_of.note(began_ms, made.actions), spent=came_of.counts)
        else:
            memory.settle(handler, event)
        called = self._fake.calls[before:] if self._fake else None
        steps = [begun.step for begun in ledger.begun]
        outcome = outcome_from(came_of, called, made.actions, steps, remembered=ledger.remembered)
        outcome = with_notes(outcome, handler, notes)
        _refuse_hidden(outcome, handler)
        return outcome


@contextlib.asynccontextmanager
async def opened(
    handler: Handler, ampeco: FakeAmpeco | Box, settings: Any = NOT_GIVEN, state: Any = NOT_GIVEN
) -> AsyncIterator[Delivering]:
    """Make a handler ready; arguments as those of `deliver`."""
    async with ready(handler, ampeco, settings, state) as runtime:
        yield Delivering(runtime, ampeco)


@contextlib.asynccontextmanager
async def ready(
    handler: Handler, ampeco: FakeAmpeco | Box, settings: Any, state: Any
) -> AsyncIterator[Runtime]:
    """Make a handler ready as a worker does, but for what the test gives."""
    async with contextlib.AsyncExitStack() as exits:
        given = handler
        if settings is not NOT_GIVEN and handler.settings is not None:
            given = dataclasses.replace(given, settings=lambda: settings)  # type: ignore[arg-type]
        if state is not NOT_GIVEN:
            given = dataclasses.replace(given, lifespan=None)
        made = await without_clients(Found(given, "test", "test"), exits)
        runtime = Runtime(handler, "test", made.settings, made.state if state is NOT_GIVEN else state)
        runtime.client = await exits.enter_async_context(ampeco.client())
        runtime.sync_client = exits.enter_context(ampeco.sync_client())
        if not handler.is_async:
            runtime.threads = exits.enter_context(ThreadPoolExecutor(1, thread_name_prefix="handler"))
        yield runtime


def _refuse_hidden(outcome: Outcome, handler: Handler) -> None:
    hidden = [call for call in outcome.calls if call.outcome == "call-not-declared"]
    if hidden and outcome.slug != "call-not-declared":
        names = ", ".join(sorted({call.operation for call in hidden}))
        raise UndeclaredCall(
            f"{handler.name} called {names}, which its calls=[...] does not name, and hid the error"
        )
