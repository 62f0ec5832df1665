"""Log lines and counts of the endpoint: at most a few lines a second, however many requests arrive.

It decides nothing. It logs the first few refusals of a second and counts the others. It counts accepted events
and logs one line a second.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from eventlog.log import Answer
from receiver.endpoint_notes import EndpointNotes
from receiver.logging import get_logger
from receiver.metrics import Metrics

REFUSALS_PER_S = 5
MOST_REASONS = 10


class EndpointLog:
    """Counts what happens at the endpoint, in metrics and in the log."""

    def __init__(
        self,
        metrics: Metrics,
        wake: Callable[[Sequence[str]], None],
        *,
        clock: Callable[[], float] = time.monotonic,
        log: Any = None,
    ) -> None:
        """Count in `metrics`, and call `wake`, which must not block, with the queues that an append made due."""
        self._metrics = metrics
        self._wake = wake
        self._clock = clock
        self._log = log if log is not None else get_logger(__name__)
        self._each = logging.getLogger(__name__).isEnabledFor(logging.DEBUG)
        self._counts: Counter[str] = Counter()
        self._duplicates: Counter[str] = Counter()
        self._quarantined: Counter[str] = Counter()
        self._newest_quarantined: str | None = None
        self._append_errors: Counter[str] = Counter()
        self.notes = EndpointNotes()
        self._second = 0.0
        self._written = 0
        self._unwritten = 0

    def appended(self, answers: Sequence[Answer], wake: Sequence[str], seconds: float) -> None:
        """Count a batch that is in the log, and wake its queues.

        Args:
            wake: queues that the batch made due.
            seconds: duration of the append.
        """
        if wake:
            self._wake(wake)
        metrics, counts = self._metrics, Counter(answer.outcome for answer in answers)
        metrics.append_seconds.observe(seconds)
        metrics.batch_events.observe(len(answers))
        metrics.accepted.inc(counts["accepted"])
        if counts["duplicate"]:
            metrics.duplicates.inc(counts["duplicate"])
            for answer in answers:
                if answer.outcome == "duplicate" and answer.reason:
                    metrics.duplicate(answer.reason)
                    self._duplicates[answer.reason] += 1
        if counts["quarantined"]:
            metrics.quarantined.inc(counts["quarantined"])
            for answer in answers:
                if answer.outcome == "quarantined":
                    self._quarantined[answer.reason or ""] += 1
                    self._newest_quarantined = answer.event_id
        self._counts += counts
        if self._each:
            for answer in answers:
                self._log.debug(f"event.{answer.outcome}", event_id=answer.event_id, reason=answer.reason)

    def append_refused(self, error: str) -> None:
        """Count an append that Redis answered with an error of this class."""
        self._append_errors[error] += 1

    def refused(self, reason: str) -> None:
        """Count a refused request; log it unless there were many in this second."""
        self._metrics.refused(reason)
        self.notes.refused(reason)
        now = self._clock()
        if now - self._second >= 1.0:
            self._second, self._written = now, 0
        if self._written < REFUSALS_PER_S:
            self._written += 1
            self._log.warning("event.rejected", reason=reason)
        else:
            self._unwritten += 1

    def flush(self) -> None:
        """Log the counts since the last call. Called once a second."""
        counts, self._counts = self._counts, Counter()
        duplicates, self._duplicates = self._duplicates, Counter()
        quarantined, self._quarantined = self._quarantined, Counter()
        more: dict[str, dict[str, Any]] = {
            "duplicate": {"reasons": dict(duplicates)} if duplicates else {},
            "quarantined": {
                "event_id": self._newest_quarantined,
                "reasons": dict(quarantined.most_common(MOST_REASONS)),
            },
        }
        for outcome in ("accepted", "duplicate", "quarantined"):
            if counts[outcome]:
                self._log.info(f"event.{outcome}", events=counts[outcome], **more.get(outcome, {}))
        if self._append_errors:
            self._log.error("append.refused", errors=dict(self._append_errors))
            self._append_errors.clear()
        if self._unwritten:
            self._log.warning("event.rejected", reason="more", events=self._unwritten)
            self._unwritten = 0
