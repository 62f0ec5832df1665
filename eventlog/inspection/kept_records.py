"""Reads what handlers keep of an entity, for people: pending timers, and the size of its state. No contents."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from eventlog.entity_records import PendingTimer, entity_part, read_timers
from eventlog.inspection.delivery_state import HandlerFacts
from eventlog.log import EventLog

_PAGE = 2_000  # fields or names of keys that one call looks at
_MOST_PAGES = 100  # of all names of keys
_MOST_KEYS = 200


@dataclass(frozen=True, slots=True)
class KeptRecord:
    """What one handler keeps of one entity, or of one of its own keys within it.

    Attributes:
        key: the handler's own key; empty for the entity itself.
        timers: the first to fall due first.
        state_bytes: 0 when there is no state.
        state_left_ms: how long the state lives on.
    """

    handler: str
    key: str
    timers: tuple[PendingTimer, ...]
    state_bytes: int
    state_left_ms: int


class FinerRecords(NamedTuple):
    """What handlers with `key=` keep of an entity under their own keys.

    Attributes:
        complete: False when the server has too many keys to look at, or the entity too many of them.
    """

    records: tuple[KeptRecord, ...]
    complete: bool


NO_FINER = FinerRecords((), complete=True)


async def kept_of(
    log: EventLog, lane: int, entity: str, handlers: Sequence[HandlerFacts]
) -> tuple[KeptRecord, ...]:
    """Return what these handlers keep of an entity itself; nothing of those that keep nothing."""
    return await _read(
        log, lane, [(each.name, "", entity_part(entity) if each.has_keys else entity) for each in handlers]
    )


async def finer_kept_of(
    log: EventLog, lane: int, entity: str, handlers: Sequence[HandlerFacts]
) -> FinerRecords:
    """Return what these handlers keep of an entity under keys of their own.

    It looks at all timers of the lane, and at a bounded number of the keys of Redis.
    """
    names = {handler.name for handler in handlers if handler.has_keys}
    if not names:
        return NO_FINER
    begin = f"{entity_part(entity)}/"
    pattern = re.sub(r"([*?\\^\[\]-])", r"\\\1", begin) + "*"
    found: set[tuple[str, str]] = set()
    for name in names:
        timers = log.redis.hscan_iter(log.key("timers", name, lane), match=pattern, count=_PAGE)
        found.update([(name, key.decode()) async for key, _ in timers])
    head, cursor = log.key("state", ""), 0
    for _ in range(_MOST_PAGES):
        cursor, keys = await log.redis.scan(cursor, match=f"{head}*:{pattern}", count=_PAGE)
        parts = (raw.decode().removeprefix(head).partition(":") for raw in keys)
        found.update((name, key) for name, _, key in parts if name in names and key.startswith(begin))
        if not cursor:
            break
    shown = sorted(found)[:_MOST_KEYS]
    records = await _read(log, lane, [(name, key.removeprefix(begin), key) for name, key in shown])
    return FinerRecords(records, not cursor and len(found) <= _MOST_KEYS)


async def _read(
    log: EventLog, lane: int, asked_for: Iterable[tuple[str, str, str]]
) -> tuple[KeptRecord, ...]:
    """Return records of handlers, each asked for as its name, what to call the key, and the key."""
    wanted = list(asked_for)
    async with log.redis.pipeline(transaction=False) as asked:
        for handler, _, key in wanted:
            asked.hget(log.key("timers", handler, lane), key)
            asked.strlen(log.key("state", handler, key))
            asked.pttl(log.key("state", handler, key))
        answers = await asked.execute() if wanted else []
    found = zip(wanted, answers[::3], answers[1::3], answers[2::3], strict=True)
    return tuple(
        KeptRecord(handler, own, read_timers(timers or b""), state_bytes, max(0, left_ms))
        for (handler, own, _), timers, state_bytes, left_ms in found
        if timers or state_bytes
    )
