"""Forecasts how much room the log needs at the rate of the last hour, for as long as events are to be kept.

A burst says nothing about a day, so there is no forecast before an hour of counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from eventlog.log import EventLog
from eventlog.rates import Sample, per_minute
from eventlog.retention import DUPLICATES_SHARE, Keep
from eventlog.usage import Standing

DUPLICATE_BYTES = 130
"""Of one event in the duplicate window; deploy/RUNBOOK.md, "Size"."""

_HOUR_MINUTES = 60
_NEARLY_AN_HOUR_MS = 3_300_000  # the counts are up to a minute old, and a housekeeper may have been late
_FEW = 100  # events whose average size says little


@dataclass(frozen=True)
class Forecast:
    """What the log needs if events go on arriving as in the last hour.

    Attributes:
        per_hour: events that were accepted in the last hour.
        event_bytes: average size of an event that is kept.
        keep_hours: how long events are to be kept.
        fixed_bytes: what does not depend on it: open events, dead letters, history, steps, counters.
        duplicate_bytes: of the duplicate window.
        max_bytes: the limit of the log.
    """

    per_hour: float
    event_bytes: float
    keep_hours: int
    fixed_bytes: int
    duplicate_bytes: float
    max_bytes: int

    @property
    def needed_bytes(self) -> int:
        """The size of the log when its oldest event has reached the age of `keep_hours`."""
        return round(self._besides + self.per_hour * self.keep_hours * self.event_bytes)

    @property
    def fits(self) -> bool:
        """Whether the expected size is within the limit."""
        return self.needed_bytes <= self.max_bytes

    @property
    def hours(self) -> float:
        """For how many hours of events there is room."""
        return max(0.0, self.max_bytes - self._besides) / (self.per_hour * self.event_bytes)

    @property
    def _besides(self) -> float:
        return self.fixed_bytes + self.duplicate_bytes


async def forecast(
    log: EventLog, rules: Keep, counted: Sequence[Sample], found: Standing | None
) -> Forecast | None:
    """Return the forecast; None while too little is known.

    Args:
        counted: totals of the last hour, as `rates.samples` returns them.
        found: the last count of what the log uses.
    """
    minute = per_minute(counted, _HOUR_MINUTES)
    if found is None or not minute or counted[-1].at_ms - counted[0].at_ms < _NEARLY_AN_HOUR_MS:
        return None
    async with log.redis.pipeline(transaction=False) as asked:
        for lane in range(log.lanes):
            asked.xlen(log.key("events", lane))
        number = sum(await asked.execute())
    if number < _FEW or not found.events:
        return None
    per_hour = minute * _HOUR_MINUTES
    window = min(per_hour * rules.duplicate_hours * DUPLICATE_BYTES, DUPLICATES_SHARE * rules.max_bytes)
    return Forecast(
        per_hour=per_hour,
        event_bytes=found.events / number,
        keep_hours=rules.hours,
        fixed_bytes=found.bytes - found.events - found.duplicates,
        duplicate_bytes=window,
        max_bytes=rules.max_bytes,
    )
