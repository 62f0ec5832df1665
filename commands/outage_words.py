"""Words for a handler that starts nothing now: it is paused, or a service that it needs is away."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from commands.fault_words import fault_words
from commands.spans import counted
from eventlog.clock import rfc3339

if TYPE_CHECKING:
    from eventlog.handler_faults import Faulty
    from eventlog.operation.handlers import Pause
    from eventlog.outages import Away
    from eventlog.unwanted import Unwanted

_HOW = {
    "no-answer": "has not answered",
    "not-sent": "has not been reachable",
    "refused": "has been away",
    "unavailable": "has been unavailable",
}


class HandlerState(NamedTuple):
    """Why nothing of a handler, or of some lanes of it, starts now.

    Attributes:
        lanes_held: those that have too much in `open`.
        lanes_stopped: those that stop at what cannot be read.
        gone: a note that no worker serves it, and since when; else empty.
        faulty: why a worker cannot run it, if one cannot.
        unwanted: the types that its newest version no longer wants; None if it wants all that the one before wanted.
    """

    paused: Pause | None
    away: Away | None
    lanes_held: int
    lanes_stopped: int
    gone: str = ""
    faulty: Faulty | None = None
    unwanted: Unwanted | None = None

    @property
    def name(self) -> str:
        """Return the state as one word, for JSON."""
        if self.paused is not None:
            return "paused"
        if self.faulty is not None and self.gone:
            return "faulty"
        return "gone" if self.gone else "held" if self.away is not None else "running"

    @property
    def text(self) -> str:
        """Return the state as a cell of a table."""
        if self.paused is not None:
            reason = f": {self.paused.reason}" if self.paused.reason else ""
            return f"paused since {rfc3339(self.paused.since_ms)}{reason}"
        if self.faulty is not None:
            words = fault_words(self.faulty)
            return words if self.gone else f"running; {words}"
        dropped = unwanted_words(self.unwanted) if self.unwanted is not None and self.unwanted.events else ""
        return "; ".join(part for part in (self._plain(), dropped) if part)

    def _plain(self) -> str:
        if self.gone:
            return self.gone
        if self.away is not None:
            return f"held: {away_words(self.away)}"
        lanes = {"have too much open": self.lanes_held, "stop at what cannot be read": self.lanes_stopped}
        return "; ".join(["running", *(f"lanes that {words}: {n}" for words, n in lanes.items() if n)])


def away_words(away: Away) -> str:
    """Describe what is away, since when, and when it is probed next."""
    from eventlog.outages import AMPECO, OTHERS

    name = "AMPECO" if away.service == AMPECO else away.service.removeprefix(OTHERS)
    how = _HOW.get(away.why, f"has answered {away.why}")
    next_ = "next probe" if away.is_probed else "one event tries at"
    return f"{name} {how} since {_at(away.since_ms)}; {next_} {_at(away.next_ms)}"


def away_document(away: Away | None) -> dict[str, object] | None:
    """Return the same for JSON."""
    if away is None:
        return None
    return {
        "service": away.service,
        "why": away.why,
        "since": _at(away.since_ms),
        "next_at": _at(away.next_ms),
        "is_probed": away.is_probed,
    }


def unwanted_words(found: Unwanted) -> str:
    """Describe how many waiting events a new version of a handler does not want."""
    least = "" if found.is_exact else "at least "
    at = _at(found.since_ms)
    return (
        f"version {found.version} does not want {least}{counted(found.events, 'event')} that waited at {at}"
    )


def unwanted_document(found: Unwanted | None) -> dict[str, object] | None:
    """Return the same for JSON."""
    if found is None:
        return None
    return {
        "version": found.version,
        "since": _at(found.since_ms),
        "types": sorted(found.types),
        "waiting": None if found.waiting is None else dict(found.waiting),
        "is_exact": found.is_exact,
    }


def _at(ms: int) -> str:
    return rfc3339(ms, timespec="seconds")
