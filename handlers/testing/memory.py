"""Remembers attempts, once-only steps and the time between two deliveries, in place of the log."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from eventlog.attempt_notes import AttemptNote, with_note
from handlers.declaration import Handler
from handlers.event import Event
from handlers.testing.clock import Clock
from handlers.testing.entity_memory import EntityMemory
from handlers.testing.ledger import MemoryLedger
from handlers.testing.throttle import MemorySlots, Slots
from workers.drain.attempts import HOLD_MARGIN_S


@dataclass
class Tried:
    """The record of one event at one handler.

    Attributes:
        attempts: attempts that counted.
        first_ms: when the first attempt began.
        failed_ms: when the first one that counted began; 0 if none did.
        log: the last attempts, oldest first.
    """

    first_ms: int
    failed_ms: int = 0
    attempts: int = 0
    log: tuple[AttemptNote, ...] = ()

    def note(self, note: AttemptNote, *, spent: bool) -> None:
        """Remember an attempt that is to be followed by another one."""
        self.log = with_note(self.log, note)
        self.attempts += spent
        if spent and not self.failed_ms:
            self.failed_ms = note.at_ms

    def begin(self, now_ms: int) -> None:
        """Note that an attempt begins. A known time after that is of a clock that was ahead, and becomes this one."""
        self.first_ms, self.failed_ms = min(self.first_ms, now_ms), min(self.failed_ms, now_ms)


@dataclass
class Memory:
    """The memory of several deliveries: with the same one, each knows what those before it did.

    Attributes:
        clock: move it to let time pass between two deliveries.
        entities: timers and states of entities.
    """

    clock: Clock = field(default_factory=Clock)
    _tried: dict[tuple[str, str], Tried] = field(default_factory=dict, repr=False)
    _records: dict[str, dict[tuple[str, str], Any]] = field(default_factory=dict, repr=False)
    _slots: dict[str, Slots] = field(default_factory=dict, repr=False)
    _holders: Any = field(default_factory=itertools.count, repr=False)

    def __post_init__(self) -> None:
        self.entities = EntityMemory(lambda: self.clock)

    def tried(self, handler: Handler, event: Event[Any]) -> Tried:
        """Return what is known of an event at a handler; a new entry for a first attempt."""
        return self._tried.setdefault((handler.name, event.id), Tried(self.clock.now_ms()))

    def settle(self, handler: Handler, event: Event[Any]) -> None:
        """Forget the attempts: the event came to its end. Its once-only steps stay."""
        self._tried.pop((handler.name, event.id), None)

    def ledger(self, handler: Handler) -> MemoryLedger:
        """Return the once-only steps of a handler, for one attempt."""
        return MemoryLedger(
            self._records.setdefault(handler.name, {}),
            holder=f"attempt-{next(self._holders)}",
            hold_s=handler.timeout_s + HOLD_MARGIN_S,
            now_ms=self.clock.now_ms,
        )

    def slots(self, handler: Handler) -> MemorySlots:
        """Return the slots of a handler's throttle."""
        return MemorySlots(self._slots.setdefault(handler.name, {}), self.clock.now_ms)

    def timers(self, handler: Handler) -> dict[tuple[str, str], datetime]:
        """Return (the handler's key, name) -> when it falls due (UTC), for each pending timer of a handler."""
        return self.entities.timers(handler)

    def set_state(self, handler: Handler, key: str, document: Any) -> None:
        """Keep a state of an entity, as an earlier version of the handler may have written it.

        Args:
            key: the handler's key, as `session:4711`.
            document: plain JSON; it need not fit the declared type.
        """
        self.entities.set_state(handler, key, json.dumps(document))

    def steps(self, handler: Handler) -> dict[str, str]:
        """Return each once-only step by its name, and what became of it: `done`, `begun` or `uncertain`."""
        return {step: record.state for (_, step), record in self._records.get(handler.name, {}).items()}
