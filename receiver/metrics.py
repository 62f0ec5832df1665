"""The receiver's Prometheus metrics, in a registry of their own, and the exposition of the log's metrics.

Events are counted per batch. With several processes, counters and histograms are added; `multiprocess_mode`
decides how gauges are merged.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from redis.exceptions import RedisError

from eventlog.call_budget import budget_standing
from eventlog.chores import Chores
from eventlog.inspection.gaps import recorded_gaps
from eventlog.log import EventLog
from eventlog.outages import known_outages
from eventlog.presence import pairs_by_process
from eventlog.silence import quiet
from eventlog.usage import Standing, standing
from receiver.budget_metrics import BudgetMetrics
from receiver.gap_metrics import GapMetrics
from receiver.handler_metrics import PairMetrics, PositionMetrics
from receiver.log_metrics import LOG_AGE, LOG_BYTES, LOG_FULL, SizeMetrics, log_state
from receiver.outage_metrics import OutageMetrics

KEPT_S = 2.0
disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each counter, which no query uses
READY = ("awr_ready", "1 when the endpoint is open and can write to the log")
REDIS_UP = ("awr_redis_up", "1 when Redis answered this scrape")


class Metrics:
    """The receiver's metrics; one instance per process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        counter = partial(Counter, registry=self.registry)
        gauge = partial(Gauge, registry=self.registry)
        self.accepted = counter("awr_events_accepted", "Events accepted into the log")
        self.duplicates = counter("awr_events_duplicate", "Requests whose event was already in the log")
        self._duplicates_by_reason = counter(
            "awr_events_duplicate_by_reason",
            "Requests whose event was already in the log, by reason",
            ["reason"],
        )
        self.quarantined = counter("awr_events_quarantined", "Verified bodies that could not be read")
        self._refused = counter("awr_events_refused", "Refused requests, by reason", ["reason"])
        self.stale = counter("awr_events_stale", "Accepted requests with an old signed timestamp")
        self.appended_again = counter(
            "awr_events_appended_again", "Events appended again because Redis had lost them"
        )
        self.redis_failed = counter(
            "awr_redis_failed_checks", "Checks that Redis did not pass, by reason", ["reason"]
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
        self.waiting_bytes = gauge(
            "awr_intake_waiting_bytes", "Bytes of events waiting for the log", multiprocess_mode="livesum"
        )
        self.ready = gauge(*READY, multiprocess_mode="livemin")
        self._log_bytes = gauge(*LOG_BYTES, multiprocess_mode="livemax")
        self._log_full = gauge(*LOG_FULL, multiprocess_mode="livemax")
        self._log_age = gauge(*LOG_AGE, multiprocess_mode="livemax")
        self.registered = gauge(
            "awr_registered",
            "1 when AMPECO's last answer showed our notification subscription with all wanted types",
            multiprocess_mode="livemin",
        )
        self.registration_wanted = gauge(
            "awr_registration_wanted",
            "1 when AWR_REGISTER is on and handlers want types of AMPECO's, so that awr_registered must be 1",
            multiprocess_mode="livemax",
        )
        self._confirmed_at = gauge(
            "awr_registration_confirmed_timestamp_seconds",
            "Unix time at which AMPECO last confirmed our notification subscription; 0 if it never did",
            multiprocess_mode="livemax",
        )
        self.registration_failed = counter(
            "awr_registration_failed_checks", "Checks of the registration that failed, by reason", ["reason"]
        )
        self.lost_subscriptions = counter(
            "awr_registration_lost",
            "Times that our notification subscription was missing or changed at AMPECO",
        )
        self.verified_by_key = counter(
            "awr_events_verified", "Verified notifications, by the id of the key that signed them", ["key_id"]
        )
        self._redis_up = gauge(*REDIS_UP, multiprocess_mode="livemin")
        self.loop_lag = gauge(
            "awr_loop_lag_seconds",
            "Longest delay of a receiver's event loop in the last 15 to 30 seconds",
            multiprocess_mode="livemax",
        )
        self.reconstructed = counter(
            "awr_events_reconstructed", "Events that a backfill made from the state of a resource"
        )
        self.gaps = counter("awr_gaps_closed", "Outages of the receiver that were detected")
        self._shape_drifts = counter(
            "awr_shape_drifts",
            "Differences in the structure of notifications, each found once, by type, kind and what it differs from",
            ["type", "what", "against"],
        )
        self.connections = ConnectionMetrics(self.registry)

    def drifted(self, type: str, what: str, against: str) -> None:
        """Count a difference in the structure of a type; a type that the contract does not have is `(other)`."""
        self._shape_drifts.labels(type, what, against).inc()

    def refused(self, reason: str) -> None:
        """Count a refused request. A reason is a slug from our code, never text of a request."""
        self._refused.labels(reason).inc()

    def duplicate(self, reason: str) -> None:
        """Count a duplicate by its reason."""
        self._duplicates_by_reason.labels(reason).inc()

    def confirmed(self, is_registered: bool, at_ms: int | None) -> None:
        """Set the gauges of the registration to what AMPECO last confirmed."""
        self.registered.set(is_registered)
        self._confirmed_at.set((at_ms or 0) / 1000)

    def of_no_endpoint(self) -> None:
        """Leave out whether an endpoint is ready, and the size of the log, which `LogExposition` has there."""
        for gauge in (self.ready, self._log_bytes, self._log_full, self._log_age):
            self.registry.unregister(gauge)

    def stands(self, found: Standing) -> None:
        """Set the gauges of the log's size."""
        self._log_bytes.set(found.bytes)
        self._log_full.set(bool(found.full))
        self._log_age.set(found.age_s)

    async def exposition(self, of_log: LogExposition) -> bytes:
        """Return all metrics in Prometheus's text format; without those of the log while Redis is away."""
        try:
            found = await of_log()
        except (RedisError, OSError):
            found = b""
        self._redis_up.set(bool(found))
        return found + generate_latest(self.registry)


class ConnectionMetrics:
    """Metrics of the HTTP connections; of both ports, or of a worker's admin port."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.open = Gauge(
            "awr_connections_open",
            "Open connections of senders (public) or operators (admin)",
            ["port"],
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.closed = Counter(
            "awr_connections_closed",
            "Connections that this process closed, by reason",
            ["port", "reason"],
            registry=registry,
        )


_chores = Chores()


async def exposition(log: EventLog, *, size: bool = True) -> bytes:
    """Return the log's metrics in Prometheus's text format; raise RedisError without Redis.

    Args:
        size: with the size of the log, which a receiver has among its own metrics.
    """
    registry, do = CollectorRegistry(), _chores.run
    positions = await do("metrics of handlers", log.handlers()) or []
    registry.register(PositionMetrics(positions))
    if size and (found := await do("metrics of the size", standing(log))) is not None:
        registry.register(SizeMetrics(found))
    if (state := await do("metrics of the log", log_state(log, positions))) is not None:
        registry.register(state)
    if (pairs := await do("metrics of workers", pairs_by_process(log))) is not None:
        registry.register(PairMetrics(pairs))
    if (outages := await do("metrics of outages", known_outages(log))) is not None:
        registry.register(OutageMetrics(outages))
    if (budget := await do("metrics of the budget", budget_standing(log))) is not None:
        registry.register(BudgetMetrics(budget))
    if (gaps := await do("metrics of gaps", recorded_gaps(log))) is not None:
        registry.register(GapMetrics(gaps, await do("metrics of silence", quiet(log))))
    return generate_latest(registry)


class LogExposition:
    """Metrics of the log for one process: read once at a time, and kept for a moment.

    However many ask, and however slow Redis is, it gets one question at a time.

    Args:
        size: with the size of the log.
        clock: monotonic seconds.
    """

    def __init__(
        self, log: EventLog, *, size: bool = True, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._log = log
        self._size = size
        self._clock = clock
        self._reading: asyncio.Task[bytes] | None = None
        self._good_until_s = float("-inf")

    async def __call__(self) -> bytes:
        """Return the metrics, at most `KEPT_S` old.

        Raises:
            redis.RedisError: the log cannot be read. All callers that wait for the same read get this.
        """
        reading = self._reading
        if reading is None or (reading.done() and self._clock() >= self._good_until_s):
            self._good_until_s = float("-inf")
            reading = self._reading = asyncio.create_task(self._read())
        return await asyncio.shield(reading)

    async def _read(self) -> bytes:
        found = await exposition(self._log, size=self._size)
        self._good_until_s = self._clock() + KEPT_S
        return found
