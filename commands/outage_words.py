"""What a person is told of a handler that starts nothing now: it is paused, or something that it needs is away."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from eventlog.clock import rfc3339

if TYPE_CHECKING:
    from eventlog.operation.handlers import Pause
    from eventlog.outages import Away

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
        gone: that no worker serves it, and since when; else empty.
    """

    paused: Pause | None
    away: Away | None
    lanes_held: int
    gone: str = ""

    @property
    def name(self) -> str:
        """Return it as one word, for JSON."""
        if self.paused is not None:
            return "paused"
        return "gone" if self.gone else "held" if self.away is not None else "running"

    @property
    def text(self) -> str:
        """Return it as a cell of a table."""
        if self.paused is not None:
            reason = f": {self.paused.reason}" if self.paused.reason else ""
            return f"paused since {rfc3339(self.paused.since_ms)}{reason}"
        if self.gone:
            return self.gone
        if self.away is not None:
            return f"held: {away_words(self.away)}"
        return f"running, {self.lanes_held} lanes have too much open" if self.lanes_held else "running"


def away_words(away: Away) -> str:
    """Say what is away, since when, and when that is looked at next."""
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


def _at(ms: int) -> str:
    return rfc3339(ms, timespec="seconds")
