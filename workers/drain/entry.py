"""One event on its way through a drain, its tie to other events, and which of two events is newer. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from ampeco.entity_keys import occurred_at
from ampeco.entity_parts import PARTS, part_of
from ampeco.errors import PayloadError
from ampeco.notifications import read
from eventlog.attempt_notes import with_note
from eventlog.entity_records import is_timer
from eventlog.record import AttemptNote, OpenRecord, OpenState, StoredEvent
from handlers.declaration import Order
from workers.delivery.handler_key import HandlerKey

State = Literal["waiting", "ready", "running", "retry", "settled"]
_UNREAD = -1
_AHEAD_MS = 300_000  # two clocks may differ a little


@dataclass(slots=True, eq=False)
class Entry:
    """One event on its way through a drain. Only the drain's Window, with its Cursor and Retries, writes the state.

    Attributes:
        tie: events with the same tie run one at a time; None for an event that is tied to nothing.
        attempts, crashes, first_ms, failed_ms, last_error, replayed, log: as in its OpenRecord.
        due_ms: when a retry is due, Unix time in milliseconds.
        wait_ms: how long it was to wait, which bounds `due_ms` when a clock changes.
        ahead: whether Redis has it as settled although the cursor is not there yet.
        beyond: whether the cursor is not there yet.
        in_open: whether it is in `open`, or will be with the next step.
        parked: whether `open` holds it as parked, or will with the next step.
        suspect: whether it may have been at work when a worker died.
        was: state in `open` when the drain began.
        own: the result of the handler's `key=`; None without `key=`. After a death it is None until the attempt,
            and the runner sets it then.
    """

    event: StoredEvent
    tie: str | None
    state: State = "waiting"
    attempts: int = 0
    crashes: int = 0
    first_ms: int = 0
    failed_ms: int = 0
    last_error: str = ""
    replayed: bool = False
    log: tuple[AttemptNote, ...] = ()
    due_ms: int | None = None
    wait_ms: int | None = None
    ahead: bool = False
    beyond: bool = False
    in_open: bool = False
    parked: bool = False
    suspect: bool = False
    was: OpenState | None = None
    own: HandlerKey | None = None
    _own_ms: int | None = _UNREAD

    @property
    def key(self) -> str | None:
        """The handler's key of this event: the entity, unless the handler has finer keys."""
        return self.event.key if self.own is None else self.own.key

    @property
    def order(self) -> tuple[int, int]:
        """Place in the log, parsed at each use: few events need it."""
        return self.event.order

    @property
    def own_ms(self) -> int | None:
        """The payload's own time, Unix time in milliseconds; None when it states none. Found once."""
        if self._own_ms == _UNREAD:
            self._own_ms = own_ms_of(self.event)
        return self._own_ms

    def take_up(self, record: OpenRecord) -> None:
        """Take over the record that another drain put into `open`."""
        self.attempts, self.crashes = record.attempts, record.crashes
        self.first_ms, self.failed_ms = record.first_ms, record.failed_ms
        self.last_error = record.last_error
        self.replayed, self.log = record.replayed, record.log
        self.was, self.due_ms, self.wait_ms = record.state, record.due_ms, record.wait_ms

    def note(self, note: AttemptNote) -> None:
        """Add an attempt to the kept ones."""
        self.log = with_note(self.log, note)

    def count_crash(self, note: AttemptNote) -> None:
        """Count a possible crash; the next mark writes it to Redis."""
        self.crashes += 1
        self.note(note)

    def uncount_crash(self, log: tuple[AttemptNote, ...]) -> None:
        """Take a counted crash back, since the event did not start. `log` is its log from before."""
        self.crashes -= 1
        self.log = log

    def conclude(self, error: str, *, spent: bool) -> None:
        """Note that an attempt has ended; the window retries or settles the event next."""
        self.last_error = error
        self.suspect = False
        self.attempts += spent
        if spent and not self.failed_ms and self.log:
            self.failed_ms = self.log[-1].at_ms

    def record(self, state: OpenState) -> OpenRecord:
        """Return the record for `open` in this state."""
        due_ms = self.due_ms if state == "retry" else None
        counted = (self.attempts, self.crashes, self.first_ms, self.last_error, self.replayed, self.log)
        wait_ms = self.wait_ms if state == "retry" else None
        own_key = None if self.own is None else self.own.key
        return OpenRecord(self.event, state, due_ms, *counted, wait_ms, own_key, self.failed_ms)


def tie_of(order: Order, event: StoredEvent, own: HandlerKey | None = None) -> str | None:
    """Return the tie of an event, None for none: events with the same tie run one at a time.

    `entity` ties all events of a key, `latest` those of one type of a key. With `latest` and no keys of the handler's
    own, what is about a part is tied to that part: one EVSE's status does not replace another's.
    """
    key = event.key if own is None else own.key
    if order == "none" or key is None:
        return None
    if order == "entity":
        return key
    if is_timer(event.type):
        return None  # each timer has a name of its own, so none replaces another
    # A type may be any text; its length tells where it ends.
    tie = f"{len(event.type)} {event.type} {key}"
    if own is None and event.type in PARTS and (part := _part_of(event)) is not None:
        return f"{tie} {part}"
    return tie


def _part_of(event: StoredEvent) -> str | None:
    try:
        return part_of(event.type, read(event.body, event.encoding))
    except PayloadError:
        return None


def newest_of(entries: Collection[Entry]) -> Entry:
    """Find the newest of some events.

    Two own times say which of their events is newer. An own time and an arrival are times of two clocks. So an event
    without an own time is compared with others by its place in the log.
    """
    dated = [entry for entry in entries if entry.own_ms is not None]
    last = max(
        (entry for entry in entries if entry.own_ms is None), key=lambda entry: entry.order, default=None
    )
    if not dated:
        assert last is not None  # noqa: S101 - there is at least one
        return last
    newest = max(dated, key=lambda entry: (entry.own_ms, entry.order))
    return last if last is not None and last.order > newest.order else newest


def own_ms_of(event: StoredEvent) -> int | None:
    """Return the time of change that the payload states, Unix time in milliseconds; None when it states none.

    A time well after the arrival is ignored: by a clock that is ahead, every later event would seem older.
    """
    if event.occurred_at_us is not None:
        at = event.occurred_at
    else:  # a record of older code, which stored no time
        try:
            at = occurred_at(event.type, read(event.body, event.encoding), event.received_at)
        except PayloadError:
            return None
    if at is None:
        return None
    own_ms = round(at.timestamp() * 1000)
    return None if own_ms > event.received_at_ms + _AHEAD_MS else own_ms
