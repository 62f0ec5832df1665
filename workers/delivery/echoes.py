"""Which call of a handler an event is the echo of, if any."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from ampeco.errors import PayloadError
from ampeco.notifications import read
from ampeco.reflections import reflects
from eventlog.acts import Act
from eventlog.record import StoredEvent
from handlers.event import Echo


def act_behind(stored: StoredEvent, data: Mapping[str, Any] | None = None) -> Act | None:
    """Return the last call that the event seems to show; None where it shows none.

    Args:
        data: its decoded payload; None to read it here.
    """
    if not stored.acts:
        return None
    if data is None:
        try:
            data = read(stored.body, stored.encoding)
        except PayloadError:
            return None
    shown = (act for act in stored.acts if reflects(act.operation, act.word, stored.type, data))
    return next(shown, None)


def echo_of(stored: StoredEvent, data: Mapping[str, Any]) -> Echo | None:
    """Return what the event's handler learns about it."""
    act = act_behind(stored, data)
    if act is None:
        return None
    called_at = datetime.fromtimestamp(act.at_ms / 1000, UTC)
    return Echo(act.operation, act.handler, act.event_id, called_at)
