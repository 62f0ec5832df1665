"""The pending timers and states that one handler keeps of entities in one lane, as its drain knows them.

The drain holds the lease, so nothing else changes them, apart from the mark that a timer has fallen due. What is read
once therefore stays right, with the changes of this drain on top. A change goes to Redis with the settlement of its
event. Until then only this drain knows it, and does not forget it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from eventlog.entity_records import (
    Change,
    DropTimer,
    EntityRecord,
    PutState,
    PutTimer,
    TimerMark,
    is_timer,
    timer_mark,
)
from eventlog.lease import Lease
from eventlog.record import StoredEvent
from handlers.declaration import Handler
from handlers.entity_notes import EntityNotes
from workers.drain.entry import Entry

_MOST_BYTES = 1 << 20  # of what is known without being needed; each drain of a process has as much
_KEY_BYTES = 400


@dataclass(slots=True)
class _Known:
    """One key: generations of its timers by name, and its state as JSON text."""

    timers: dict[str, str]
    state: str

    @property
    def bytes(self) -> int:
        return _KEY_BYTES + len(self.state) + _KEY_BYTES * len(self.timers)


class EntityRecords:
    """The records of one drain. They are read in one call per batch, or when an event needs one that is not known."""

    def __init__(self, lease: Lease, handler: Handler) -> None:
        self._lease = lease
        self._timers = handler.timers is not None
        self._model = handler.entity_state
        self._known: dict[str, _Known] = {}
        self._bytes = 0
        self._changes: list[Change] = []
        self._changed: set[str] = set()  # since the last step
        self._sent: set[str] = set()  # with the step that is under way
        self._in_use: Counter[str] = Counter()

    async def preload(self, keys: Iterable[str | None]) -> None:
        """Read what is not known of the keys of a batch.

        Raises:
            LeaseLost: Redis did not answer in time.
        """
        await self._read([key for key in dict.fromkeys(keys) if key is not None and key not in self._known])

    async def notes(self, entry: Entry) -> EntityNotes:
        """Return what an attempt of this event may see and change; `release` must follow.

        Raises:
            LeaseLost: Redis did not answer in time.
        """
        key = entry.key
        if key is None:
            return EntityNotes(None, timers={} if self._timers else None, model=self._model)
        if key not in self._known:
            await self._read([key])
        known = self._known[key]
        self._in_use[key] += 1
        timers = dict(known.timers) if self._timers else None
        return EntityNotes(key, timers=timers, model=self._model, document=known.state)

    def release(self, entry: Entry) -> None:
        """Release the key of an attempt that has ended."""
        if entry.key is not None:
            self._in_use[entry.key] -= 1

    def is_over(self, entry: Entry) -> bool:
        """Whether a timer was cancelled or set again after it fell due. An operator's replay runs in any case.

        `notes` must have been called for it, so that its key is known.
        """
        if entry.replayed or not is_timer(entry.event.type):
            return False
        mark = _mark_of(entry.event)
        known = self._known.get(mark.key) if mark is not None else None
        return mark is not None and known is not None and known.timers.get(mark.name) != mark.generation

    def end(self, entry: Entry) -> None:
        """Note that an event has ended. The record of a timer is removed."""
        if is_timer(entry.event.type) and (mark := _mark_of(entry.event)) is not None:
            known = self._known.get(mark.key)
            if known is not None and known.timers.get(mark.name) == mark.generation:
                self._bytes -= known.bytes
                del known.timers[mark.name]
                self._bytes += known.bytes
            self._note(DropTimer(mark.key, mark.name, mark.generation))

    def keep(self, entry: Entry, notes: EntityNotes) -> None:
        """Keep the changes of an attempt whose event is done or skipped."""
        key = entry.key
        known = self._known.get(key) if key is not None else None
        if key is None or known is None:
            return
        before = known.bytes
        for name, timer in notes.changes.items():
            if timer is None:
                if known.timers.pop(name, None) is not None:
                    self._note(DropTimer(key, name))
                continue
            known.timers[name] = timer.generation
            left_ms = round(timer.left_s * 1000)
            of = entry.event
            self._note(PutTimer(key, of.key or key, name, timer.generation, left_ms, of.event_id, timer.data))
        if notes.is_changed:
            known.state = notes.document
            self._note(PutState(key, notes.document))
        self._bytes += known.bytes - before

    def changes(self) -> Sequence[Change]:
        """Return all changes since the last step. The caller must write them to Redis: they are forgotten here."""
        if not self._changes:
            return ()
        changes, self._changes = self._changes, []
        self._sent |= self._changed
        self._changed = set()
        return changes

    def confirm(self) -> None:
        """Note that Redis has what `changes` returned."""
        self._sent.clear()

    async def _read(self, keys: Sequence[str]) -> None:
        if not keys:
            return
        found = await self._lease.kept(keys, timers=self._timers, states=self._model is not None)
        if self._bytes > _MOST_BYTES:
            self._forget()
        for key, record in found.items():
            if key not in self._known:  # another attempt of the key may have read it, and changed it
                self._add(key, record)

    def _add(self, key: str, record: EntityRecord) -> None:
        known = _Known({timer.name: timer.generation for timer in record.timers}, record.state)
        self._known[key] = known
        self._bytes += known.bytes

    def _forget(self) -> None:
        """Forget records that Redis has too and that no attempt uses."""
        self._in_use += Counter()  # it removes those that are not in use
        kept = self._changed | self._sent | self._in_use.keys()
        self._known = {key: known for key, known in self._known.items() if key in kept}
        self._bytes = sum(known.bytes for known in self._known.values())

    def _note(self, change: Change) -> None:
        self._changes.append(change)
        self._changed.add(change.key)


def records_for(lease: Lease, handler: Handler) -> EntityRecords | None:
    """Return the records of a drain; None for a handler that keeps nothing."""
    keeps = handler.timers is not None or handler.entity_state is not None
    return EntityRecords(lease, handler) if keeps else None


def _mark_of(event: StoredEvent) -> TimerMark | None:
    try:
        return timer_mark(event.body, event.key)
    except (KeyError, TypeError, ValueError):
        return None
