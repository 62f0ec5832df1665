"""Reads what an answer says about AMPECO's rate limits: `Retry-After` and the `X-RateLimit-*` headers.

Source: published contract v3.110.0 names the `X-RateLimit-*` headers of a 429 and gives no form or number. It does
not mention Retry-After (RFC 9110, section 10.2.3). So every likely form is read, and what cannot be read is None.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime

LONGEST_PAUSE_S = 86_400.0
"""Longer pauses in a header are cut to this; callers may wait for less."""

_NUMBER = re.compile(r"[0-9]{1,15}(\.[0-9]{1,9})?")
_COUNT = re.compile(r"[0-9]{1,9}")
_EPOCH_S = 1e9  # a larger number is a Unix time (this one is in 2001), no number of seconds
_EPOCH_MS = 1e11  # a larger number is a Unix time in milliseconds


@dataclass(frozen=True, slots=True)
class RateLimit:
    """The `X-RateLimit-*` headers of an answer.

    Attributes:
        limit: calls in one period.
        remaining: calls left in this period.
        reset_s: seconds from the answer until the next period, 0 to `LONGEST_PAUSE_S`.

    A value that the answer lacks, or that has an unknown form, is None.
    """

    limit: int | None
    remaining: int | None
    reset_s: float | None

    @classmethod
    def of(cls, headers: Mapping[str, str]) -> "RateLimit | None":
        """Read the headers of an answer; None when they say nothing about a limit."""
        lowered = _lowered(headers)
        found = cls(
            _count(lowered.get("x-ratelimit-limit", "")),
            _count(lowered.get("x-ratelimit-remaining", "")),
            _seconds(lowered.get("x-ratelimit-reset", ""), lowered.get("date", "")),
        )
        return None if found == cls(None, None, None) else found


def retry_after_s(status: int, headers: Mapping[str, str]) -> float | None:
    """Seconds that AMPECO asks us to wait: `Retry-After`, or for a 429 without one `X-RateLimit-Reset`.

    Returns:
        0 to `LONGEST_PAUSE_S`, or None when the answer names no pause.
    """
    lowered = _lowered(headers)
    date = lowered.get("date", "")
    asked_s = _seconds(lowered.get("retry-after", ""), date)
    if asked_s is None and status == 429:
        return _seconds(lowered.get("x-ratelimit-reset", ""), date)
    return asked_s


def _lowered(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value.strip() for name, value in headers.items()}


def _count(said: str) -> int | None:
    return int(said) if _COUNT.fullmatch(said) else None


def _seconds(said: str, date: str) -> float | None:
    """A number of seconds, a Unix time or a date.

    The last two count from the answer's own `Date`: the clocks of AMPECO and of this machine may differ.
    """
    if _NUMBER.fullmatch(said) and float(said) < _EPOCH_S:
        return min(float(said), LONGEST_PAUSE_S)
    until, answered = _unix_time(said), _unix_time(date)
    return None if until is None or answered is None else min(max(0.0, until - answered), LONGEST_PAUSE_S)


def _unix_time(said: str) -> float | None:
    """Seconds since 1970 of a Unix time or a date."""
    if _NUMBER.fullmatch(said):
        return float(said) / 1000 if float(said) >= _EPOCH_MS else float(said)
    try:
        moment = parsedate_to_datetime(said)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
