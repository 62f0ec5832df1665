"""What was accepted and handled in each minute of a day, from the totals that housekeeping notes once a minute.

`sample.lua` writes it, so the path of an event does nothing for this. For each name there are strings of six hours,
with three bytes per minute.
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

_CHUNK = 360  # minutes of one string
_WIDTH = 3  # bytes of one minute
_UNKNOWN = 0xFFFFFF


async def minute_history(
    log: EventLog, names: Iterable[str], *, at_ms: int, minutes: int = DAY_MINUTES
) -> dict[str, list[int | None]]:
    """Return how many there were in each minute, the oldest first; None for a minute that is not known.

    The first 50 handlers by name have a history of their own.

    Args:
        names: `ACCEPTED`, `HANDLED`, or names of handlers.
        at_ms: the minute of this time is the last one.
    """
    wanted, last = list(names), at_ms // MINUTE_MS
    first = last - minutes + 1
    chunks = range(first // _CHUNK, last // _CHUNK + 1)
    async with log.redis.pipeline(transaction=False) as asked:
        for chunk in chunks:
            asked.hmget(log.key("minutes", chunk), wanted)
        rows = await asked.execute()
    found: dict[str, list[int | None]] = {}
    for place, name in enumerate(wanted):
        counts = [count for row in rows for count in _counts(row[place] or b"")]
        begin = first - chunks[0] * _CHUNK
        found[name] = counts[begin : begin + minutes]
    return found


def _counts(packed: bytes) -> Sequence[int | None]:
    """Unpack one string; minutes that are not written yet are unknown."""
    numbers = [int.from_bytes(packed[at : at + _WIDTH]) for at in range(0, len(packed), _WIDTH)][:_CHUNK]
    known: list[int | None] = [None if number == _UNKNOWN else number for number in numbers]
    return known + [None] * (_CHUNK - len(known))
