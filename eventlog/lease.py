"""The lease of one (handler, lane): take it, and move forward in steps.

Every script call carries (token, seq), and the script applies a seq once. When a reply is lost, the call is repeated
with the same seq until the lease's deadline. After the deadline nothing may be started or settled, because another
process may hold the lease.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal, NamedTuple, TypeVar

from redis.exceptions import RedisError

from eventlog.connection.pipeline import ANSWER_S
from eventlog.entity_records import Change, EntityRecord, read_timers
from eventlog.errors import LeaseLost
from eventlog.history import Settled
from eventlog.history import encode as encode_history
from eventlog.internal import is_wanted, key_of_handler
from eventlog.log import EventLog
from eventlog.record import (
    TRACE_CHARS,
    DeadLetter,
    OpenRecord,
    StoredEvent,
    decode_open,
    decode_step,
    encode_open,
    id_order,
)
from eventlog.schedule import LEASE_MS
from eventlog.text import bounded

TTL_S = LEASE_MS / 1000
MARGIN_S = 1.0
_RETRY_PAUSE_S = 0.05
_FRESH_S = 0.5  # after a renewal, a step leaves the lease as it is: a third of what a small step costs Redis
_PAUSED, _HELD = 1, 2  # why nothing may start, in the answer of a step
_CLOCK: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)

Mode = Literal["work", "sleep", "release", "give", "leave", "hold"]
E = TypeVar("E", bound=StoredEvent)


def clock_s() -> float:
    """Return seconds of a clock that keeps running while the machine sleeps, if the system has one."""
    return time.clock_gettime(_CLOCK)


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
        wakes_in_ms: for a step that falls asleep, when the first retry is due by the clock of the drain; for one that
            holds its pair, for how long.
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
    wakes_in_ms: int | None = None
    held_by: str = ""
    kept: Sequence[Change] = ()

    def arguments(self) -> list[Any]:
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
        arguments += (self.wanted_passed, self.beyond, self.oldest or "-")
        arguments.append(encode_history(self.history))
        for change in self.kept:
            arguments += change.arguments()
        return arguments


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


@lru_cache(4096)
def wanted_types(wants: str) -> frozenset[str]:
    """Return the types of a handler's `wants`; `*` stands for all."""
    return frozenset(wants.split("\n"))


def wanted_by(types: frozenset[str], events: Sequence[E]) -> list[E]:
    """Return the events that a handler of these types gets."""
    if "*" in types:
        return [event for event in events if is_wanted(types, event.type)]
    return [event for event in events if event.type in types]


