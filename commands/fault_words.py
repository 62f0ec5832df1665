"""Words for a handler that a worker cannot run, and for a plugin that it could not load."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eventlog.clock import rfc3339

if TYPE_CHECKING:
    from eventlog.handler_faults import Faulty


def fault_words(found: Faulty) -> str:
    """Describe a fault: what is wrong, since when, in which processes, and when it is tried again."""
    fault = found.fault
    again = (
        f"next try {_at(fault.next_ms)}" if fault.next_ms is not None else "tried again only after a restart"
    )
    return f"faulty since {_at(fault.since_ms)} in {' '.join(found.processes)}: {fault.text}; {again}"


def fault_document(found: Faulty) -> dict[str, Any]:
    """Return a fault as JSON output shows it."""
    fault = found.fault
    return {
        "name": fault.name,
        "reason": fault.reason,
        "error": fault.error,
        "where": fault.where or None,
        "since": _at(fault.since_ms),
        "next_try_at": None if fault.next_ms is None else _at(fault.next_ms),
        "processes": list(found.processes),
    }


def _at(ms: int) -> str:
    return rfc3339(ms, timespec="seconds")
