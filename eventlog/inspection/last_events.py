"""When events arrived last, from the ids that the lanes assigned; no event is read."""

from __future__ import annotations

from eventlog.data_loss import remembered
from eventlog.log import EventLog
from eventlog.record import id_order


async def newest_at_ms(log: EventLog) -> int | None:
    """Return when the newest event arrived, in Unix ms by the clock of Redis; None if there was none."""
    newest = max((id_order(last)[0] for last in (await remembered(log)).last_ids), default=0)
    return newest or None
