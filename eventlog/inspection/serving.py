"""Whether a worker serves a handler now."""

from __future__ import annotations

from collections.abc import Container

from eventlog.clock import now_ms
from eventlog.inspection.delivery_state import UNSEEN_MS
from eventlog.registry import HandlerPosition


def is_served(handler: HandlerPosition, serving: Container[str]) -> bool:
    """Return whether a worker serves it.

    Args:
        serving: names of the handlers that live processes say they serve. An isolated handler has a process only
            while there is work, so for those the worker's last declaration counts.
    """
    if handler.name in serving:
        return True
    return handler.isolation is not None and handler.served_ms >= now_ms() - UNSEEN_MS
