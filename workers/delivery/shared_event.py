"""An event that several handlers of this process are given, and what they share of it."""

from __future__ import annotations

from typing import Any

from eventlog.record import StoredEvent


class SharedEvent(StoredEvent):
    """A stored event that carries what was made of it: a tuple like any other, equal to the plain one.

    Attributes:
        made: `Event` by the class of its payload. Events and payloads are read-only to the bottom.
    """

    made: dict[type, Any]

    @classmethod
    def of(cls, event: StoredEvent) -> SharedEvent:
        """The same event, to be shared."""
        shared = cls._make(event)
        shared.made = {}
        return shared
