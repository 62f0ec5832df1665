"""File descriptors of this process: as many as the system allows, and some kept back for what must go on working.

When connections of senders use them all, the process can neither accept a health check nor connect to Redis.
"""

from __future__ import annotations

import resource

RESERVED = 256
"""Descriptors that senders never get: admin port (128), Redis, log, and connections accepted but not counted yet."""

_FEWEST = 16
_UNLIMITED_ENOUGH = 10_240  # macOS refuses more where it says "unlimited"


def raise_limit() -> None:
    """Raise the soft limit to the hard one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in (hard, _UNLIMITED_ENOUGH):
        if soft == resource.RLIM_INFINITY or 0 <= wanted <= soft:
            return
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (ValueError, OSError):
            continue
        return


def for_senders(wanted: int) -> int:
    """Return how many connections senders may open: as many as wanted, or what the reserve leaves."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    return max(_FEWEST, min(wanted, soft - RESERVED))
