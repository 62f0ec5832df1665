"""The interface to the reader of verified bodies, which the composition root gives to the console."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from eventlog.log import EventLog, NewEvent, Unreadable
from eventlog.operation.quarantine import Quarantined


class BodyReader(Protocol):
    """Reads quarantined bodies as the endpoint reads what arrives."""

    def read(self, entry: Quarantined) -> NewEvent | Unreadable:
        """Return what a retry would make of a body. Never raises."""

    async def retry(self, log: EventLog, stream_ids: Sequence[str]) -> Mapping[str, int]:
        """Append what can be read now as events.

        Args:
            stream_ids: at most 64.

        Returns:
            How many became `events`, were `duplicates`, were `gone`, were `refused` by Redis, or are `unreadable`.

        Raises:
            LogMismatch: the log has other entity key rules than this process, so events would get other keys.
        """
