"""What came of attempts, until the next step tells Redis: counts, dead letters, history. Pure but for its log lines.

It knows how an outcome is written down, not what it means for the order of events.
"""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections import Counter
from typing import Any

import structlog

from workers.eventlog.history import Settled, hash_of
from workers.eventlog.lease import Settlement
from workers.eventlog.log import MISFIT
from workers.eventlog.record import DeadLetter
from workers.outcomes import Outcome
from workers.window import Changes, Entry

_LATENCY_BOUNDS_MS = (1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100, 150, 200, 300, 500, 700, 1_000, 2_000, 5_000,
                      10_000, 30_000, 60_000, 300_000, 3_600_000)  # fmt: skip
_LATENCY_NAMES = tuple(f"ms<={bound}" for bound in _LATENCY_BOUNDS_MS)


class Settling:
    """Outcomes on their way to Redis.

    Attributes:
        settled: deliveries that came to their end so far.
        due_s: when the next step must be made at the latest, or None.
        within_s: the shortest time that was asked for since the last one; asking for as much again changes nothing.
    """

    def __init__(self, log: structlog.typing.FilteringBoundLogger) -> None:
        self.settled = 0
        self.due_s: float | None = None
        self.within_s = float("inf")
        self._log: Any = log
        self._tells_all = log.is_enabled_for(logging.DEBUG)
        self._dead: list[DeadLetter] = []
        self._stats: Counter[str] = Counter()
        self._history: list[Settled] = []

    def within(self, seconds: float, now_s: float) -> bool:
        """Settle within that time; True when that is sooner than what was asked for before."""
        self.within_s = min(self.within_s, seconds)
        at_s = now_s + seconds
        if self.due_s is not None and at_s >= self.due_s:
            return False
        self.due_s = at_s
        return True

    def retried(self, entry: Entry, outcome: Outcome, number: int) -> None:
        """It will be tried again."""
        self._stats["retried"] += 1
        self._tell(entry, outcome, number)

    def ended(self, entry: Entry, outcome: Outcome, number: int, now_ms: int) -> None:
        """It came to its end."""
        self.settled += 1
        self._stats[outcome.kind] += 1
        self._history.append(_settled(entry, outcome))
        if outcome.kind == "dead":
            self._dead.append(DeadLetter(entry.record("running"), outcome.reason, outcome.trace))
        if outcome.kind != "superseded":
            at = bisect_left(_LATENCY_BOUNDS_MS, now_ms - entry.event.received_at_ms)
            if at < len(_LATENCY_BOUNDS_MS):
                self._stats[_LATENCY_NAMES[at]] += 1
        if outcome.kind == "dead" or self._tells_all:
            self._tell(entry, outcome, number)

    def misread(self, entry: Entry) -> None:
        """It came to its end, and its payload has fields that do not fit."""
        self._stats[MISFIT + entry.event.type] += 1

    def settlement(self, changes: Changes) -> Settlement:
        """All of it, with what the window has to say; then there is nothing left to tell."""
        settlement = Settlement(
            cur=changes.cur,
            puts=changes.puts,
            dels=changes.dels,
            dead=self._dead,
            stats=self._stats,
            ahead=changes.ahead,
            passed=changes.passed,
            history=self._history,
        )
        self._dead, self._stats, self._history = [], Counter(), []
        self.due_s, self.within_s = None, float("inf")
        return settlement

    def _tell(self, entry: Entry, outcome: Outcome, number: int) -> None:
        event = entry.event
        facts: dict[str, object] = {
            "event_id": event.event_id,
            "notification": event.type,
            "key": event.key,
            "attempt": number,
        }
        if outcome.kind == "done":
            self._log.debug("delivery.completed", **facts)
            return
        facts["reason"], facts["detail"] = outcome.reason, outcome.detail
        if outcome.kind == "skipped":
            self._log.debug("delivery.skipped", **facts)
        elif outcome.kind == "superseded":
            self._log.debug("delivery.superseded", **facts)
        elif outcome.kind == "retry":
            facts["after_s"] = round(outcome.delay_s, 3)
            self._log.info("delivery.retry_scheduled", **facts, where=outcome.trace)
        else:
            self._log.error("delivery.dead", **facts, where=outcome.trace)


def _settled(entry: Entry, outcome: Outcome) -> Settled:
    """For the history; words only where something happened."""
    name = outcome.reason if outcome.kind == "skipped" else outcome.kind
    reason = outcome.reason if outcome.kind == "dead" else outcome.detail
    attempts = entry.log
    if outcome.kind == "skipped" and len(attempts) == 1 and not attempts[0].actions:
        attempts = ()
    return Settled(entry.event.stream_id, hash_of(entry.event.key), name, reason, attempts)
