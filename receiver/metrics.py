"""What Prometheus is told about the door. Plain counters in a registry of their own.

Children are resolved once, and events are counted per batch: the hot path adds integers. What a gauge means for
several processes together is said by its `multiprocess_mode`; counters and histograms are added up.
"""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from eventlog.log import EventLog
from eventlog.registry import MISFIT, HandlerPosition
from eventlog.usage import Standing, standing

READY = ("awr_ready", "1 when the door is open and can write")


class Metrics:
    """The receiver's metrics; one instance per process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.accepted = Counter("awr_events_accepted", "Events taken into the log", registry=self.registry)
        self.duplicates = Counter(
            "awr_events_duplicate", "Deliveries that were in the log already", registry=self.registry
        )
        self._duplicates_by_reason = Counter(
            "awr_events_duplicate_by_reason",
            "Deliveries that were in the log already, by reason",
            ["reason"],
            registry=self.registry,
        )
        self.quarantined = Counter(
            "awr_events_quarantined", "Verified bodies that could not be read", registry=self.registry
        )
        self._refused = Counter(
            "awr_events_refused", "Deliveries refused, by reason", ["reason"], registry=self.registry
        )
        self.stale = Counter(
            "awr_events_stale", "Deliveries whose signed timestamp is long past", registry=self.registry
        )
        self.appended_again = Counter(
            "awr_events_appended_again", "Events that Redis had forgotten", registry=self.registry
        )
        self.batch_events = Histogram(
            "awr_append_batch_events",
            "Events per append call",
            buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256),
            registry=self.registry,
        )
        self.append_seconds = Histogram(
            "awr_append_seconds",
            "Time of one append call",
            buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2),
            registry=self.registry,
        )
        self.waiting_bytes = Gauge(
            "awr_intake_waiting_bytes",
            "Bytes of events waiting for the log",
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        self.ready = Gauge(*READY, registry=self.registry, multiprocess_mode="livemin")
        self._log_bytes = Gauge(
            "awr_log_bytes",
            "Bytes of the log in Redis",
            registry=self.registry,
            multiprocess_mode="livemax",
        )
        self._log_full = Gauge(
            "awr_log_full",
            "1 when nothing is appended for lack of room",
            registry=self.registry,
            multiprocess_mode="livemax",
        )
        self._log_age = Gauge(
            "awr_log_oldest_event_age_seconds",
            "Age of the oldest kept event",
            registry=self.registry,
            multiprocess_mode="livemax",
        )
        self.registered = Gauge(
            "awr_registered",
            "1 when AMPECO has our notification subscription",
            registry=self.registry,
            multiprocess_mode="livemin",
        )
        self.gaps = Counter(
            "awr_gaps_closed", "Outages of the door that were noticed", registry=self.registry
        )
        self._reasons: dict[str, Counter] = {}

    def refused(self, reason: str) -> None:
        """Count one refusal; reasons are slugs from our code, never text of a stranger."""
        child = self._reasons.get(reason)
        if child is None:
            child = self._reasons[reason] = self._refused.labels(reason)
        child.inc()

    def duplicate(self, reason: str) -> None:
        """Count the reason of one duplicate."""
        self._duplicates_by_reason.labels(reason).inc()

    def stands(self, found: Standing) -> None:
        """What the log takes up."""
        self._log_bytes.set(found.bytes)
        self._log_full.set(bool(found.full))
        self._log_age.set(found.age_s)

    def exposition(self) -> bytes:
        """Everything in Prometheus's text format."""
        return generate_latest(self.registry)


_OUTCOMES = ("done", "skipped", "dead", "retried")


class _Positions:
    def __init__(self, positions: list[HandlerPosition], stands: Standing | None) -> None:
        self._positions = positions
        self._stands = stands

    def collect(self) -> Iterable[Metric]:
        deliveries = CounterMetricFamily(
            "awr_deliveries", "Deliveries by outcome", labels=["handler", "outcome"]
        )
        waiting = GaugeMetricFamily("awr_handler_waiting", "Events after its cursors", labels=["handler"])
        opened = GaugeMetricFamily(
            "awr_handler_open", "Events running, retried or parked", labels=["handler"]
        )
        misfits = CounterMetricFamily(
            "awr_payload_misfits",
            "Settled deliveries of payloads with fields that do not fit",
            labels=["handler", "type"],
        )
        for position in self._positions:
            waiting.add_metric([position.name], position.waiting)
            opened.add_metric([position.name], position.open)
            for outcome in _OUTCOMES:
                deliveries.add_metric([position.name, outcome], position.stats.get(outcome, 0))
            for name, count in position.stats.items():
                if name.startswith(MISFIT):
                    misfits.add_metric([position.name, name.removeprefix(MISFIT)], count)
        return [deliveries, waiting, opened, misfits, *self._log()]

    def _log(self) -> Iterable[Metric]:
        found = self._stands
        if found is None:
            return
        yield GaugeMetricFamily("awr_log_bytes", "Bytes of the log in Redis", found.bytes)
        yield GaugeMetricFamily(
            "awr_log_full", "1 when nothing is appended for lack of room", bool(found.full)
        )
        yield GaugeMetricFamily(
            "awr_log_oldest_event_age_seconds", "Age of the oldest kept event", found.age_s
        )


async def exposition(log: EventLog) -> bytes:
    """Deliveries and positions of all handlers in Prometheus's text format.

    Raises:
        redis.RedisError: the log cannot be read.
    """
    registry = CollectorRegistry()
    registry.register(_Positions(await log.handlers(), await standing(log)))
    return generate_latest(registry)
