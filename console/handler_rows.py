"""A handler as pages show it: its state in one word and why, from one overview. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from console.wording import Wording
from eventlog.inspection.overview import Overview
from eventlog.registry import HandlerPosition


@dataclass(frozen=True)
class HandlerRow:
    """One handler.

    Attributes:
        state: `running`, `paused`, `held`, `isolated` (it has a process only while there is work) or `not served`.
        why: in words; empty when it is running.
        since_ms: since when it is paused or held; None otherwise.
        retrying: events that wait for their next attempt.
        per_s: deliveries settled per second, lately.
        served_by: labels of the processes.
    """

    position: HandlerPosition
    state: str
    why: str
    since_ms: int | None
    retrying: int
    per_s: float
    served_by: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.position.name


def rows(found: Overview, wording: Wording) -> list[HandlerRow]:
    """Return all handlers, sorted by name."""
    return [_row(found, wording, position) for position in found.handlers]


def _row(found: Overview, wording: Wording, position: HandlerPosition) -> HandlerRow:
    name = position.name
    pause, away, served = found.paused.get(name), found.away.get(name), found.served_by(name)
    state, why, since_ms = "running", "", None
    if pause is not None:
        state, why, since_ms = "paused", pause.reason, pause.since_ms
    elif not served and not position.isolation:
        state, why = "not served", "no live worker has it"
    elif away is not None:
        state, why, since_ms = "held", wording.away(away), away.since_ms
    elif not served:
        state = "isolated"
    return HandlerRow(
        position, state, why, since_ms, found.retrying.get(name, 0), found.per_s(name), tuple(served)
    )
