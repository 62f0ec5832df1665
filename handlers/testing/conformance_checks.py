"""The checks of the conformance suite. Each delivers events and raises AssertionError."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

from ampeco.notifications import Payload
from ampeco.operations import operation_named
from handlers.event import Event
from handlers.testing.blocking import blocking_calls
from handlers.testing.conformance_case import Case
from handlers.testing.delivery import Delivering, opened, stored_event
from handlers.testing.events import event_from, known_types
from handlers.testing.memory import Memory
from handlers.testing.odd_bodies import with_odd_fields, with_unknown_fields
from handlers.testing.outcome import Outcome
from workers.delivery.handler_key import HandlerKeys

_SHOWN = 5  # of what went wrong

_FAULTS = frozenset(
    {
        "attempts-exhausted",
        "call-not-declared",
        "code-error",
        "error",
        "never-awaited",
        "out-of-memory",
        "payload-mismatch",
        "retried-too-long",
        "state-misfit",
        "state-too-large",
        "state-type",
        "state-undeclared",
        "state-without-key",
        "step-name",
        "step-options",
        "step-repeated",
        "step-result",
        "step-uncertain",
        "step-without-key",
        "throttle-without-key",
        "timed-out",
        "timer-data",
        "timer-delay",
        "timer-name",
        "timer-too-many",
        "timer-undeclared",
        "timer-without-key",
        "unreadable-outcome",
    }
)
"""Ends that no author plans: slugs of `Outcome.slug`."""

_OF_ODD_FIELDS = frozenset(
    {"payload-mismatch", "state-without-key", "step-without-key", "throttle-without-key", "timer-without-key"}
)
"""Ends that are right where a field does not fit."""

_OF_MANY_EVENTS = frozenset({"state-too-large", "timer-too-many"})
"""Ends that say nothing where all variants are about one entity, and no time passes between them."""


async def takes_every_sample(case: Case) -> None:
    """It ends as its author planned for every sample of its types."""
    events = [(event.type, event) for event in case.own_samples]
    if not events:
        _refuse(case, [f"there is no sample of {', '.join(case.handler.types)}; give events=[...]"])
    await _each(case, events)


async def takes_every_variant(case: Case) -> None:
    """The same for every body that the contract allows: a state that is rare, an optional field that is missing."""
    await _each(case, case.own_variants())


async def takes_unknown_fields(case: Case) -> None:
    """Fields that AMPECO adds change nothing."""
    odd = []
    for event in case.samples_of_ampeco:
        more = _changed(case, event, with_unknown_fields(event.raw))
        before, after = await _once(case, event), await _once(case, more)
        if (before.kind, before.slug) != (after.kind, after.slug):
            odd.append(f"{event.type}: {_said(before)} without unknown fields, {_said(after)} with them")
    _refuse(case, odd)


async def takes_odd_fields(case: Case) -> None:
    """A field of another kind ends as `payload-mismatch` at most: no TypeError, no AttributeError."""
    bodies = (
        (f"{event.type}: {about}", _changed(case, event, raw))
        for event in case.samples_of_ampeco
        for about, raw in with_odd_fields(event.raw)
    )
    await _each(case, bodies, allowed=_OF_ODD_FIELDS)


async def takes_events_backwards(case: Case) -> None:
    """It lives with the last event of an entity coming first."""
    events = [(event.type, event) for event in case.own_samples]
    events += case.own_variants()
    await _each(case, events[::-1], allowed=_OF_MANY_EVENTS, together=True)


async def does_it_once(case: Case) -> None:
    """The same event a second time, as after the death of a worker, has no second effect."""
    odd = []
    for event in case.own_samples:
        ampeco, memory, state = case.ampeco(), Memory(), case.made_state()
        async with opened(case.handler, ampeco, case.settings, state) as delivering:
            if (await delivering.deliver(event, memory)).kind not in ("done", "skipped"):
                continue
            before = _effects(case, delivering)
            again = await delivering.deliver(event, memory)
            after = _effects(case, delivering)  # before the lifespan ends, and its state with it
        repeated = [call for call in again.calls if not _may_repeat(call.operation)]
        odd += [f"{event.type}: {call.operation} {call.path} was called again" for call in repeated]
        if before != after:
            odd.append(f"{event.type}: its effects were {before!r}, and after the second time {after!r}")
    _refuse(case, odd)


async def does_not_block(case: Case) -> None:
    """It calls nothing that holds up the event loop, and with it every other handler of its process."""
    file = inspect.unwrap(case.handler.function).__code__.co_filename
    found: list[str] = []
    for event in case.own_samples:
        async with opened(case.handler, case.ampeco(), case.settings, case.made_state()) as delivering:
            await delivering.deliver(event, Memory())  # the first time modules and tables are loaded
            with blocking_calls(file) as blocked:
                await delivering.deliver(event, Memory())
        found += blocked
    _refuse(case, list(dict.fromkeys(found)))


async def is_dry(case: Case) -> None:
    """A dry run changes nothing: at AMPECO, and nothing of its own where it declares `dry_run=True`."""
    odd = []
    for event in case.own_samples:
        ampeco, state = case.ampeco(), case.made_state()
        async with opened(case.handler, ampeco, case.settings, state) as delivering:
            before = _effects(case, delivering)
            await delivering.deliver(event, Memory(), dry_run=True)
            after = _effects(case, delivering)
        odd += [f"{event.type}: {call.operation} was sent" for call in ampeco.calls if not call.reads]
        if case.handler.dry_run and before != after:
            odd.append(f"{event.type}: its effects were {before!r}, and after the dry run {after!r}")
    _refuse(case, odd)


def documents_its_settings(case: Case) -> None:
    """Each setting has a description, and the class a prefix of its own."""
    settings = case.handler.settings
    if settings is None:
        return
    odd = [
        f"{name} has no description" for name, each in settings.model_fields.items() if not each.description
    ]
    if not settings.model_config.get("env_prefix"):
        odd.append('the class has no prefix: class X(BaseSettings, env_prefix="ACME_...")')
    _refuse(case, odd)


def makes_keys(case: Case) -> None:
    """`key=` gives a key for every body that the contract allows."""
    if case.handler.key is None:
        return
    keys = HandlerKeys(case.handler, tell=False)
    events = [(event.type, event) for event in case.own_samples]
    events += case.own_variants()
    made = ((about, keys.of(stored_event(event))) for about, event in events)
    _refuse(case, [f"{about}: key= {each.failed}" for about, each in made if each.failed])


async def _each(
    case: Case,
    events: Iterable[tuple[str, Event[Any]]],
    *,
    allowed: frozenset[str] = frozenset(),
    together: bool = False,
) -> None:
    """Deliver each event, and refuse ends that no author plans.

    Args:
        together: one tenant and one state for all of them, as in a worker.
    """
    odd, shared = [], Memory()
    async with opened(case.handler, case.ampeco(), case.settings, case.made_state()) as delivering:
        for about, event in events:
            outcome = await delivering.deliver(event, shared if together else Memory())
            if outcome.slug in _FAULTS - allowed:
                odd.append(f"{about}: {_said(outcome)}")
    _refuse(case, odd)


async def _once(case: Case, event: Event[Any]) -> Outcome:
    async with opened(case.handler, case.ampeco(), case.settings, case.made_state()) as delivering:
        return await delivering.deliver(event, Memory())


def _changed(case: Case, event: Event[Any], raw: bytes) -> Event[Any]:
    """Return the event with another body. A type without a sample has the model of the handler, if that is one."""
    own = None if event.type in known_types() else case.handler.model_of(event.type)
    model = own if own is not None and issubclass(own, Payload) else None
    return event_from(raw, type=event.type, model=model)


def _effects(case: Case, delivering: Delivering) -> Any:
    return None if case.effects is None else case.effects(delivering.state)


def _may_repeat(operation: str) -> bool:
    known = operation_named(operation)
    return known is not None and known.idempotent


def _said(outcome: Outcome) -> str:
    words = " ".join(dict.fromkeys(part for part in (outcome.kind, outcome.slug, outcome.detail) if part))
    return f"{words}\n    {outcome.where.replace(chr(10), chr(10) + '    ')}" if outcome.where else words


def _refuse(case: Case, odd: list[str]) -> None:
    if odd:
        more = f"\n... and {len(odd) - _SHOWN} more" if len(odd) > _SHOWN else ""
        raise AssertionError(f"{case.handler.name}:\n" + "\n".join(odd[:_SHOWN]) + more)
