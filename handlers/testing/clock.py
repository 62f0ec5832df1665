"""A clock that stands still until a test moves it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


class Clock:
    """The time that events, attempts, once-only steps and the pretend tenant see.

    Args:
        at: where it stands at first, aware; the time of now unless given.
    """

    def __init__(self, at: datetime | None = None) -> None:
        self._at = (at or datetime.now(UTC)).astimezone(UTC)

    def now(self) -> datetime:
        """Return the time, aware and in UTC."""
        return self._at

    def now_ms(self) -> int:
        """Return the time as Unix time in milliseconds."""
        return round(self._at.timestamp() * 1000)

    def now_s(self) -> float:
        """Return the time in seconds, for what only counts differences."""
        return self._at.timestamp()

    def move(self, seconds: float) -> None:
        """Let time pass."""
        self._at += timedelta(seconds=seconds)

    async def sleep(self, seconds: float) -> None:
        """Let time pass instead of waiting."""
        self.move(seconds)
