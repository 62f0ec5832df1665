"""The bound on how fast a handler catches up: deliveries per second of events that waited long. Pure."""

from __future__ import annotations

OLD_MS = 60_000  # since an event was received; a younger one is not bounded

_BURST_S = 0.1
_ENOUGH = 0.999  # of one event; rounding must not cost another wait


class Pace:
    """How many old events of one handler this process may start.

    Attributes:
        bounds: whether there is a bound.

    Args:
        per_s: for all processes that serve the handler together; None for no bound.
    """

    def __init__(self, per_s: float | None) -> None:
        self.bounds = per_s is not None
        self._all_per_s = per_s or 0.0
        self._per_s = self._all_per_s
        self._room = 1.0
        self._at_s: float | None = None

    def divide(self, processes: int) -> None:
        """Take part with so many processes."""
        self._per_s = self._all_per_s / max(1, processes)

    def wait_s(self, age_ms: int, now_s: float) -> float:
        """Return the seconds until an event of this age may start; 0 when it may now."""
        if not self.bounds or age_ms < OLD_MS:
            return 0.0
        if self._at_s is not None:
            most = max(1.0, self._per_s * _BURST_S)
            self._room = min(most, self._room + (now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        return 0.0 if self._room > _ENOUGH else (1.0 - self._room) / self._per_s

    def start(self, age_ms: int) -> None:
        """Count an event that starts."""
        if self.bounds and age_ms >= OLD_MS:
            self._room -= 1.0
