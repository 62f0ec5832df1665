"""Collects what answers state about AMPECO's rate limit, until the next draw from the bucket of all processes."""

from collections.abc import Callable, Mapping

from ampeco.rate_limits import RateLimit


class LimitNews:
    """The news since the last draw. Moments are kept by our clock, and reported as ms from then."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._kept: dict[str, int] = {}
        self._resets_at_s: float | None = None
        self._paused_until_s: float | None = None

    def __bool__(self) -> bool:
        return bool(self._kept)

    def observed(self, seen: RateLimit) -> None:
        if seen.limit is not None:
            self._kept["limit"] = seen.limit
        if seen.remaining is not None:
            self._kept["remaining"] = seen.remaining
        if seen.reset_s is not None:
            self._resets_at_s = self._clock() + seen.reset_s

    def refused(self, retry_after_s: float | None) -> None:
        self._kept["refused"] = self._kept.get("refused", 0) + 1
        if retry_after_s is not None:
            self._paused_until_s = max(self._paused_until_s or 0.0, self._clock() + retry_after_s)

    def taken(self) -> dict[str, int]:
        """Return the news, and forget it here."""
        now_s, news = self._clock(), self._kept
        for name, at_s in (("reset_ms", self._resets_at_s), ("pause_ms", self._paused_until_s)):
            if at_s is not None:
                news[name] = max(0, round((at_s - now_s) * 1000))
        self._kept, self._resets_at_s, self._paused_until_s = {}, None, None
        return news

    def again(self, news: Mapping[str, int]) -> None:
        """Keep what could not be reported. Counts are added, and anything said since then wins."""
        for name in ("used_reserved", "used", "refused"):
            self._kept[name] = self._kept.get(name, 0) + news.get(name, 0)
        for name in ("limit", "remaining"):
            if name in news:
                self._kept.setdefault(name, news[name])
        if self._resets_at_s is None and "reset_ms" in news:
            self._resets_at_s = self._clock() + news["reset_ms"] / 1000
        if self._paused_until_s is None and "pause_ms" in news:
            self._paused_until_s = self._clock() + news["pause_ms"] / 1000
