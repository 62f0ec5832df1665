"""A stored event that several handlers of this process share, with the events that were built from it."""

from __future__ import annotations

from typing import Any

from eventlog.record import StoredEvent


class SharedEvent(StoredEvent):
    """A stored event that carries the events built from it: a tuple that equals the plain stored event.

    Attributes:
        made: `Event` by the class of its payload. Events and payloads are read-only to the bottom.
    """

    made: dict[type, Any]

    @classmethod
    def of(cls, event: StoredEvent) -> SharedEvent:
        """Make a shared event of a stored one."""
        shared = cls._make(event)
        shared.made = {}
        return shared