class Lease:
    """One drain's hold on one (handler, lane).

    Attributes:
        wants: the types that the handler wants, as Redis had them last.
        interrupted: how often a call got no answer.
    """

    def __init__(self, log: EventLog, handler: str, lane: int, queue: str) -> None:
        self.log = log
        self.handler = handler
        self.lane = lane
        self._names = [log.prefix, handler, lane, queue]
        self._announced_in = log.lane_of(key_of_handler(handler), b"")
        self._token = secrets.token_hex(8)
        self._seq = 0
        self.wants = ""
        self.interrupted = 0
        self.deadline_s = 0.0
        self.renewed_s = 0.0

    @property
    def token(self) -> str:
        """Return the token that identifies this hold in Redis."""
        return self._token

    @property
    def alive(self) -> bool:
        """Return whether events may still be started or settled under this lease."""
        return clock_s() < self.deadline_s

    async def take(self, *, asks: bool = False) -> Taken | None:
        """Take the lease.

        Args:
            asks: the drain asks the author's code for a key of each open event, and calls `asked` afterwards.

        Returns:
            None when another drain has it, or the handler is paused, held, or not registered in this log.

        Raises:
            LeaseLost: Redis did not answer in time.
        """
        sent = clock_s()
        self._extend(sent)
        asked: list[Any] = [
            *self._names,
            self._token,
            int(TTL_S * 1000),
            f"{socket.gethostname()}:{os.getpid()}",
            int(asks),
        ]

        def take(within_s: float) -> Awaitable[Any]:
            return self.log.channel.call(self.log.scripts.take, asked, within_s=min(within_s, ANSWER_S))

        reply = await self._ask(take)
        if reply[0] != b"taken":
            self.deadline_s = 0.0
            return None
        _, cur, runto, newest, raw_open, ahead, wants, tries, back_ms, asked_before = reply
        self.wants = wants.decode()
        records = [
            decode_open(self.lane, raw_open[at], raw_open[at + 1]) for at in range(0, len(raw_open), 2)
        ]
        records.sort(key=lambda record: record.event.order)
        cur_id, runto_id = cur.decode(), runto.decode()
        if id_order(runto_id) < id_order(cur_id):
            runto_id = cur_id
        settled = frozenset(i.decode() for i in ahead)
        back_s = None if back_ms < 0 else back_ms / 1000
        return Taken(
            cur_id, runto_id, newest.decode(), records, settled, bool(tries), back_s, bool(asked_before)
        )

    async def asked(self) -> None:
        """Note that the process survived the question for the keys of the open events.

        Raises:
            LeaseLost: Redis did not answer in time.
        """
        arguments = [*self._names[:3], self._token]

        def note(within_s: float) -> Awaitable[Any]:
            return self.log.channel.call(self.log.scripts.asked, arguments, within_s=min(within_s, ANSWER_S))

        await self._ask(note)

    async def step(
        self,
        settlement: Settlement,
        *,
        mode: Mode = "work",
        after: str = "",
        count: int = 0,
        max_bytes: int = 1 << 20,
        claim: Claim | None = None,
        others: frozenset[str] = frozenset(),
    ) -> Read:
        """Settle, renew, and read up to `count` wanted events after `after`.

        Args:
            claim: instead of reading, hand out this range after `after`, whose events were chosen by `wants`. When
                the handler wants something else by now, or the range is gone, Redis reads as if there was none.
            others: types to read in addition, for other handlers of this process.

        Raises:
            LeaseLost: none or all of this settlement was applied; the caller must stop.
        """
        self._seq += 1
        sent = clock_s()
        renews = mode != "work" or sent - self.renewed_s > _FRESH_S
        arguments = [
            *self._names,
            self._token,
            self._seq,
            int(TTL_S * 1000) if renews else 0,
            mode,
            settlement.cur or "",
            after,
            count,
            max_bytes,
            claim.until if claim else "",
            self.wants,
            "\n".join(others),
            self._announced_in,
            *settlement.arguments(),
            _ending(settlement),
        ]

        def step(within_s: float) -> Awaitable[Any]:
            return self.log.channel.call(self.log.scripts.step, arguments, within_s=min(within_s, ANSWER_S))

        reply = await self._ask(step)
        status = reply[0]
        if status == b"lost":
            self.deadline_s = 0.0
            raise LeaseLost(f"{self.handler}, lane {self.lane}: another process drains it")
        if status != b"ok":
            self.deadline_s = 0.0
            return Read(asleep=True)
        if renews:
            self._extend(sent)
        _, scanned, exhausted, entries, newest, paused, changed, wants, hurried = reply
        if claimed := entries is None:
            assert claim is not None  # noqa: S101
            found, exhausted = claim.events, claim.exhausted
        else:
            found = [decode_step(self.lane, entry) for entry in entries]
        if wants:
            self.wants = wants.decode()
        types = wanted_types(self.wants)
        return Read(
            events=wanted_by(types, found) if others and not claimed else found,
            all_events=() if claimed else found,
            types=types | others,
            scanned=scanned.decode(),
            exhausted=bool(exhausted),
            newest=newest.decode(),
            paused=paused == _PAUSED,
            held=paused == _HELD,
            changed=bool(changed),
            hurried=hurried.decode().split() if hurried else (),
        )

    async def kept(self, keys: Sequence[str], *, timers: bool, states: bool) -> dict[str, EntityRecord]:
        """Return what the handler keeps of some keys, as Redis has it.

        Args:
            timers, states: which of both to read.

        Raises:
            LeaseLost: Redis did not answer in time.
        """
        arguments = [*self._names[:3], int(timers), int(states), *keys]

        def ask(within_s: float) -> Awaitable[Any]:
            return self.log.channel.call(self.log.scripts.kept, arguments, within_s=min(within_s, ANSWER_S))

        reply = await self._ask(ask)
        pairs = zip(keys, reply[::2], reply[1::2], strict=True)
        return {key: EntityRecord(read_timers(found), state.decode()) for key, found, state in pairs}

    def _extend(self, sent_s: float) -> None:
        """Extend the lease from the moment of sending: Redis cannot have received the call earlier."""
        self.renewed_s = sent_s
        self.deadline_s = sent_s + TTL_S - MARGIN_S

    async def _ask(self, ask: Callable[[float], Awaitable[Any]]) -> Any:
        """Call `ask` with the seconds that the lease has left, until there is an answer."""
        while True:
            try:
                return await ask(max(0.0, self.deadline_s - clock_s()))
            except (RedisError, OSError) as error:  # a time-out is an OSError
                self.interrupted += 1
                if not self.alive:
                    self.deadline_s = 0.0
                    raise LeaseLost(f"{self.handler}, lane {self.lane}: Redis did not answer") from error
                await asyncio.sleep(_RETRY_PAUSE_S)


def _ending(settlement: Settlement) -> str:
    """Return the last argument of a step: what a drain knows of the time when it falls asleep or holds its pair."""
    wakes = "" if settlement.wakes_in_ms is None else str(settlement.wakes_in_ms)
    return f"{wakes} {settlement.held_by}" if settlement.held_by else wakes
