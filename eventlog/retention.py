"""Retention: how long events are kept, and how many bytes the log may use.

An event is kept for a minimum time, until every registered handler has settled it, and until the gap after it was
compared with AMPECO's listings. Over the byte budget, settled events are removed early. If that is not enough, the
log is *full*: it accepts no events until there is room. Dead letters wait for a human.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from eventlog.clock import redis_ms
from eventlog.duplicates import TWO_SINCE, window_parts
from eventlog.gap_records import Gaps
from eventlog.ids import id_order
from eventlog.lag import lags_of
from eventlog.log import EventLog
from eventlog.reading import whole
from eventlog.registry import handler_names
from eventlog.sizes import Sizes, bytes_of_parts, count_ledgers, measure
from eventlog.usage import ROOM_FOR_DRAINING, Standing, write_down

if TYPE_CHECKING:
    from eventlog.chores import Chores

_QUARANTINE_TIMES = 7  # as long as events
_QUARANTINE_SHARE = 0.1  # of the budget
DUPLICATES_SHARE = 0.5
_PARTS_NEVER_FORGOTTEN = 2  # of the duplicate window: the part that is written now, and the one before
_GAPS = 1_000
_GIVE_UP_TO = 0.95  # of the budget, so that not every run has to remove some
_MOST = 10_000  # events that one script may remove
_NODE = 128  # more than a node of a stream holds; only whole nodes go early
_LAPS = 8
_HOUR_MS = 3_600_000
_HISTORY_STEPS = 10_000  # entries of a pair that are kept where their age is not known
_AHEAD_MS = 60_000


@dataclass(frozen=True)
class Keep:
    """Limits of what is kept.

    Attributes:
        hours: minimum time that an event is kept.
        max_bytes: limit for all that grows: lanes, open events, dead letters, the quarantine, the duplicate window,
            the history, once-only steps, timers, states and counters.
        history_days: time that the history of deliveries is kept.
        duplicate_hours: length of the duplicate window.
        history_share: share of `max_bytes` that the history may take; the oldest of it goes first.
    """

    hours: int = 24
    max_bytes: int = 1 << 30
    history_days: int = 7
    duplicate_hours: int = 24
    history_share: float = 0.1


class _Lap(NamedTuple):
    """State of a lane after one run of the trim script."""

    lane: int
    removed: int
    more: bool
    oldest: str
    length: int


async def keep(log: EventLog, rules: Keep, chores: Chores | None = None) -> Standing:
    """Remove what has expired and measure the room that is left. One process at a time does this.

    Args:
        chores: run the steps. One that meets data that it cannot read keeps no other from its work.
    """
    if chores is None:
        from eventlog.chores import Chores  # it logs, and short commands that import this module do not

        chores = Chores()
    do = chores.run
    at_ms = await _now_ms(log)
    handlers = await handler_names(log)
    compared_ms = await do("gaps to compare", Gaps(log).compared_since_ms(at_ms))
    keep_ms = max(rules.hours * _HOUR_MS, at_ms - (at_ms if compared_ms is None else compared_ms))
    found = [await do(f"trim lane {lane}", _age(log, lane, keep_ms)) for lane in range(log.lanes)]
    laps = [lap for lap in found if lap is not None]
    await _trim_history(log, handlers, at_ms - rules.history_days * 24 * _HOUR_MS)
    await _bound_undatable(log, handlers, at_ms)
    await do("trim quarantine", _trim_quarantine(log, rules, at_ms))
    await do("trim gaps", _trim_gaps(log))
    two_since = await do("two subscriptions", log.redis.hget(log.key("subscription"), TWO_SINCE))
    window = window_parts(rules.duplicate_hours, two_since.decode() if two_since else None, at_ms)
    forgotten = await _forget_duplicates(log, rules, window)
    ledgers = await count_ledgers(log)
    measured = partial(
        measure, log, handlers, window, steps=ledgers.bytes, states=ledgers.state_bytes, at_ms=at_ms
    )
    sizes = await measured()
    if sizes.history > (history_bytes := rules.history_share * rules.max_bytes):
        await _shorten_history(log, handlers, history_bytes / sizes.history)
        sizes = await measured()
    given_up, least = 0, 1
    while (excess := _excess(sizes, rules)) > 0 and sizes.events and least <= _NODE:
        share = min(1.0, excess / sizes.events)
        most = [max(least, math.ceil(share * lap.length)) for lap in laps]
        laps = [await _give_up(log, lap.lane, count) for lap, count in zip(laps, most, strict=True)]
        if removed := sum(lap.removed for lap in laps):
            given_up += removed
            sizes = await measured()
        else:
            least *= _NODE
    oldest = [id_order(lap.oldest)[0] for lap in laps if lap.oldest]
    standing = Standing(
        at_ms=at_ms,
        max_bytes=rules.max_bytes,
        oldest_ms=min(oldest, default=None),
        full=await _why_full(log, handlers, sizes, rules, laps),
        events=sizes.events,
        open=sizes.open,
        dead=sizes.dead,
        quarantine=sizes.quarantine,
        given_up=given_up,
        duplicates=sizes.duplicates,
        history=sizes.history,
        steps=sizes.steps,
        states=sizes.states,
        timers=sizes.timers,
        tables=sizes.tables,
        forgotten=forgotten,
    )
    await write_down(log, standing, ledgers.fields)
    return standing


async def _age(log: EventLog, lane: int, keep_ms: int) -> _Lap:
    for _ in range(_LAPS):
        lap = await _lap(log, lane, keep_ms, _MOST)
        if not lap.more:
            break
    return lap


async def _give_up(log: EventLog, lane: int, most: int) -> _Lap:
    """Remove settled events of any age."""
    removed = 0
    while True:
        lap = await _lap(log, lane, "", min(most - removed, _MOST))
        removed += lap.removed
        if not lap.removed or removed >= most:
            return lap._replace(removed=removed)


async def _lap(log: EventLog, lane: int, keep_ms: int | str, most: int) -> _Lap:
    removed, more, oldest, length = await log.scripts.trim(args=[log.prefix, lane, keep_ms, most])
    return _Lap(lane, removed, bool(more), oldest.decode(), length)


async def _trim_history(log: EventLog, handlers: Sequence[str], before_ms: int) -> None:
    async with log.redis.pipeline(transaction=False) as changes:
        for name in handlers:
            for lane in range(log.lanes):
                changes.xtrim(log.key("history", name, lane), minid=max(0, before_ms), approximate=False)
        await changes.execute(raise_on_error=False)  # a spoiled key must not keep the others


async def _shorten_history(log: EventLog, handlers: Sequence[str], share: float) -> None:
    """Remove the oldest entries, so that about this share is left."""
    streams = [log.key("history", name, lane) for name in handlers for lane in range(log.lanes)]
    async with log.redis.pipeline(transaction=False) as asked:
        for stream in streams:
            asked.xlen(stream)
        lengths = await asked.execute(raise_on_error=False)
    async with log.redis.pipeline(transaction=False) as changes:
        for stream, length in zip(streams, lengths, strict=True):
            if isinstance(length, int):
                changes.xtrim(stream, maxlen=int(_GIVE_UP_TO * share * length), approximate=False)
        await changes.execute(raise_on_error=False)


async def _forget_duplicates(log: EventLog, rules: Keep, window: Sequence[Sequence[str]]) -> int:
    """Remove the oldest parts of the duplicate window that go beyond its share of the budget; return how many.

    The newest parts stay whatever they take: senders try again within hours, and an event must not come twice. Then
    the log is full instead.
    """
    taken, forgotten = 0, 0
    for number, (part, size) in enumerate(zip(window, await bytes_of_parts(log, window), strict=True)):
        taken += size
        if size and number >= _PARTS_NEVER_FORGOTTEN and taken > DUPLICATES_SHARE * rules.max_bytes:
            await log.redis.unlink(*map(log.key, part))
            forgotten += 1
    return forgotten


async def _trim_gaps(log: EventLog) -> None:
    """Remove the oldest gaps beyond a number."""
    gaps = log.key("gaps")
    if await log.redis.hlen(gaps) > _GAPS:
        names = await log.redis.hkeys(gaps)
        oldest = sorted(names, key=lambda name: whole(name) or 0)[:-_GAPS]  # what is no time goes first
        await log.redis.hdel(gaps, *oldest)


async def _bound_undatable(log: EventLog, handlers: Sequence[str], at_ms: int) -> None:
    """Bound the history of lanes whose ids are ahead of a clock that went back: those never age."""
    async with log.redis.pipeline(transaction=False) as asked:
        for lane in range(log.lanes):
            asked.xrevrange(log.key("events", lane), count=1)
        newest = await asked.execute(raise_on_error=False)
    async with log.redis.pipeline(transaction=False) as changes:
        for lane, found in enumerate(newest):
            if isinstance(found, list) and found and id_order(found[0][0].decode())[0] > at_ms + _AHEAD_MS:
                for name in handlers:
                    changes.xtrim(log.key("history", name, lane), maxlen=_HISTORY_STEPS)
        await changes.execute(raise_on_error=False)


async def _trim_quarantine(log: EventLog, rules: Keep, at_ms: int) -> None:
    stream = log.key("quarantine")
    before_ms = at_ms - _QUARANTINE_TIMES * rules.hours * _HOUR_MS
    await log.redis.xtrim(stream, minid=max(0, before_ms), approximate=False)
    taken = await log.redis.memory_usage(stream, samples=0) or 0
    if taken > _QUARANTINE_SHARE * rules.max_bytes:
        kept = await log.redis.xlen(stream) * _QUARANTINE_SHARE * rules.max_bytes / taken
        await log.redis.xtrim(stream, maxlen=int(kept), approximate=False)


def _excess(sizes: Sizes, rules: Keep) -> float:
    """Return the number of bytes to remove."""
    over = sizes.taken - _GIVE_UP_TO * rules.max_bytes if sizes.taken > rules.max_bytes else 0.0
    limit = ROOM_FOR_DRAINING * sizes.max_memory
    if sizes.max_memory and sizes.used_memory > limit:
        over = max(over, sizes.used_memory - _GIVE_UP_TO * limit)
    return over


async def _why_full(
    log: EventLog, handlers: Sequence[str], sizes: Sizes, rules: Keep, laps: Sequence[_Lap]
) -> str:
    """Return why the log is full, for people; empty when there is room."""
    if sizes.taken > rules.max_bytes:
        why = (
            f"{_mib(sizes.taken)} of {_mib(rules.max_bytes)} (AWR_LOG_MAX_BYTES) are taken: events "
            f"{_mib(sizes.events)}, open {_mib(sizes.open)}, dead letters {_mib(sizes.dead)}, "
            f"quarantine {_mib(sizes.quarantine)}, duplicate window {_mib(sizes.duplicates)}, "
            f"history {_mib(sizes.history)}, once-only steps {_mib(sizes.steps)}, "
            f"states {_mib(sizes.states)}, timers {_mib(sizes.timers)}, tables {_mib(sizes.tables)}"
        )
    elif sizes.max_memory and sizes.used_memory > ROOM_FOR_DRAINING * sizes.max_memory:
        why = (
            f"Redis has taken {_mib(sizes.used_memory)} of its maxmemory of {_mib(sizes.max_memory)}, and what is "
            f"over {ROOM_FOR_DRAINING:.0%} is kept for draining"
        )
    else:
        return ""
    return f"{why}; {await _who_is_behind(log, handlers, laps)}"


async def _who_is_behind(log: EventLog, handlers: Sequence[str], laps: Sequence[_Lap]) -> str:
    """Name the handler with most unsettled events. The lanes tell less: one that wants nothing may be far back."""
    if not handlers and any(lap.length for lap in laps):
        return "no handler is registered, so nothing counts as settled"
    lags = await lags_of(log, handlers)
    name = max(lags, key=lambda one: lags[one].waiting + lags[one].open, default="")
    if not name or not lags[name].waiting + lags[name].open:
        return "no event waits for a handler"
    found = lags[name]
    return f"{name} is furthest behind: {found.waiting:,} events wait for it, and {found.open:,} are open"


async def _now_ms(log: EventLog) -> int:
    return redis_ms(await log.redis.time())


def _mib(size: float) -> str:
    return f"{size / (1 << 20):,.1f} MiB"
