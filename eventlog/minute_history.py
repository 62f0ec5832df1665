"""What was accepted and handled in each minute of a day, from the totals that housekeeping notes once a minute.

`sample.lua` writes it, so the path of an event does nothing for this. For each name there are strings of six hours,
with three bytes per minute, or per five minutes for what went wrong at a handler.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from eventlog.log import EventLog

DAY_MINUTES: Final = 1_440
ACCEPTED: Final = "+"
HANDLED: Final = "="
"""What all handlers settled together."""

MINUTE_MS: Final = 60_000
SLOT_MINUTES: Final = 5

_CHUNK = 360  # minutes of one string
_WIDTH = 3  # bytes of one number
_UNKNOWN = 0xFFFFFF
_WRONG = "!"


async def minute_history(
    log: EventLog, names: Iterable[str], *, at_ms: int, minutes: int = DAY_MINUTES
) -> dict[str, list[int | None]]:
    """Return how many there were in each minute, the oldest first; None for a minute that is not known.

    The first 50 handlers by name have a history of their own.

    Args:
        names: `ACCEPTED`, `HANDLED`, or names of handlers.
        at_ms: the minute of this time is the last one.
    """
    return await _history(log, list(names), at_ms // MINUTE_MS, minutes, 1)


async def failure_history(log: EventLog, handler: str, *, at_ms: int) -> list[int | None]:
    """Return how many events of a handler were retried or dead in each five minutes of a day, the oldest first.

    Args:
        at_ms: the five minutes of this time are the last ones.
    """
    name, slot = handler + _WRONG, at_ms // MINUTE_MS // SLOT_MINUTES
    return (await _history(log, [name], slot, DAY_MINUTES // SLOT_MINUTES, SLOT_MINUTES))[name]


async def _history(
    log: EventLog, names: Sequence[str], last: int, count: int, minutes_each: int
) -> dict[str, list[int | None]]:
    """Read places up to the last one; each stands for some minutes."""
    per_chunk = _CHUNK // minutes_each
    first = last - count + 1
    chunks = range(first // per_chunk, last // per_chunk + 1)
    async with log.redis.pipeline(transaction=False) as asked:
        for chunk in chunks:
            asked.hmget(log.key("minutes", chunk), names)
        rows = await asked.execute()
    begin = first - chunks[0] * per_chunk
    return {
        name: [number for row in rows for number in _numbers(row[place] or b"", per_chunk)][begin:][:count]
        for place, name in enumerate(names)
    }


def _numbers(packed: bytes, count: int) -> Sequence[int | None]:
    """Unpack one string; places that are not written yet are unknown."""
    numbers = [int.from_bytes(packed[at : at + _WIDTH]) for at in range(0, len(packed), _WIDTH)][:count]
    known: list[int | None] = [None if number == _UNKNOWN else number for number in numbers]
    return known + [None] * (count - len(known))
