"""The space that the log used at the last count. Retention writes it; health checks and metrics read it.

Reading costs one round trip for a log of any size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from eventlog.clock import rfc3339
from eventlog.internal import LOG, LOG_FULL, internal_event
from eventlog.log import EventLog
from eventlog.reading import whole

ROOM_FOR_DRAINING = 0.8  # share of Redis's own limit that may be taken; settling needs the rest
_FULL_FOR_MS = 60_000
_NEEDED = frozenset(("at_ms", "max_bytes", "oldest_ms", "events", "open", "dead", "quarantine"))
_LATER = ("duplicates", "history", "steps", "states", "timers", "tables")  # earlier versions lack some


@dataclass(frozen=True)
class Standing:
    """The space that the log used at the last count.

    Attributes:
        oldest_ms: when the oldest kept event arrived; None without events.
        full: why the log accepts no events; empty when there is room.
        events, open, dead, quarantine: bytes of each.
        duplicates, history, steps, states, timers, tables: as in `sizes.Sizes`.
        given_up: settled events that this count removed early.
        forgotten: parts of the duplicate window that this count removed early.
    """

    at_ms: int
    max_bytes: int
    oldest_ms: int | None
    full: str
    events: int
    open: int
    dead: int
    quarantine: int
    given_up: int = 0
    duplicates: int = 0
    history: int = 0
    steps: int = 0
    states: int = 0
    timers: int = 0
    tables: int = 0
    forgotten: int = 0

    @property
    def bytes(self) -> int:
        growing = self.duplicates + self.history + self.steps + self.states + self.timers + self.tables
        return self.events + self.open + self.dead + self.quarantine + growing

    @property
    def age_s(self) -> float:
        """Age of the oldest kept event, 0 without events."""
        return 0.0 if self.oldest_ms is None else max(0.0, (self.at_ms - self.oldest_ms) / 1000)

    @property
    def is_tight(self) -> bool:
        """Return whether to count again soon."""
        return bool(self.full) or self.bytes > ROOM_FOR_DRAINING * self.max_bytes


async def standing(log: EventLog) -> Standing | None:
    """Return the last count; None before the first one."""
    async with log.redis.pipeline(transaction=False) as asked:
        asked.hgetall(log.key("standing"))
        asked.get(log.key("full"))
        raw, full = await asked.execute()
    if not raw:
        return None
    fields = {name.decode("utf-8", "replace"): whole(value) or 0 for name, value in raw.items()}
    if not fields.keys() >= _NEEDED:
        return None  # no count of ours; the next one replaces it
    return Standing(
        at_ms=fields["at_ms"],
        max_bytes=fields["max_bytes"],
        oldest_ms=fields["oldest_ms"] if fields["oldest_ms"] >= 0 else None,
        full=full.decode("utf-8", "replace") if full else "",
        events=fields["events"],
        open=fields["open"],
        dead=fields["dead"],
        quarantine=fields["quarantine"],
        **{name: fields.get(name, 0) for name in _LATER},
    )


async def write_down(log: EventLog, found: Standing, next_count: Mapping[str, int]) -> None:
    """Store a count. While it says that the log is full, the receivers refuse events.

    Args:
        next_count: more fields, from which the next count goes on.
    """
    fields = {
        "at_ms": found.at_ms,
        "max_bytes": found.max_bytes,
        "oldest_ms": -1 if found.oldest_ms is None else found.oldest_ms,
        "events": found.events,
        "open": found.open,
        "dead": found.dead,
        "quarantine": found.quarantine,
        **{name: getattr(found, name) for name in _LATER},
        **next_count,
    }
    pairs = [part for pair in fields.items() for part in pair]
    used = {"reason": found.full, "bytesUsed": found.bytes, "maxBytes": found.max_bytes}
    event = internal_event(LOG_FULL, LOG, used)
    await log.scripts.standing(args=[log.prefix, found.full, _FULL_FOR_MS, *event.arguments(log), *pairs])


def describe(found: Standing) -> dict[str, Any]:
    """Return the count as JSON output shows it."""
    return {
        "bytes": found.bytes,
        "max_bytes": found.max_bytes,
        "events_bytes": found.events,
        "open_bytes": found.open,
        "dead_bytes": found.dead,
        "quarantine_bytes": found.quarantine,
        "duplicates_bytes": found.duplicates,
        "history_bytes": found.history,
        "steps_bytes": found.steps,
        "states_bytes": found.states,
        "timers_bytes": found.timers,
        "tables_bytes": found.tables,
        "oldest_event_at": None if found.oldest_ms is None else rfc3339(found.oldest_ms, timespec="seconds"),
        "full": found.full or None,
    }
