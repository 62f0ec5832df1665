"""Events that one drain has read, for the other drains of this process on the same lane.

A drain reads what all drains near it want. The next ones claim that range: their step hands out the same ids in
Redis, without the bodies. A claim names the `wants` that it was chosen by, so that Redis can refuse it when they
changed. What is kept here is bounded in bytes, and goes with the last drain of its lane.
"""

from __future__ import annotations

import asyncio
import contextlib
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache

from ampeco.encodings import plain_size
from eventlog.internal import is_internal
from eventlog.lease import Claim, Read, wanted_by, wanted_types
from eventlog.record import StoredEvent, id_order
from workers.delivery.shared_event import SharedEvent

LANE_BYTES, TOTAL_BYTES = 16 << 20, 128 << 20
HANDED_OUT = 4_096  # events at most that all drains together ask for at a time: a crash may suspect them all
_LEAST_BATCH = 16
_FIRST_BATCH = 32  # at most, for a drain of a handler that was quick in this process

_PARSED = 8  # bytes of what handlers are given, by byte of the body; measured
_EVENT_BYTES = 2_000  # of an event without its body
_PARTS = 64  # a range grows up to this part of what is kept of one lane
_WAIT_S = 1.0  # for a read that is under way: one of our own would queue up behind it

Order = tuple[int, int]


@dataclass(slots=True, eq=False)
class _Range:
    """All events in (after, until] of the types it was filtered by."""

    after: Order
    until: Order
    until_id: str
    types: frozenset[str]
    events: list[SharedEvent]
    exhausted: bool
    bytes: int
    used: int = 0

    def extend(self, new: _Range) -> None:
        """Take up what was read next."""
        self.until, self.until_id, self.exhausted = new.until, new.until_id, new.exhausted
        self.events += new.events
        self.bytes += new.bytes


@dataclass(slots=True, eq=False)
class _Lane:
    ranges: list[_Range] = field(default_factory=list)
    shares: set[DrainReads] = field(default_factory=set)
    under_way: dict[str, tuple[frozenset[str], asyncio.Event]] = field(default_factory=dict)
    bytes: int = 0


