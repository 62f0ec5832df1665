"""The messages between a drain and its lease, as plain data, and their order in a call of the step script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from eventlog.entity_records import Change
from eventlog.history import Settled
from eventlog.history import encode as encode_history
from eventlog.record import TRACE_CHARS, DeadLetter, OpenRecord, StoredEvent, encode_open
from eventlog.text import bounded

Mode = Literal["work", "sleep", "release", "give", "leave", "hold", "stop"]


@dataclass(frozen=True)
class Taken:
    """The state from which a drain starts.

    Attributes:
        cur: every event up to here is settled or open.
        runto: last id that was handed out; events in (cur, runto] may have been running when a worker died.
        newest: version of the handler's newest declaration.
        open: open records, in log order.
        ahead: ids after `cur` that are settled already.
        tries: the hold of the handler is over: one event is to try whether what it needs is back.
        back_s: how long ago that came back; None when it was not away, or that is long ago.
        asked_before: the drain before ended while it asked for the keys of the open events.
    """

    cur: str
    runto: str
    newest: str
    open: list[OpenRecord]
    ahead: frozenset[str]
    tries: bool = False
    back_s: float | None = None
    asked_before: bool = False


@dataclass
class Settlement:
    """Changes for one step, applied together or not at all.

    Attributes:
        cur: new cursor, or None to leave it.
        puts: records to write into `open`.
        dels: stream ids to remove from `open`.
        dead: deliveries that were given up.
        stats: counters to raise, by how much.
        ahead: ids that are settled although the cursor is not there yet.
        passed: ids in `ahead` that the cursor has reached.
        history: deliveries that were settled.
        wanted_passed: wanted events that the cursor passes with this step.
        beyond: wanted events after the cursor that are settled or open.
        oldest: id of the oldest event that this drain knows and that is not settled; None when there is none.
        parked: how many events `open` holds as parked.
        wakes_in_ms: for a step that falls asleep, when the first retry is due by the clock of the drain. For one
            that holds its pair, for how long.
        held_by: why it holds its pair.
        kept: what the handler keeps of entities, in the order of the changes.
    """

    cur: str | None = None
    puts: list[OpenRecord] = field(default_factory=list)
    dels: list[str] = field(default_factory=list)
    dead: list[DeadLetter] = field(default_factory=list)
    stats: Mapping[str, int] = field(default_factory=dict)
    ahead: list[str] = field(default_factory=list)
    passed: list[str] = field(default_factory=list)
    history: list[Settled] = field(default_factory=list)
    wanted_passed: int = 0
    beyond: int = 0
    oldest: str | None = None
    parked: int = 0
    wakes_in_ms: int | None = None
    held_by: str = ""
    kept: Sequence[Change] = ()

    def arguments(self) -> list[Any]:
        """Return the changes as arguments of a step, in the order in which the script takes them."""
        arguments: list[Any] = [len(self.puts)]
        for record in self.puts:
            due: str | int = "" if record.due_ms is None else record.due_ms
            if record.wait_ms is not None:
                due = f"{due} {record.wait_ms}"
            arguments += (record.event.stream_id, due, encode_open(record))
        arguments.append(len(self.dels))
        arguments += self.dels
        arguments.append(len(self.dead))
        for letter in self.dead:
            event = letter.record.event
            arguments += (event.stream_id, event.type, event.key or "", bounded(letter.reason))
            arguments += (bounded(letter.trace, TRACE_CHARS), encode_open(letter.record))
        arguments.append(len(self.stats))
        for name, by in self.stats.items():
            arguments += (name, by)
        for ids in (self.ahead, self.passed):
            arguments.append(len(ids))
            arguments += ids
        arguments += (self.wanted_passed, self.beyond, self.oldest or "-", self.parked)
        arguments.append(encode_history(self.history))
        for change in self.kept:
            arguments += change.arguments()
        return arguments

    def ending(self) -> str:
        """Return the last argument of a step: when it should wake up, if it falls asleep or holds its pair."""
        wakes = "" if self.wakes_in_ms is None else str(self.wakes_in_ms)
        return f"{wakes} {self.held_by}" if self.held_by else wakes


class Claim(NamedTuple):
    """A range that this process has read already, to be handed out without its bodies.

    Attributes:
        until: last id of the range.
        events: those of the range that the handler wants.
        exhausted: nothing lay after the range when it was read.
    """

    until: str
    events: Sequence[StoredEvent]
    exhausted: bool


@dataclass(frozen=True)
class Read:
    """Answer to a step.

    Attributes:
        events: those that the handler wants.
        all_events: those that it or one of the others wants for which was read too; none of a claimed range.
        types: what `all_events` were chosen by.
        scanned: last id that was read, wanted or not.
        exhausted: nothing lies after `scanned`.
        asleep: the lease was given back. The pair becomes due when there is something to do.
        newest: version of the handler's newest declaration, as of this step.
        paused: the handler is paused, so none of its events may start.
        held: the handler or this pair is held for a time, so none of its events may start.
        changed: another process changed `open` or the wanted types since the lease was taken, so the taken records
            are incomplete.
        hurried: stream ids of retries whose wait an operator ended.
        unreadable: the record after `scanned` that cannot be read, and why; empty when there is none.
    """

    events: Sequence[StoredEvent] = ()
    all_events: Sequence[StoredEvent] = ()
    types: frozenset[str] = frozenset()
    scanned: str = ""
    exhausted: bool = False
    asleep: bool = False
    newest: str = ""
    paused: bool = False
    held: bool = False
    changed: bool = False
    hurried: Sequence[str] = ()
    unreadable: str = ""
