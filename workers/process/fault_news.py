"""Announces the faults of a worker process to the handlers that want them.

The log appends one event for a handler or plugin within an hour, so many workers with one fault announce it once.
"""

from __future__ import annotations

from eventlog.handler_faults import Fault
from eventlog.internal import HANDLER_FAULTY, internal_event, key_of_handler
from eventlog.log import EventLog
from eventlog.text import bounded

_SOURCE_CHARS = 50  # of a plugin's source, in the key of its event


async def announce(log: EventLog, fault: Fault) -> None:
    """Append an event about a fault. Housekeeping wakes the handlers that want it.

    Raises:
        redis.RedisError, OSError: Redis does not answer.
    """
    is_plugin = fault.reason == "not-loaded"
    key = f"plugin:{bounded(fault.name, _SOURCE_CHARS)}" if is_plugin else key_of_handler(fault.name)
    said = fault.error if is_plugin else fault.text
    await log.announce(internal_event(HANDLER_FAULTY, key, {"source": fault.name, "error": said}))