class SharedReads:
    """What the drains of one process read, by lane.

    Args:
        lane_bytes, total_bytes: how much is kept of one lane and of all.
    """

    def __init__(self, lane_bytes: int = LANE_BYTES, total_bytes: int = TOTAL_BYTES) -> None:
        self.bytes = 0
        self._lane_bytes = lane_bytes
        self._total_bytes = total_bytes
        self._lanes: dict[int, _Lane] = {}
        self._shares = 0
        self._uses = 0
        self._known_wants: dict[str, str] = {}
        self._batches: dict[str, int] = {}

    @property
    def most_at_once(self) -> int:
        """How many events one drain may ask for at a time."""
        return max(_LEAST_BATCH, HANDED_OUT // max(1, self._shares))

    def join(self, lane: int, handler: str, types: Iterable[str]) -> DrainReads:
        """The part of one drain in this. It ends with `leave`.

        Args:
            types: what its code wants; Redis may know more.
        """
        share = DrainReads(self, self._lanes.setdefault(lane, _Lane()), lane, handler)
        share.wants = self._known_wants.get(handler) or "\n".join(types)
        share.first_batch = min(_FIRST_BATCH, self._batches.get(handler, 0))
        share.lane.shares.add(share)
        self._shares += 1
        return share

    def leave(self, share: DrainReads, batch: int) -> None:
        """A drain has ended. The last one of a lane leaves nothing."""
        self._batches[share.handler] = batch
        share.lane.shares.discard(share)
        self._shares -= 1
        if not share.lane.shares:
            self.drop(share.lane)
            self._lanes.pop(share.number, None)

    def drop(self, lane: _Lane) -> None:
        """Forget what was read of a lane."""
        for each in list(lane.ranges):
            self._remove(lane, each)

    def drop_passed(self, lane: _Lane) -> None:
        """Forget what all drains of a lane have read. Payloads stay with the events that some still hold."""
        if lane.ranges:
            last = min(share.at or (0, 0) for share in lane.shares)
            for each in [each for each in lane.ranges if each.until <= last]:
                self._take_out(lane, each)

    def know(self, share: DrainReads, wants: str) -> None:
        """Note what a handler wants as Redis has it."""
        if wants != share.wants:
            share.wants = self._known_wants[share.handler] = wants

    def touch(self, used: _Range) -> None:
        self._uses += 1
        used.used = self._uses

    def put(self, lane: _Lane, new: _Range) -> None:
        """Keep a range, and make room for it."""
        lane.bytes += new.bytes
        self.bytes += new.bytes
        self.touch(self._added(lane, new))
        while lane.bytes > self._lane_bytes:
            self._remove(lane, min(lane.ranges, key=lambda each: each.used))
        while self.bytes > self._total_bytes:
            oldest = min(
                (
                    (min(each.used for each in other.ranges), other)
                    for other in self._lanes.values()
                    if other.ranges
                ),
                key=lambda found: found[0],
            )[1]
            self._remove(oldest, min(oldest.ranges, key=lambda each: each.used))

    def _added(self, lane: _Lane, new: _Range) -> _Range:
        """Add what was read to the range that ends where it begins: each claim looks at all ranges of a lane."""
        most = self._lane_bytes // _PARTS
        for each in lane.ranges:
            if each.until == new.after and each.types == new.types and each.bytes + new.bytes <= most:
                each.extend(new)
                return each
        lane.ranges.append(new)
        return new

    def _take_out(self, lane: _Lane, old: _Range) -> None:
        lane.ranges.remove(old)
        lane.bytes -= old.bytes
        self.bytes -= old.bytes

    def _remove(self, lane: _Lane, old: _Range) -> None:
        self._take_out(lane, old)
        for event in old.events:
            event.made.clear()  # a slow drain may hold the event for long


class DrainReads:
    """One drain's part: what it may claim, and what it reads for others.

    Attributes:
        wants: the types of its handler as Redis has them, as its lease knows them.
        at: up to here it has read; None before it begins.
        first_batch: how much to ask for first, by how quick the handler was before; 0 where that is not known.
    """

    def __init__(self, reads: SharedReads, lane: _Lane, number: int, handler: str) -> None:
        self.lane = lane
        self.number = number
        self.handler = handler
        self.wants = ""
        self.at: Order | None = None
        self.first_batch = 0
        self._reads = reads
        self._barren = False  # what came last had nothing for this handler

    @property
    def most_at_once(self) -> int:
        """How many events the drain may ask for at a time."""
        return self._reads.most_at_once

    @property
    def has_others(self) -> bool:
        """Whether other drains of this process are on the lane."""
        return len(self.lane.shares) > 1

    async def claim(self, after: str, count: int, wants: str) -> Claim | None:
        """What can be had of a range that another drain has read, or is reading now; at most `count` events."""
        self._reads.know(self, wants)
        self.at = id_order(after)
        self._reads.drop_passed(self.lane)
        if len(self.lane.shares) == 1 or self._barren:
            return None
        claim = self._found(after, count)
        if claim is None and (under_way := self.lane.under_way.get(after)) is not None:
            types, ended = under_way
            if _covers(types, wanted_types(wants)):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_WAIT_S):
                        await ended.wait()
                claim = self._found(after, count)
        return claim

    @contextlib.contextmanager
    def reading(self, after: str) -> Iterator[frozenset[str]]:
        """Types to read for other drains that come this way; they wait until the block ends."""
        near = [] if self._barren else self._near()
        if not near or after in self.lane.under_way:
            yield frozenset()
            return
        types: frozenset[str] = frozenset().union(*(wanted_types(share.wants) for share in near))
        ended = asyncio.Event()
        self.lane.under_way[after] = (types | wanted_types(self.wants), ended)
        try:
            yield types
        finally:
            del self.lane.under_way[after]
            ended.set()

    def keep(self, after: str, read: Read, wants: str) -> Read:
        """Keep a read for the others; the events that this drain goes on with are the same ones."""
        self._reads.know(self, wants)
        if not read.all_events or len(self.lane.shares) == 1:
            return read
        events = [SharedEvent.of(event) for event in read.all_events]
        until = id_order(read.scanned)
        weight = sum(_EVENT_BYTES + _PARSED * _text_bytes(event) for event in events)
        new = _Range(id_order(after), until, read.scanned, read.types, events, read.exhausted, weight)
        self._reads.put(self.lane, new)
        return replace(read, events=wanted_by(wanted_types(self.wants), events))

    def found(self, something: bool) -> None:
        """Note whether the last read had events of this handler. With none, it looks for the next by itself, from
        where Redis skips all others: in step with a backlog of another type it would take as long as that.
        """
        self._barren = not something

    def drop(self) -> None:
        """Forget what was read of this lane: Redis may be another one, or the lease was lost."""
        self._reads.drop(self.lane)

    def leave(self, batch: int) -> None:
        """The drain ends, whose batches were so large."""
        self._reads.leave(self, batch)

    def _near(self) -> list[DrainReads]:
        """Other drains that will come through what this one reads next."""
        here = self.at or (0, 0)
        first = min((each.after for each in self.lane.ranges), default=here)
        return [
            share
            for share in self.lane.shares
            if share is not self and (share.at is None or first <= share.at <= here)
        ]

    def _found(self, after: str, count: int) -> Claim | None:
        """Join the ranges that follow each other: a drain that is behind takes fewer steps than those ahead of it."""
        at, wants = self.at or (0, 0), wanted_types(self.wants)
        until, until_id, exhausted = at, after, False
        events: list[SharedEvent] = []
        for each in self.lane.ranges:  # a later one was read later, unless its drain was behind
            if each.after <= until < each.until and _covers(each.types, wants):
                self._reads.touch(each)
                first = 0 if until == each.after else bisect_right(each.events, until, key=lambda e: e.order)
                events += wanted_by(wants, each.events[first:])
                if len(events) > count:
                    return Claim(events[count - 1].stream_id, events[:count], exhausted=False)
                until, until_id, exhausted = each.until, each.until_id, each.exhausted
        if until == at:
            return None
        is_last = all(each.until <= until for each in self.lane.ranges)
        return Claim(until_id, events, exhausted=exhausted and is_last and bool(events))


def _text_bytes(event: StoredEvent) -> int:
    return plain_size(event.body) if event.marks else len(event.body)  # an encoded body has a mark


@lru_cache(4096)
def _covers(read: frozenset[str], wanted: frozenset[str]) -> bool:
    internal = frozenset(name for name in wanted if is_internal(name))
    return internal <= read and ("*" in read or ("*" not in wanted and wanted <= read))
