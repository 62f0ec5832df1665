"""The receiver's Prometheus metrics, in a registry of their own.

The hot path only adds integers: labelled children are resolved once, and events are counted per batch. With
several processes, counters and histograms are added; `multiprocess_mode` decides how gauges are merged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from eventlog.log import EventLog
from eventlog.presence import pairs_by_process
from eventlog.registry import MISFIT, HandlerPosition
from eventlog.usage import Standing, standing

READY = ("awr_ready", "1 when the endpoint is open and can write to the log")


class Metrics:
    """The receiver's metrics; one instance per process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.accepted = Counter("awr_events_accepted", "Events accepted into the log", registry=self.registry)
        self.duplicates = Counter(
            "awr_events_duplicate", "Requests whose event was already in the log", registry=self.registry
        )
        self._duplicates_by_reason = Counter(
            "awr_events_duplicate_by_reason",
            "Requests whose event was already in the log, by reason",
            ["reason"],
            registry=self.registry,
        )
        self.quarantined = Counter(
            "awr_events_quarantined", "Verified bodies that could not be read", registry=self.registry
        )
        self._refused = Counter(
            "awr_events_refused", "Refused requests, by reason", ["reason"], registry=self.registry
        )
        self.stale = Counter(
            "awr_events_stale", "Accepted requests with an old signed timestamp", registry=self.registry
        )
        self.appended_again = Counter(
            "awr_events_appended_again",
            "Events appended again because Redis had lost them",
            registry=self.registry,
        )
        self.batch_events = Histogram(
            "awr_append_batch_events",
            "Events per append call",
            buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256),
            registry=self.registry,
        )
        self.append_seconds = Histogram(
            "awr_append_seconds",
            "Duration of an append call",
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
            "1 when the log is full and takes no more events",
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
            "1 when our notification subscription exists at AMPECO",
            registry=self.registry,
            multiprocess_mode="livemin",
        )
        self.gaps = Counter(
            "awr_gaps_closed", "Outages of the receiver that were detected", registry=self.registry
        )
        self._reasons: dict[str, Counter] = {}

    def refused(self, reason: str) -> None:
        """Count a refused request. A reason is a slug from our code, never text of a request."""
        child = self._reasons.get(reason)
        if child is None:
            child = self._reasons[reason] = self._refused.labels(reason)
        child.inc()

    def duplicate(self, reason: str) -> None:
        """Count a duplicate by its reason."""
        self._duplicates_by_reason.labels(reason).inc()

    def stands(self, found: Standing) -> None:
        """Set the gauges of the log's size."""
        self._log_bytes.set(found.bytes)
        self._log_full.set(bool(found.full))
        self._log_age.set(found.age_s)

    def exposition(self) -> bytes:
        """Return all metrics in Prometheus's text format."""
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
        waiting = GaugeMetricFamily("awr_handler_waiting", "Events not reached yet", labels=["handler"])
        opened = GaugeMetricFamily(
            "awr_handler_open", "Events that run, wait for a retry, or are parked", labels=["handler"]
        )
        misfits = CounterMetricFamily(
            "awr_payload_misfits",
            "Settled deliveries whose payload had fields of a wrong kind",
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
            "awr_log_full", "1 when the log is full and takes no more events", bool(found.full)
        )
        yield GaugeMetricFamily(
            "awr_log_oldest_event_age_seconds", "Age of the oldest kept event", found.age_s
        )


class _Pairs:
    def __init__(self, pairs: Mapping[str, Mapping[str, int]]) -> None:
        self._pairs = pairs

    def collect(self) -> Iterable[Metric]:
        metric = GaugeMetricFamily(
            "awr_handler_pairs",
            "Lanes of a handler that a live process works on",
            labels=["handler", "process"],
        )
        for handler, processes in self._pairs.items():
            for process, number in processes.items():
                metric.add_metric([handler, process], number)
        return [metric]


async def exposition(log: EventLog) -> bytes:
    """Return deliveries and positions of all handlers in Prometheus's text format.

    Raises:
        redis.RedisError: the log cannot be read.
    """
    registry = CollectorRegistry()
    registry.register(_Positions(await log.handlers(), await standing(log)))
    registry.register(_Pairs(await pairs_by_process(log)))
    return generate_latest(registry)
