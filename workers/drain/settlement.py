"""The outcomes of attempts until the next step writes them to Redis: counts, dead letters, history, and how soon.

It knows how an outcome is written. The window knows what an outcome means for the order of events.
"""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import structlog

from eventlog import clock
from eventlog.history import OUTCOMES, Settled, hash_of
from eventlog.lease import Settlement, clock_s
from eventlog.record import DeadLetter
from eventlog.registry import (
    FAILED,
    KEY_FAILED,
    LATENCY_BOUNDS_MS,
    LOOP_GUARD,
    MISFIT,
    RAN_US,
    RAN_WITHIN,
    RUN_BOUNDS_MS,
    SETTLED_WITHIN,
)
from workers.delivery.attempt_lines import HandlerLines
from workers.delivery.counted_reasons import counted_reason
from workers.delivery.outcomes import SUPERSEDED, Outcome
from workers.drain.entity_records import EntityRecords
from workers.drain.entry import Entry
from workers.drain.window import Window

SETTLE_S = 0.08  # outcomes are in Redis within 100 ms
URGENT_S = 0.002  # sooner where the next event of an entity waits for it

_LEVELS = {"retry": logging.INFO, "dead": logging.ERROR}  # of lines about failures
_LATENCY_NAMES = tuple(f"{SETTLED_WITHIN}{bound}" for bound in LATENCY_BOUNDS_MS)
_RUN_BOUNDS_S = tuple(bound / 1000 for bound in RUN_BOUNDS_MS)
_RUN_NAMES = (*(f"{RAN_WITHIN}{bound}" for bound in RUN_BOUNDS_MS), RAN_WITHIN)


