"""Whether a worker serves a handler now."""

from __future__ import annotations

from collections.abc import Container

from eventlog.clock import now_ms
from eventlog.inspection.delivery_state import UNSEEN_MS
from eventlog.registry import HandlerPosition


def is_served(handler: HandlerPosition, serving: Container[str], awake: Container[str] | None = None) -> bool:
    """Return whether a worker serves a handler.

    Args:
        serving: names of the handlers that live processes say they serve. An isolated handler has a process only
            while there is work, so for those the worker's last declaration counts.
        awake: queues that have an RQ worker, without which nothing of an isolated handler starts. None where that
            was not read: then up to three minutes pass until a worker that stopped is noticed.
    """
    if handler.name in serving:
        return True
    if handler.isolation is None or (awake is not None and handler.queue not in awake):
        return False
    return handler.served_ms >= now_ms() - UNSEEN_MS
