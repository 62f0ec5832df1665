"""Which call of a handler an event is the echo of, if any."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from ampeco.errors import PayloadError
from ampeco.notifications import read
from ampeco.reflections import reflects
from eventlog.recent_calls import RecentCall
from eventlog.record import StoredEvent
from handlers.event import Echo


def call_behind(stored: StoredEvent, data: Mapping[str, Any] | None = None) -> RecentCall | None:
    """Return the last call whose effect the event seems to show; None where there is none.

    Args:
        data: its decoded payload; None to read it here.
    """
    if not stored.recent_calls:
        return None
    if data is None:
        try:
            data = read(stored.body, stored.encoding)
        except PayloadError:
            return None
    shown = (call for call in stored.recent_calls if reflects(call.operation, call.word, stored.type, data))
    return next(shown, None)


def echo_of(stored: StoredEvent, data: Mapping[str, Any]) -> Echo | None:
    """Return the call as the event's handler gets it."""
    call = call_behind(stored, data)
    if call is None:
        return None
    called_at = datetime.fromtimestamp(call.at_ms / 1000, UTC)
    return Echo(call.operation, call.handler, call.event_id, called_at)
