"""Keeps timers and states of entities between two deliveries, in place of the log."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple

from handlers.declaration import Handler
from handlers.entity_notes import EntityNotes
from handlers.event import Event, Raw, is_timer
from handlers.testing.clock import Clock
from handlers.testing.events import event_from
from handlers.timer import SetTimer, Timer, checked_timer, timer_type

Owner = tuple[str, str]
"""Name of a handler, and its key."""


class _Kept(NamedTuple):
    timer: SetTimer
    due_at: datetime
    set_by: str
    entity: str
    is_due: bool = False


class EntityMemory:
    """The timers and states of all handlers.

    Args:
        clock: by which timers fall due.
    """

    def __init__(self, clock: Callable[[], Clock]) -> None:
        self._clock = clock
        self._timers: dict[Owner, dict[str, _Kept]] = {}
        self._states: dict[Owner, str] = {}
        self._fallen_due: set[str] = set()  # generations

    def notes(self, handler: Handler, key: str | None) -> EntityNotes:
        """Return what an attempt may see and change, by the handler's key of its event."""
        owner = (handler.name, key or "")
        pending = {name: kept.timer.generation for name, kept in self._timers.get(owner, {}).items()}
        return EntityNotes(
            key,
            timers=pending if handler.timers is not None else None,
            model=handler.entity_state,
            document=self._states.get(owner, "") if key is not None else "",
        )

    def is_over(self, handler: Handler, event: Event[Any]) -> bool:
        """Whether the event is a timer that was cancelled or set again after it fell due."""
        if not is_timer(event.type) or event.replayed:
            return False
        body = json.loads(event.raw)
        owner = (handler.name, body.get("key") or event.key or "")
        kept = self._timers.get(owner, {}).get(body["name"])
        generation = body.get("generation")
        return generation in self._fallen_due and (kept is None or kept.timer.generation != generation)

    def settle(self, handler: Handler, event: Event[Any], key: str | None, notes: EntityNotes | None) -> None:
        """Record the end of an event, and the notes of its last attempt; None where they do not count."""
        owner, now = (handler.name, key or ""), self._clock().now()
        timers = self._timers.setdefault(owner, {})
        if is_timer(event.type):
            body = json.loads(event.raw)
            kept = timers.get(body["name"])
            if kept is not None and kept.timer.generation == body.get("generation"):
                del timers[body["name"]]
        if notes is None:
            return
        for name, timer in notes.changes.items():
            timers.pop(name, None)
            if timer is not None:
                due_at = datetime.fromtimestamp(now.timestamp() + timer.delay_s, UTC)
                timers[name] = _Kept(timer, due_at, event.id, event.key or "")
        if notes.is_changed:
            self._states[owner] = notes.document

    def set_state(self, handler: Handler, key: str, document: str) -> None:
        """Keep a state, as JSON text."""
        self._states[handler.name, key] = document

    def timers(self, handler: Handler) -> dict[tuple[str, str], datetime]:
        """Return (key, name) -> when it falls due, for each pending timer of a handler."""
        return {
            (key, name): kept.due_at
            for (owner, key), timers in self._timers.items()
            if owner == handler.name
            for name, kept in timers.items()
        }

    def next_due(self, handler: Handler) -> Event[Any] | None:
        """Let the first timer that is due by the clock fall due, and return its event; None when none is."""
        now = self._clock().now()
        due = [
            (kept.due_at, key, name)
            for (owner, key), timers in self._timers.items()
            if owner == handler.name
            for name, kept in timers.items()
            if kept.due_at <= now and not kept.is_due
        ]
        if not due:
            return None
        _, key, name = min(due)
        kept = self._timers[handler.name, key][name]
        self._timers[handler.name, key][name] = kept._replace(is_due=True)
        self._fallen_due.add(kept.timer.generation)
        return _event(handler, kept.entity, kept.timer, kept.due_at, kept.set_by, self._clock(), own_key=key)


def timer_of(
    handler: Handler, name: str, data: Any = None, *, key: str = "session:1", clock: Clock | None = None
) -> Event[Any]:
    """Make the event of a timer of a handler that falls due now.

    Args:
        data: as `ctx.later` takes it.
        key: the entity.

    Raises:
        TimerRefused: the name or the data are out of bounds.
    """
    clock = clock or Clock()
    return _event(handler, key, checked_timer(name, 0, data), clock.now(), "", clock)


def _event(
    handler: Handler,
    key: str,
    timer: SetTimer,
    due_at: datetime,
    set_by: str,
    clock: Clock,
    *,
    own_key: str = "",
) -> Event[Any]:
    type_name, model = timer_type(handler.name), handler.timers or Timer
    body = {
        "notification": type_name,
        "name": timer.name,
        "due": round(due_at.timestamp() * 1000),
        "generation": timer.generation,
        "setBy": set_by,
        "data": json.loads(timer.data) if timer.data else None,
        **({"key": own_key} if own_key not in ("", key) else {}),
    }
    typed: Any = None if issubclass(model, Raw) else model
    made = event_from(json.dumps(body).encode(), type=type_name, model=typed, clock=clock)
    return dataclasses.replace(made, key=key, occurred_at=due_at)