class PendingOutcomes:
    """Outcomes on their way to Redis.

    Attributes:
        settled: number of deliveries that have ended so far.
        due_s: when the next step must be made at the latest, or None.

    Args:
        wake: called when `due_s` moves forward.
        lines: writes the lines about failed attempts.
        records: what the handler keeps of entities; None when it keeps nothing.
        now_ms: Unix time in milliseconds.
        clock_s: monotonic seconds, the clock of `due_s`.
    """

    def __init__(
        self,
        window: Window,
        log: structlog.typing.FilteringBoundLogger,
        wake: Callable[[], None],
        lines: HandlerLines,
        *,
        records: EntityRecords | None = None,
        now_ms: Callable[[], int] = clock.now_ms,
        clock_s: Callable[[], float] = clock_s,
    ) -> None:
        self.settled = 0
        self.due_s: float | None = None
        self._within_s = float("inf")  # the shortest time asked for since the last step
        self._window = window
        self._log: Any = log
        self._logs_all = log.is_enabled_for(logging.DEBUG)
        self._wake = wake
        self._lines = lines
        self._records = records
        self._now_ms = now_ms
        self._clock_s = clock_s
        self._dead: list[DeadLetter] = []
        self._stats: Counter[str] = Counter()
        self._ran_s = 0.0
        self._quick = 0  # attempts within the least bound
        self._history: list[Settled] = []

    def finish(self, entry: Entry, outcome: Outcome) -> None:
        """Record the outcome of an attempt: the event runs again later, or has ended."""
        number, window = entry.attempts + 1, self._window
        retried = outcome.kind == "retry"
        spent = outcome.counts if retried else outcome.kind == "dead"
        entry.conclude(outcome.detail or outcome.reason, spent=spent)
        if retried or outcome.kind == "dead":
            self._stats[FAILED + counted_reason(outcome.reason)] += 1
        if retried:
            wait_ms = round(outcome.delay_s * 1000)
            window.retry(entry, self._now_ms() + wait_ms, wait_ms, parks=not outcome.held)
            self._stats["retried"] += 1
            if outcome.reason == LOOP_GUARD:
                self._stats[LOOP_GUARD] += 1
            self._report(entry, outcome, number)
            self._settle_within(SETTLE_S)
        else:
            self._end(entry, outcome, number)
            self._settle_within(URGENT_S if window.settle(entry) else SETTLE_S)
        if window.superseded:
            self.settle_superseded()

    def ran(self, seconds: float) -> None:
        """Count how long an attempt ran. `finish` must follow, which makes the next step due."""
        self._ran_s += seconds
        if seconds <= _RUN_BOUNDS_S[0]:  # most are, and this is called for each event
            self._quick += 1
        else:
            self._stats[_RUN_NAMES[bisect_left(_RUN_BOUNDS_S, seconds)]] += 1

    def called(self, counts: Mapping[str, int]) -> None:
        """Count calls to AMPECO, by the names of the log's counters."""
        self._stats.update(counts)

    def settle_superseded(self) -> None:
        """Settle an event that a newer one superseded."""
        for entry in self._window.superseded:
            self._end(entry, SUPERSEDED, entry.attempts + 1)
            self._settle_within(SETTLE_S)
        self._window.superseded.clear()

    def misread(self, entry: Entry) -> None:
        """Count an event that has ended and whose payload has fields that do not fit."""
        self._stats[MISFIT + entry.event.type] += 1

    def settlement(self) -> Settlement:
        """Return all outcomes and the changes of the window, and forget them: the caller must write them to Redis."""
        settlement = self._window.cursor.changes()
        if self._ran_s:
            self._stats[RAN_US] = round(self._ran_s * 1_000_000)
            self._ran_s = 0.0
        if self._quick:
            self._stats[_RUN_NAMES[0]] += self._quick
            self._quick = 0
        settlement.dead, settlement.stats, settlement.history = self._dead, self._stats, self._history
        self._dead, self._stats, self._history = [], Counter(), []
        if self._records is not None:
            settlement.kept = self._records.changes()
        self.due_s, self._within_s = None, float("inf")
        return settlement

    def _settle_within(self, seconds: float) -> None:
        if seconds >= self._within_s:
            return
        self._within_s = seconds
        at_s = self._clock_s() + seconds
        if self.due_s is None or at_s < self.due_s:
            self.due_s = at_s
            self._wake()

    def _end(self, entry: Entry, outcome: Outcome, number: int) -> None:
        self.settled += 1
        self._stats[outcome.kind] += 1
        self._history.append(_settled(entry, outcome))
        if entry.own is not None and entry.own.failed:
            self._stats[KEY_FAILED] += 1
        if self._records is not None:
            self._records.end(entry)
        if outcome.kind == "dead":
            self._dead.append(DeadLetter(entry.record("running"), outcome.reason, outcome.trace))
        if outcome.kind != "superseded":
            at = bisect_left(LATENCY_BOUNDS_MS, self._now_ms() - entry.event.received_at_ms)
            if at < len(LATENCY_BOUNDS_MS):
                self._stats[_LATENCY_NAMES[at]] += 1
        if outcome.kind == "dead" or self._logs_all:
            self._report(entry, outcome, number)

    def _report(self, entry: Entry, outcome: Outcome, number: int) -> None:
        """Log an outcome; a failure may be counted together with others of the same cause."""
        event, kind = entry.event, outcome.kind
        fields: dict[str, Any] = {
            "event_id": event.event_id,
            "notification": event.type,
            "key": event.key,
            "attempt": number,
        }
        if kind != "done":
            fields |= {"reason": outcome.reason, "detail": outcome.detail}
        if kind == "retry":
            fields["after_s"] = round(outcome.delay_s, 3)
        if kind in _LEVELS:
            fields["where"] = outcome.trace
        write = partial(_write, self._log, kind)
        if kind in _LEVELS:
            self._lines.tell(_LEVELS[kind], write, (kind, outcome.reason, outcome.trace), **fields)
        else:
            write(**fields)


def _write(log: Any, kind: str, **fields: object) -> None:
    if kind == "done":
        log.debug("delivery.completed", **fields)
    elif kind == "skipped":
        log.debug("delivery.skipped", **fields)
    elif kind == "superseded":
        log.debug("delivery.superseded", **fields)
    elif kind == "retry":
        log.info("delivery.retry_scheduled", **fields)
    else:
        log.error("delivery.dead", **fields)


def _settled(entry: Entry, outcome: Outcome) -> Settled:
    """Return the entry of the history; with texts only where something went wrong."""
    is_named = outcome.kind == "skipped" and outcome.reason in OUTCOMES
    name = outcome.reason if is_named else outcome.kind
    has_slug = outcome.kind == "dead" or (outcome.kind == "skipped" and not is_named)
    reason = outcome.reason if has_slug else outcome.detail
    attempts = entry.log
    if outcome.kind == "skipped" and len(attempts) == 1 and not attempts[0].actions:
        attempts = ()
    return Settled(entry.event.stream_id, hash_of(entry.event.key), name, reason, attempts)
