"""Derive what became of one event at one handler, or why it waits. Pure functions over facts.

The results are slugs and values; the command line makes sentences of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from eventlog.handler_faults import Fault
from eventlog.inspection.search import End
from eventlog.internal import is_wanted
from eventlog.operation.handlers import Pause
from eventlog.outages import Away
from eventlog.record import OPEN_QUOTA, AttemptNote, OpenRecord, OpenState, id_order
from eventlog.unwanted import Unwanted

UNSEEN_MS = 180_000  # workers declare their handlers once a minute

State = (
    OpenState
    | Literal["waiting", "settled", "before-start"]
    | Literal["done", "skipped", "filtered", "not-wanted", "superseded", "dead"]
)


@dataclass(frozen=True, slots=True)
class EventFacts:
    """Facts about an event, without its body.

    Attributes:
        type, size, key_id: None when only the history still has the event.
        key: entity key; None when the event has none, or it is no longer known.
        key_id: the key that verified it; empty for our own events.
        kept: whether it is still in its lane.
        fingerprint: of its body, equal for equal bodies; empty unless it is kept.
        occurred_at_ms: by the time in its payload; None when it states none, or is no longer kept.
    """

    lane: int
    stream_id: str
    received_at_ms: int
    type: str | None = None
    key: str | None = None
    size: int | None = None
    key_id: str | None = None
    marks: tuple[str, ...] = ()
    kept: bool = False
    fingerprint: str = ""
    occurred_at_ms: int | None = None

    @property
    def event_id(self) -> str:
        return f"{self.lane}-{self.stream_id}"


@dataclass(frozen=True, slots=True)
class HandlerFacts:
    """A registered handler.

    Attributes:
        since_ms: when it was registered first.
        served_ms: when a worker that runs it declared it last; 0 when none ever did.
        queue: the RQ queue whose workers run it.
        away: why the handler is held; None when it is not.
        fault: why the workers that serve its queue cannot run it, if none can.
        unwanted: the types that its newest version no longer wants.
        has_keys: whether it has keys of its own within an entity (`key=`).
        stopped: by lane, the record that cannot be read, at which the handler stops there.
    """

    name: str
    types: frozenset[str]
    since_ms: int
    served_ms: int
    pause: Pause | None = None
    queue: str = "default"
    away: Away | None = None
    fault: Fault | None = None
    unwanted: Unwanted | None = None
    has_keys: bool = False
    stopped: Mapping[int, str] = field(default_factory=dict)

    def wants(self, type: str | None) -> bool:
        """Return whether the handler gets events of this type; True if the type is unknown."""
        return type is None or is_wanted(self.types, type)


@dataclass(frozen=True, slots=True)
class PairFacts:
    """One lane of one handler.

    Attributes:
        cur, runto, ahead: as in `lease.Taken`.
        holder: host and pid that hold the lease; empty when it is free.
        open_count: records in its `open`.
    """

    cur: str
    runto: str
    ahead: frozenset[str]
    holder: str
    open_count: int


@dataclass(frozen=True, slots=True)
class Fate:
    """The state of an event at a handler.

    Attributes:
        why: for a settled event, the author's words or the slug of its dead letter. For a waiting one, `paused`,
            `away`, `unreadable`, `open-full`, `handed-out`, `held`, `faulty`, `no-worker` or `nobody-yet`. For a
            retried one, its last error. For one that is not wanted, `no-longer-wanted` if an earlier version wanted
            it.
        at_ms: when it was settled, when its retry (or that of the event before it) is due, or when a pause or the
            absence of workers began.
        words: the reason given with the pause; with `no-worker`, the queue that none serves; with `faulty`, what is
            wrong; with `no-longer-wanted`, the version.
        holder: host and pid that hold the lane.
        behind: id of the event it is parked behind.
        tries, deaths: attempts that counted, and workers that died during one.
        attempts: the last ones, oldest first.
        letter: id of its dead letter, while that is kept.
        earlier: ends before it was replayed.
        away: the service that is away and holds up this event; None without one.
        is_partial: whether only a part of the handler's history was read, so that another end may be missing.
    """

    handler: str
    state: State
    why: str = ""
    at_ms: int | None = None
    holder: str = ""
    words: str = ""
    behind: str = ""
    tries: int = 0
    deaths: int = 0
    attempts: tuple[AttemptNote, ...] = ()
    letter: str = ""
    earlier: tuple[End, ...] = ()
    away: Away | None = None
    is_partial: bool = False


def fate_of(
    event: EventFacts,
    handler: HandlerFacts,
    pair: PairFacts,
    *,
    open_: Sequence[OpenRecord],
    ends: Sequence[End],
    letter: str,
    now_ms: int,
) -> Fate:
    """Derive what became of an event at a handler.

    Args:
        open_: the handler's open records of the same entity, in log order; at least this event's, if it is open.
        ends: of this event's deliveries, oldest first.
        letter: id of its dead letter, or empty.
    """
    name = handler.name
    for record in open_:
        if record.event.stream_id == event.stream_id:
            return _of_open(handler, pair, record, open_, tuple(ends))
    if ends:
        *earlier, last = ends
        return Fate(
            name,
            last.settled.outcome,  # type: ignore[arg-type]
            last.settled.reason,
            last.at_ms,
            attempts=last.settled.attempts,
            letter=letter,
            earlier=tuple(earlier),
        )
    if letter:
        return Fate(name, "dead", letter=letter)
    if not handler.wants(event.type):
        return _of_unwanted(event, handler)
    if id_order(event.stream_id) > id_order(pair.cur) and event.stream_id not in pair.ahead:
        return _of_waiting(event, handler, pair, now_ms)
    if id_order(event.stream_id)[0] < handler.since_ms:
        return Fate(name, "before-start", at_ms=handler.since_ms)
    return Fate(name, "settled")


def _of_unwanted(event: EventFacts, handler: HandlerFacts) -> Fate:
    """Return the fate of an event whose type the handler does not want, or not any more."""
    gone = handler.unwanted
    since_ms = id_order(event.stream_id)[0]
    if gone is None or since_ms > gone.since_ms or not gone.covers(event.type) or since_ms < handler.since_ms:
        return Fate(handler.name, "not-wanted")
    return Fate(handler.name, "not-wanted", "no-longer-wanted", gone.since_ms, words=gone.version)


def _of_open(
    handler: HandlerFacts,
    pair: PairFacts,
    record: OpenRecord,
    open_: Sequence[OpenRecord],
    earlier: tuple[End, ...],
) -> Fate:
    behind, at_ms = "", record.due_ms
    if record.state == "parked":
        earlier_ones = (other for other in open_ if other.event.order < record.event.order)
        blocker = next((other for other in earlier_ones if other.own_key == record.own_key), None)
        if blocker is not None:
            behind, at_ms = blocker.event.event_id, blocker.due_ms
    return Fate(
        handler.name,
        record.state,
        record.last_error,
        at_ms,
        holder=pair.holder,
        behind=behind,
        tries=record.attempts,
        deaths=record.crashes,
        attempts=record.log,
        earlier=earlier,
        away=None if record.state == "running" else handler.away,
    )


def _of_waiting(event: EventFacts, handler: HandlerFacts, pair: PairFacts, now_ms: int) -> Fate:
    name = handler.name
    if handler.pause is not None:
        return Fate(
            name, "waiting", "paused", handler.pause.since_ms, pair.holder, words=handler.pause.reason
        )
    if handler.away is not None:
        return Fate(name, "waiting", "away", handler.away.since_ms, pair.holder, away=handler.away)
    if (record := handler.stopped.get(event.lane)) is not None:
        return Fate(name, "waiting", "unreadable", holder=pair.holder, words=record)
    if pair.open_count >= OPEN_QUOTA:
        return Fate(name, "waiting", "open-full", holder=pair.holder)
    if pair.holder:
        handed_out = id_order(event.stream_id) <= id_order(pair.runto)
        return Fate(name, "waiting", "handed-out" if handed_out else "held", holder=pair.holder)
    if handler.fault is not None:
        return Fate(name, "waiting", "faulty", handler.fault.since_ms, words=handler.fault.text)
    if handler.served_ms < now_ms - UNSEEN_MS:
        return Fate(name, "waiting", "no-worker", handler.served_ms or None, words=handler.queue)
    return Fate(name, "waiting", "nobody-yet")
