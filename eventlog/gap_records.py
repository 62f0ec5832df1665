"""The records of gaps: spans of time whose events may be missing, and why. Each is recorded once, with an event.

The event is `receiver.gap.closed`, and handlers decide what to do about it. The record and the event are written by
one script.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from eventlog.clock import rfc3339
from eventlog.internal import DOOR, GAP_CLOSED, internal_event
from eventlog.reading import object_of, whole

if TYPE_CHECKING:
    from eventlog.log import EventLog

Reason = Literal["no-receiver", "not-subscribed", "redis-rolled-back"]
NO_RECEIVER: Reason = "no-receiver"
"""No receiver was open and able to write. AMPECO can resend what it could not deliver."""

NOT_SUBSCRIBED: Reason = "not-subscribed"
"""No notification subscription of ours had the types. Nothing was sent, so a resend brings nothing."""

ROLLED_BACK: Reason = "redis-rolled-back"
"""Redis lost events that were answered with 2xx. A resend brings nothing."""

RESENDER = "resend-failed"
"""Name of the handler that asks AMPECO for a resend."""

NEVER_SENT: frozenset[str] = frozenset({NOT_SUBSCRIBED, ROLLED_BACK})
"""Reasons of gaps of which AMPECO has no failed delivery, so that a resend brings nothing."""

COMPARER_MS = 600_000
"""How long gaps wait for a process with an API token to come back. A restart takes less."""

MARGIN_MS = 120_000
"""By how much the clocks of AMPECO and of Redis may differ."""

_COMPARER_LIFE_MS = 7 * 86_400_000  # it outlives an outage of all processes, or of Redis
_NEWEST_BYTES = 1 << 16  # of the records that are read to find the open gaps


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

    async def replace(self, id: str, before: str, after: str) -> bool:
        """Replace the text of a record; False when it changed since `before` was read."""
        return bool(await self._log.scripts.change_gap(args=[self._log.prefix, id, before, after]))

    async def lock(self, token: str, ttl_ms: int) -> bool:
        """Take or renew the lock of the process that follows open gaps; False when another process holds it."""
        key = self._log.key("lock", "gaps")
        if await self._log.redis.set(key, token, nx=True, px=ttl_ms):
            return True
        holder, left_ms = await self._log.redis.get(key), await self._log.redis.pttl(key)
        if holder == token.encode() or left_ms > ttl_ms:  # longer only if the clock of Redis went back
            await self._log.redis.pexpire(key, ttl_ms)
        return bool(holder == token.encode())

    async def note_comparer(self, at_ms: int) -> None:
        """Note when a process was alive that has an API token, and so compares gaps with AMPECO's listings."""
        await self._log.redis.set(self._log.key("comparer"), at_ms, px=_COMPARER_LIFE_MS)

    async def comparer_ms(self) -> int | None:
        """Return when such a process was last alive, in Unix ms; None if none was within a week."""
        return whole(await self._log.redis.get(self._log.key("comparer")))

    async def compared_since_ms(self, at_ms: int) -> int | None:
        """Return since when events are needed to compare gaps with AMPECO's listings, in Unix ms; None if none are.

        An outage that still lasts is a gap, too: workers may start before the receiver that records it.
        """
        if not await self._log.redis.exists(self._log.key("comparer")):
            return None
        _, _, *found = await self._log.scripts.newest_gaps(args=[self._log.prefix, "", _NEWEST_BYTES])
        open_gaps = (
            name
            for name, text in zip(found[::2], found[1::2], strict=True)
            if object_of(text).get("state") == "open"
        )
        began = [ms for ms in map(whole, open_gaps) if ms is not None]
        beats = map(whole, await self._log.redis.hvals(self._log.key("door")))
        # A beat from the future is one from before the clock of Redis went back.
        began += sorted(ms for ms in beats if ms is not None and ms <= at_ms + MARGIN_MS)[-1:]
        # One margin more than is compared: the clock goes on until the script removes what is older.
        return max(min(began) - 2 * MARGIN_MS, at_ms - _COMPARER_LIFE_MS) if began else None

    async def unlock(self, token: str) -> None:
        """Release the lock, unless another process holds it by now."""
        await self._log.scripts.unlock(args=[self._log.key("lock", "gaps"), token])


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
    fields = {
        "reason": reason,
        "from": rfc3339(from_ms),
        "to": rfc3339(to_ms),
        "types": list(types),
        "callbackUrl": callback_url,
    }
    event = internal_event(GAP_CLOSED, DOOR, fields)
    gap = json.dumps({**json.loads(event.body), "state": "open"}, separators=(",", ":"))
    reply = await log.scripts.close_gap(
        args=[log.prefix, replica, from_ms, to_ms, reason, gap, *event.arguments(log)]
    )
    if reply is None:
        return None
    return f"{log.lane_of(DOOR, b'')}-{reply[0].decode()}", [queue.decode() for queue in reply[1]]
