"""How many events were accepted per minute, and how many attempts failed in the last minutes.

Housekeeping notes the totals once a minute, and two of them make a rate. The totals are counted anyway, so the path
of an event does nothing for this.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from eventlog.clock import redis_ms
from eventlog.reading import readable, whole

if TYPE_CHECKING:
    from eventlog.log import EventLog

KEPT_MINUTES = 60
_TOTALS = ("accepted", "duplicates", "quarantined")


@dataclass(frozen=True, order=True)
class Sample:
    """Totals since the log was made, at one moment (Unix ms, the clock of Redis)."""

    at_ms: int
    accepted: int
    duplicates: int
    quarantined: int


@dataclass(frozen=True)
class Attempts:
    """Attempts of one handler in the last minutes, five at most."""

    minutes: int
    total: int
    failed: int


async def note_totals(log: EventLog) -> None:
    """Note the totals of this minute. Further calls within it change nothing."""
    await log.scripts.sample(args=[log.prefix, KEPT_MINUTES])


async def samples(log: EventLog) -> list[Sample]:
    """Return the noted totals of the last hour, oldest first, and those of now at the end."""
    async with log.redis.pipeline(transaction=False) as asked:
        asked.hvals(log.key("minutes"))
        asked.hmget(log.key("counts"), _TOTALS)
        asked.time()
        rows, totals, at = await asked.execute()
    now = Sample(redis_ms(at), *(whole(total) or 0 for total in totals))
    noted = sorted(one for row in rows if (one := readable(_sample, row)) is not None)
    return [*(one for one in noted if one.at_ms < now.at_ms), now]


async def recent_attempts(log: EventLog) -> dict[str, Attempts]:
    """Return the attempts of each handler in the last minutes, as far as they are noted."""
    found = {}
    for name, text in (await log.redis.hgetall(log.key("attempted"))).items():
        if (attempts := readable(_attempts, text)) is not None:
            found[name.decode("utf-8", "replace")] = attempts
    return found


def _sample(row: bytes) -> Sample:
    return Sample(*map(int, row.split()))


def _attempts(text: bytes) -> Attempts:
    rows = [row.split("/") for row in text.decode().split()]
    return Attempts(len(rows), sum(int(total) for total, _ in rows), sum(int(failed) for _, failed in rows))


def per_minute(found: Sequence[Sample], minutes: int, total: str = "accepted") -> float | None:
    """Return how fast a total grew over the last minutes, per minute; None while that is not known."""
    now = found[-1]
    before = next((one for one in found[:-1] if one.at_ms >= now.at_ms - minutes * 60_000), None)
    if before is None or getattr(now, total) < getattr(before, total):
        return None
    grown: int = getattr(now, total) - getattr(before, total)
    return grown * 60_000 / (now.at_ms - before.at_ms)
