"""The tokens that a shared bucket gives, and those that a process gives itself while the bucket is out of reach."""

from collections.abc import Callable
from typing import Final, Protocol

_LONGEST_PAUSE_S: Final = 900.0  # as of a bucket, even if AMPECO asks for a longer pause


class Drawn(Protocol):
    """The answer of a bucket: tokens of each kind, the time until there are more, and the known rate.

    `per_s` is for all `processes` together, None where no limit is known: then a call needs no token.
    """

    @property
    def reserved(self) -> int: ...
    @property
    def ordinary(self) -> int: ...
    @property
    def reserved_wait_s(self) -> float: ...
    @property
    def ordinary_wait_s(self) -> float: ...
    @property
    def per_s(self) -> float | None: ...
    @property
    def processes(self) -> int: ...


class _OwnDraw:
    """The tokens that this process gives itself."""

    def __init__(self, reserved: int, ordinary: int, wait_s: float, per_s: float | None) -> None:
        self.reserved, self.ordinary = reserved, ordinary
        self.reserved_wait_s = self.ordinary_wait_s = wait_s
        self.per_s = per_s
        self.processes = 1


class OwnRate:
    """The last known rate, divided by the live processes, for as long as the bucket is out of reach."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._per_s: float | None = None
        self._tokens = 1.0
        self._at_s = clock()
        self._paused_until_s = float("-inf")

    def learn(self, drawn: Drawn) -> None:
        self._per_s = None if drawn.per_s is None else drawn.per_s / max(1, drawn.processes)
        self._tokens, self._at_s = min(1.0, self._per_s or 1.0), self._clock()

    def pause(self, seconds: float | None) -> None:
        """Give no token for so long, by default for 1 s. A longer pause that AMPECO asked for before still holds."""
        pause_s = 1.0 if seconds is None else min(seconds, _LONGEST_PAUSE_S)
        self._paused_until_s = max(self._paused_until_s, self._clock() + pause_s)

    def draw(self, reserved: int, ordinary: int) -> _OwnDraw:
        now_s = self._clock()
        if now_s < self._paused_until_s:
            return _OwnDraw(0, 0, self._paused_until_s - now_s, self._per_s)
        if self._per_s is None:
            return _OwnDraw(reserved, ordinary, 0.0, None)
        self._tokens = min(max(1.0, self._per_s), self._tokens + (now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        given_reserved = min(reserved, int(self._tokens))
        given = min(ordinary, int(self._tokens) - given_reserved)
        self._tokens -= given_reserved + given
        wait_s = max(0.0, (1.0 - self._tokens) / self._per_s)
        return _OwnDraw(given_reserved, given, wait_s, self._per_s)
