"""Finds the state of the request to AMPECO for a resend of a gap.

The request is the delivery of the gap's event to one handler, so its state is that of any delivery.
"""

from __future__ import annotations

from typing import NamedTuple

from eventlog.gap_records import RESENDER
from eventlog.inspection.delivery_state import Fate, HandlerFacts
from eventlog.inspection.event_traces import ALL, Limits
from eventlog.inspection.explain import registered
from eventlog.inspection.gaps import Gap
from eventlog.inspection.timeline import of_event
from eventlog.log import EventLog

_UNDER_WAY = frozenset({"running", "retry", "parked", "replay", "waiting"})


class Resend(NamedTuple):
    """The state of the request for a resend.

    Attributes:
        fate: of the gap's event at the handler that asks; None without an event or without that handler.
    """

    fate: Fate | None

    @property
    def is_under_way(self) -> bool:
        """Return whether the request is still to come, or waits."""
        return self.fate is not None and self.fate.state in _UNDER_WAY

    @property
    def words(self) -> str:
        """Describe the request for people."""
        if self.fate is None:
            return f"no request: the handler {RESENDER} is not registered"
        why = self.fate.why or self.fate.state
        match self.fate.state:
            case "done":
                return "accepted by AMPECO"
            case "skipped" | "dead":
                return f"no request: {why}"
            case "retry" | "parked" | "waiting":
                return f"waits: {why}"
            case "running" | "replay":
                return "under way"
        return f"no request: {self.fate.state}"


async def resender(log: EventLog) -> HandlerFacts | None:
    """Return the handler that asks AMPECO for resends; None when it is not registered."""
    return next((facts for facts in await registered(log) if facts.name == RESENDER), None)


async def resend_of(
    log: EventLog, gap: Gap, asks: HandlerFacts | None, *, now_ms: int, limits: Limits = ALL
) -> Resend:
    """Return the state of the request for a resend of a gap.

    Args:
        asks: as `resender` returns it, which is read once for many gaps.
        limits: what may be read of the delivery.
    """
    if gap.event_id is None or asks is None:
        return Resend(None)
    lane, _, stream_id = gap.event_id.partition("-")
    story = await of_event(log, int(lane), stream_id, [asks], now_ms, limits)
    return Resend(story.fates[0] if story.fates else None)
