"""The log that a command looks at or changes."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from receiver.cli import store_url

if TYPE_CHECKING:
    from receiver.settings import Settings
    from workers.eventlog.log import EventLog


@contextlib.asynccontextmanager
async def stored_log(settings: Settings) -> AsyncIterator[EventLog]:
    """The log, with as many lanes as it was made with, whatever AWR_LANES says here."""
    from workers.eventlog.connect import connect
    from workers.eventlog.log import EventLog

    async with connect(store_url(settings)) as redis:
        log = EventLog(
            redis, prefix=settings.key_prefix, lanes=settings.lanes, ledger_days=settings.ledger_days
        )
        log.lanes = await log.lanes_kept() or settings.lanes
        yield log
