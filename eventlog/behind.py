"""Announces handlers that are behind: events of AMPECO have waited for long, although the handler is not paused.

Events that wait for a retry, and internal events, do not count. A handler that cannot handle news about itself must
not cause more of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from eventlog.internal import HANDLER_BEHIND, internal_event, key_of_handler
from eventlog.lag import lags_of

if TYPE_CHECKING:
    from eventlog.log import EventLog

BEHIND_AFTER_S: Final = 600.0


async def announce_behind(
    log: EventLog, names: Sequence[str], *, after_s: float = BEHIND_AFTER_S
) -> list[str]:
    """Announce those of these handlers that are behind, each at most once an hour.

    Args:
        after_s: how long the oldest waiting event must have waited, in seconds.

    Returns:
        The queues to wake.
    """
    if not await log.redis.hexists(log.key("routes"), HANDLER_BEHIND):
        return []
    wake: list[str] = []
    for name, lag in (await lags_of(log, names)).items():
        if lag.waiting_age_s is None or lag.waiting_age_s < after_s:
            continue
        found = {"handler": name, "waiting": lag.waiting, "oldestAgeS": round(lag.waiting_age_s, 1)}
        event = internal_event(HANDLER_BEHIND, key_of_handler(name), found)
        arguments = [log.prefix, name, log.lanes, int(after_s * 1000), *event.arguments(log)]
        wake += [queue.decode() for queue in await log.scripts.behind(args=arguments)]
    return wake
