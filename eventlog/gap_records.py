"""The records of gaps: times of which events may be missing, and why. Each is recorded once, with an event.

The event is `receiver.gap.closed`, and handlers decide what to do about it. The record and the event are written by
one script.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from eventlog.clock import rfc3339
from eventlog.internal import DOOR, GAP_CLOSED, internal_event

if TYPE_CHECKING:
    from eventlog.log import EventLog

Reason = Literal["no-receiver", "not-subscribed", "redis-rolled-back"]
NO_RECEIVER: Reason = "no-receiver"
"""No receiver was open and able to write. AMPECO can resend what it could not deliver."""

NOT_SUBSCRIBED: Reason = "not-subscribed"
"""No notification subscription of ours had the types. Nothing was sent, so a resend brings nothing."""

ROLLED_BACK: Reason = "redis-rolled-back"
"""Redis lost events that were answered with 2xx. A resend brings nothing."""

RESENDABLE = frozenset({NO_RECEIVER})


class Gaps:
    """The gaps of one log."""

    def __init__(self, log: EventLog) -> None:
        self._log = log

    async def note(
        self,
        reason: Reason,
        since_ms: int,
        until_ms: int,
        types: Sequence[str],
        *,
        callback_url: str | None = None,
    ) -> tuple[str, list[str]] | None:
        """Record a gap that is over, and append its event.

        Args:
            since_ms, until_ms: when it began and ended, in Unix ms.
            types: notification types that may be missing.
            callback_url: where AMPECO delivers to; None when this service does not register itself.

        Returns:
            The event's id and the queues to wake. None when a gap of this reason that begins at the same moment is
            recorded already.
        """
        return await record_gap(self._log, "", reason, since_ms, until_ms, types, callback_url)


async def record_gap(
    log: EventLog,
    replica: str,
    reason: Reason,
    from_ms: int,
    to_ms: int,
    types: Sequence[str],
    callback_url: str | None,
) -> tuple[str, list[str]] | None:
    """Record a gap and append its event.

    Args:
        replica: the receiver that closes an outage, and beats with it; empty for any other gap.

    Returns:
        The event's id and the queues to wake, or None when the gap is recorded already.
    """
    fields: dict[str, Any] = {
        "reason": reason,
        "from": rfc3339(from_ms),
        "to": rfc3339(to_ms),
        "types": list(types),
        "callbackUrl": callback_url,
    }
    event = internal_event(GAP_CLOSED, DOOR, fields)
    lane = log.lane_of(DOOR, b"")
    reply = await log.scripts.close_gap(
        args=[log.prefix, replica, from_ms, to_ms, reason, event.body, *event.arguments(log)]
    )
    if reply is None:
        return None
    return f"{lane}-{reply[0].decode()}", [queue.decode() for queue in reply[1]]
