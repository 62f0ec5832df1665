"""The bound on how fast a handler catches up: deliveries per second of events that waited long. Pure.

After an outage it bounds what arrived before its end, also where no bound is configured.
"""

from __future__ import annotations

OLD_MS = 60_000  # since an event was received; a younger one is not bounded
RECOVERS_S = 86_400.0  # after an outage
CAUGHT_UP_S = 60.0  # without an event from before the end of an outage: no more of them come

_BURST_S = 0.1
_SAME_S = 1.0  # two reports of one end differ by less
_ENOUGH = 0.999  # of one event; rounding must not cost another wait


class Pace:
    """How many old events of one handler this process may start.

    Attributes:
        bounds: whether there is a bound.

    Args:
        per_s: for all processes that serve the handler together; None for no bound.
        after_outage_per_s: the bound after an outage, where there is no other.
    """

    def __init__(self, per_s: float | None, *, after_outage_per_s: float = 50.0) -> None:
        self.bounds = per_s is not None
        self._is_configured = per_s is not None
        self._all_per_s = per_s or after_outage_per_s
        self._per_s = self._all_per_s
        self._room = 1.0
        self._at_s: float | None = None
        self._back_s = float("-inf")
        self._last_old_s = 0.0

    def recover(self, back_s: float, now_s: float) -> None:
        """Begin the bound for the time after an outage.

        Args:
            back_s: when the outage ended, in the clock of `now_s`.
        """
        if back_s > self._back_s + _SAME_S and now_s - back_s < RECOVERS_S:
            self._back_s, self._last_old_s = back_s, now_s
            self.bounds = True

    def divide(self, processes: int) -> None:
        """Share the bound with so many processes."""
        self._per_s = self._all_per_s / max(1, processes)

    def wait_s(self, age_ms: int, now_s: float) -> float:
        """Return the seconds until an event of this age may start; 0 when it may now."""
        if not self.bounds or not self._is_old(age_ms, now_s):
            return 0.0
        if self._at_s is not None:
            most = max(1.0, self._per_s * _BURST_S)
            self._room = min(most, self._room + (now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        return 0.0 if self._room > _ENOUGH else (1.0 - self._room) / self._per_s

    def start(self, age_ms: int, now_s: float) -> None:
        """Count an event that starts."""
        if self.bounds and self._is_old(age_ms, now_s):
            self._room -= 1.0

    def _is_old(self, age_ms: int, now_s: float) -> bool:
        if now_s - age_ms / 1000 < self._back_s:
            self._last_old_s = now_s
            return True
        if not self._is_configured and now_s - self._last_old_s > CAUGHT_UP_S:
            self.bounds = False
        return self._is_configured and age_ms >= OLD_MS
