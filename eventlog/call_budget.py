"""One rate budget for the calls of all processes to an API that limits them. One script call draws and reports.

Callers pass on what the API's answers state about its limit; the script decides. The budget knows no API and no HTTP.
"""

from __future__ import annotations

import asyncio
import math
import os
import secrets
import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from redis.exceptions import RedisError

from eventlog.clock import now_ms, rfc3339
from eventlog.reading import readable

if TYPE_CHECKING:
    from eventlog.log import EventLog

_ANSWER_S = 0.5  # a call of a handler waits for the answer
_COUNTED = ("used_reserved", "used", "back", "refused")
_SAID = ("limit", "remaining", "reset_ms", "pause_ms")
_MOST = 1 << 40  # of any number that is passed on


class Drawn(NamedTuple):
    """What a draw gave.

    Attributes:
        reserved, ordinary: tokens; all that were wanted, where no limit is known.
        reserved_wait_s, ordinary_wait_s: after which time there may be more of each; 0 when there are now.
        per_s: calls per second that all processes may make; None where no limit is known.
        processes: live ones, this one included.
    """

    reserved: int
    ordinary: int
    reserved_wait_s: float
    ordinary_wait_s: float
    per_s: float | None
    processes: int


class CallBudget:
    """The budget of one log, as one process draws from it.

    Args:
        per_s: the most calls per second that the operator wants; None for no limit of our own.
        process: names the process among those that draw; by default host and pid. Processes that follow one another
            may share a name.
    """

    def __init__(self, log: EventLog, *, per_s: float | None = None, process: str | None = None) -> None:
        self._log = log
        self._per_s = per_s
        self._process = process or f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(3)}"
        self._instance = secrets.token_hex(6)
        self._answered = 0

    async def draw(self, reserved: int, ordinary: int, news: Mapping[str, int]) -> Drawn | None:
        """Draw so many tokens, and report what happened since the last draw that was answered.

        Args:
            news: `used_reserved` and `used` calls, tokens to give `back`, calls that were `refused` for their rate;
                `limit`, `remaining`, `reset_ms` and `pause_ms` as the last answers named them. Others are ignored.

        Returns:
            None when Redis did not answer. The next draw then repeats the counts: they are counted once, even if
            Redis ran the script.
        """
        arguments: list[Any] = [self._log.prefix, self._process, "" if self._per_s is None else self._per_s]
        arguments += [reserved, ordinary, self._instance, self._answered]
        arguments += [_whole(news.get(name, 0)) for name in _COUNTED]
        arguments += ["" if name not in news else _whole(news[name]) for name in _SAID]
        try:
            async with asyncio.timeout(_ANSWER_S):
                reply = await self._log.scripts.draw(args=arguments)
        except (RedisError, OSError):  # a time-out is an OSError
            return None
        self._answered += 1
        given_reserved, given, wait_reserved_ms, wait_ms, per_s, _, processes = reply
        return Drawn(
            given_reserved,
            given,
            wait_reserved_ms / 1000,
            wait_ms / 1000,
            float(per_s) if per_s else None,
            processes,
        )


class BudgetStanding(NamedTuple):
    """The budget now.

    Attributes:
        limit, period_s: the limit that the last answers named; None where none did.
        left: calls that were left by the last answer; None where none said so.
        learnt_per_s: the rate that refusals without a limit taught us; None where none did.
        paused_s: how long no call is made.
        tokens: for calls now, at the last draw.
        reserved, ordinary, refused: calls made of each kind, and those that were refused for their rate.
        seen_at_ms: when an answer last named the limit.
    """

    limit: int | None
    period_s: float | None
    left: int | None
    learnt_per_s: float | None
    paused_s: float
    tokens: float
    reserved: int
    ordinary: int
    refused: int
    seen_at_ms: int | None

    @property
    def calls(self) -> int:
        """Return how many calls were made."""
        return self.reserved + self.ordinary

    @property
    def sentence(self) -> str:
        """Describe the budget in one line, for people."""
        if self.limit is not None:
            per = f" per {self.period_s:g} s" if self.period_s else ", period not said"
            seen = f", said {rfc3339(self.seen_at_ms, timespec='seconds')}" if self.seen_at_ms else ""
            known = f"limit {self.limit} calls{per}; {self.left if self.left is not None else '?'} left{seen}"
        elif self.learnt_per_s is not None:
            known = f"no limit named, {self.learnt_per_s:.1f} calls/s after refusals"
        elif self.calls:
            known = "no limit seen"
        else:
            known = "no call was made yet"
        pause = f"; no calls for {self.paused_s:.0f} s" if self.paused_s else ""
        calls = f"; {self.calls:,} calls, {self.refused:,} refused for their rate"
        return known + pause + calls

    def row(self) -> dict[str, object]:
        """Return the budget as JSON output shows it."""
        shown = self._asdict()
        shown["seen_at"] = None if self.seen_at_ms is None else rfc3339(self.seen_at_ms)
        del shown["seen_at_ms"]
        return shown


async def budget_standing(log: EventLog) -> BudgetStanding:
    """Return the budget now; raise RedisError without Redis."""
    raw = await log.redis.hgetall(log.key("budget"))
    found = {
        name.decode("utf-8", "replace"): number
        for name, value in raw.items()
        if (number := readable(float, value)) is not None and math.isfinite(number)
    }

    def whole(name: str) -> int | None:
        return int(found[name]) if name in found else None

    return BudgetStanding(
        limit=whole("limit"),
        period_s=found["period"] / 1000 if "period" in found else None,
        left=whole("left") if "limit" in found else None,
        learnt_per_s=found.get("learnt"),
        paused_s=max(0.0, (found.get("pause", 0.0) - now_ms()) / 1000),
        tokens=found.get("tokens", 0.0),
        reserved=whole("reserved") or 0,
        ordinary=whole("ordinary") or 0,
        refused=whole("refused") or 0,
        seen_at_ms=whole("seen"),
    )


def _whole(number: float) -> int:
    return max(0, min(_MOST, int(number)))
