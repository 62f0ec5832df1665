"""Reads quarantined bodies for the console, as `quarantine retry` does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eventlog.log import EventLog, NewEvent, Unreadable
    from eventlog.operation.quarantine import Quarantined
    from receiver.settings import Settings


class ConsoleBodies:
    """Implements `console.bodies.BodyReader` with the entity key rules of the settings."""

    def __init__(self, settings: Settings) -> None:
        from receiver.claim import rules_of
        from receiver.elements import ElementReader

        self._reader = ElementReader(rules_of(settings), most_bytes=settings.max_body_bytes)

    def read(self, entry: Quarantined) -> NewEvent | Unreadable:
        return self._reader.read(entry)

    async def retry(self, log: EventLog, stream_ids: Sequence[str]) -> Mapping[str, int]:
        from commands.quarantine_plan import Plan, carried_out
        from eventlog.log import NewEvent
        from eventlog.operation.quarantine import quarantined

        plan, gone = Plan(), 0
        for stream_id in stream_ids:
            entry = await quarantined(log, stream_id)
            if entry is None:
                gone += 1
                continue
            plan.all_ids.append(stream_id)
            if isinstance(self._reader.read(entry), NewEvent):
                plan.readable.append(stream_id)
        return Counter(gone=gone) + Counter(await carried_out(log, plan, self._reader))
