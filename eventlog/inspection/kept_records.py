"""What handlers keep of an entity, for people: its pending timers, and the size of its state. No contents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from eventlog.entity_records import PendingTimer, read_timers
from eventlog.inspection.delivery_state import HandlerFacts
from eventlog.log import EventLog


@dataclass(frozen=True, slots=True)
class KeptRecord:
    """What one handler keeps of one entity.

    Attributes:
        timers: the first to fall due first.
        state_bytes: 0 when there is no state.
        state_left_ms: how long the state lives on.
    """

    handler: str
    timers: tuple[PendingTimer, ...]
    state_bytes: int
    state_left_ms: int


async def kept_of(
    log: EventLog, lane: int, key: str, handlers: Sequence[HandlerFacts]
) -> tuple[KeptRecord, ...]:
    """Return what these handlers keep of an entity; nothing of those that keep nothing."""
    async with log.redis.pipeline(transaction=False) as asked:
        for handler in handlers:
            asked.hget(log.key("timers", handler.name, lane), key)
            asked.strlen(log.key("state", handler.name, key))
            asked.pttl(log.key("state", handler.name, key))
        answers = await asked.execute() if handlers else []
    found = zip(handlers, answers[::3], answers[1::3], answers[2::3], strict=True)
    return tuple(
        KeptRecord(handler.name, read_timers(timers or b""), state_bytes, max(0, left_ms))
        for handler, timers, state_bytes, left_ms in found
        if timers or state_bytes
    )
