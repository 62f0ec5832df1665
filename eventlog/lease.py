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
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

from redis.exceptions import RedisError

from eventlog.chores import is_about_data
from eventlog.connection.pipeline import ANSWER_S
from eventlog.connection.reasons import said_by_redis
from eventlog.entity_records import EntityRecord, read_timers
from eventlog.errors import LeaseLost, UnknownRecord
from eventlog.internal import is_wanted, key_of_handler
from eventlog.lease_messages import Claim, Mode, Read, Settlement, Taken
from eventlog.log import EventLog
from eventlog.record import StoredEvent, decode_open, id_order
from eventlog.schedule import LEASE_MS
from eventlog.stored_event import decode_step
from eventlog.text import bounded

if TYPE_CHECKING:
    from redis.commands.core import AsyncScript

__all__ = [
    "MARGIN_S",
    "TTL_S",
    "Claim",
    "Lease",
    "Mode",
    "Read",
    "Settlement",
    "Taken",
    "clock_s",
    "wanted_by",
    "wanted_types",
]

TTL_S = LEASE_MS / 1000
MARGIN_S = 1.0
_RETRY_PAUSE_S = 0.05
_FRESH_S = 0.5  # after a renewal, a step leaves the lease as it is: a third of what a small step costs Redis
_ID_CHARS = 100
_PAUSED, _HELD = 1, 2  # why nothing may start, in the answer of a step
_CLOCK: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)

E = TypeVar("E", bound=StoredEvent)


def clock_s() -> float:
    """Return seconds of a clock that keeps running while the machine sleeps, if the system has one."""
    return time.clock_gettime(_CLOCK)


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
            UnknownRecord: what lies there cannot be read.
        """
        sent = clock_s()
        self._extend(sent)
        holder = f"{socket.gethostname()}:{os.getpid()}"
        arguments = [*self._names, self._token, int(TTL_S * 1000), holder, int(asks)]

        reply = await self._ask(self.log.scripts.take, arguments)
        if reply[0] != b"taken":
            self.deadline_s = 0.0
            return None
        _, cur, runto, newest, raw_open, ahead, wants, tries, back_ms, asked_before = reply
        self.wants = wants.decode()
        records = []
        for at in range(0, len(raw_open), 2):
            try:
                records.append(decode_open(self.lane, raw_open[at], raw_open[at + 1]))
            except UnknownRecord as error:
                raise self._unreadable(raw_open[at], str(error)) from error
        cur_id, runto_id = cur.decode("utf-8", "replace"), runto.decode("utf-8", "replace")
        try:
            records.sort(key=lambda record: record.event.order)
            if id_order(runto_id) < id_order(cur_id):
                runto_id = cur_id
        except ValueError as error:
            raise self._unreadable(b"position", "it is not an id of an event") from error
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

        await self._ask(self.log.scripts.asked, arguments)

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
            UnknownRecord: a key of the lane holds what no release wrote; only `stop_at` may follow.
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
            settlement.ending(),
        ]

        try:
            reply = await self._ask(self.log.scripts.step, arguments)
        except UnknownRecord:
            self._seq -= 1  # the script ended before it noted it, or the next step settles nothing
            raise
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
            unreadable = ""
            found, exhausted = claim.events, claim.exhausted
        else:
            found, unreadable = self._events_of(entries)
            if unreadable:
                # What lies before it is handled. The next read begins with it.
                scanned, exhausted = found[-1].stream_id.encode() if found else after.encode(), 0
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
            unreadable=unreadable,
        )

    async def stop_at(self, what: str, seconds: float) -> None:
        """Give the lease back, and let nobody take the lane for a time. What was handed out stays handed out.

        Args:
            what: why, for people.

        Raises:
            LeaseLost: another process has the lane, or Redis does not answer.
        """
        await self.step(Settlement(wakes_in_ms=round(seconds * 1000), held_by=what), mode="stop")

    def _events_of(self, entries: Sequence[Any]) -> tuple[list[StoredEvent], str]:
        """Return the events up to the first record that cannot be read, and what that is ('' = there is none)."""
        found: list[StoredEvent] = []
        try:
            found.extend(decode_step(self.lane, entry) for entry in entries)
        except UnknownRecord as error:
            return found, str(self._unreadable(entries[len(found)][0], str(error)))
        return found, ""

    def _unreadable(self, raw_id: bytes, why: str) -> UnknownRecord:
        name = bounded(raw_id.decode("utf-8", "backslashreplace"), _ID_CHARS)
        return UnknownRecord(f"{self.lane}-{name}: {why}")

    async def kept(self, keys: Sequence[str], *, timers: bool, states: bool) -> dict[str, EntityRecord]:
        """Return what the handler keeps of some keys, as Redis has it.

        Args:
            timers, states: which of both to read.

        Raises:
            LeaseLost: Redis did not answer in time.
        """
        arguments = [*self._names[:3], int(timers), int(states), *keys]

        reply = await self._ask(self.log.scripts.kept, arguments)
        pairs = zip(keys, reply[::2], reply[1::2], strict=True)
        return {key: EntityRecord(read_timers(found), state.decode()) for key, found, state in pairs}

    def _extend(self, sent_s: float) -> None:
        """Extend the lease from the moment of sending: Redis cannot have received the call earlier."""
        self.renewed_s = sent_s
        self.deadline_s = sent_s + TTL_S - MARGIN_S

    async def _ask(self, script: AsyncScript, arguments: Sequence[Any]) -> Any:
        """Call a script until there is an answer, as long as the lease lives."""
        while True:
            try:
                left_s = max(0.0, self.deadline_s - clock_s())
                # A cancelled call leaves the connection to the other lanes; one that reaches its limit does not.
                async with asyncio.timeout(left_s if left_s < ANSWER_S else None):
                    return await self.log.channel.call(script, arguments)
            except (RedisError, OSError) as error:  # a time-out is an OSError
                if is_about_data(error):  # no repetition helps
                    raise UnknownRecord(
                        f"Redis refused a script of this lane: {said_by_redis(error)}"
                    ) from error
                self.interrupted += 1
                if not self.alive:
                    self.deadline_s = 0.0
                    raise LeaseLost(f"{self.handler}, lane {self.lane}: Redis did not answer") from error
                await asyncio.sleep(_RETRY_PAUSE_S)
