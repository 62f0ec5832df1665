"""Metrics of the log as a whole: its size, handlers, workers, queues, and the Redis that holds it.

Every admin port exposes the same numbers, so a query takes their `max`, never their sum. What a process counts for
itself is in `metrics.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from ampeco.catalogue import KNOWN_TYPES
from eventlog.handler_faults import faulty_by_name
from eventlog.inspection.events import read_counts
from eventlog.inspection.last_events import newest_at_ms
from eventlog.inspection.serving import is_served
from eventlog.log import EventLog
from eventlog.operation.handlers import pauses
from eventlog.presence import Condition, Process, present, served_names
from eventlog.registry import LATENCY_BOUNDS_MS, SETTLED_WITHIN, HandlerPosition
from eventlog.usage import Standing
from receiver.attempt_metrics import api_call_seconds, attempts_failed, run_seconds

LOG_BYTES = ("awr_log_bytes", "Bytes of the log in Redis")
LOG_FULL = ("awr_log_full", "1 when the log is full and takes no more events")
LOG_AGE = ("awr_log_oldest_event_age_seconds", "Age of the oldest kept event")
_ENDED = ("done", "skipped", "dead")
_OTHER = "(other)"


class SizeMetrics:
    """The size of the log, for a registry. A receiver has it among its own metrics."""

    def __init__(self, found: Standing) -> None:
        self._found = found

    def collect(self) -> Iterable[Metric]:
        """Yield the metrics, for prometheus_client."""
        yield GaugeMetricFamily(*LOG_BYTES, self._found.bytes)
        yield GaugeMetricFamily(*LOG_FULL, bool(self._found.full))
        yield GaugeMetricFamily(*LOG_AGE, self._found.age_s)


@dataclass(frozen=True, eq=False)
class LogState:
    """The state of the log as one scrape reads it.

    Attributes:
        paused: names of the handlers that an operator paused.
        live: worker processes.
        jobs: wake-ups that wait, by RQ queue.
        memory: the section `memory` of Redis's INFO.
        persistence, stats: its sections of these names. Fields that a server leaves out have no metric.
        accepted: events that were ever accepted, by type.
        newest_ms: when the newest event arrived, Unix time in milliseconds; None without one.
    """

    positions: Sequence[HandlerPosition]
    paused: frozenset[str] = frozenset()
    live: Sequence[Process] = ()
    jobs: Mapping[str, int] = field(default_factory=dict)
    memory: Mapping[str, Any] = field(default_factory=dict)
    persistence: Mapping[str, Any] = field(default_factory=dict)
    stats: Mapping[str, Any] = field(default_factory=dict)
    accepted: Mapping[str, int] = field(default_factory=dict)
    newest_ms: int | None = None

    def collect(self) -> Iterable[Metric]:
        """Yield the metrics, for prometheus_client."""
        yield from self._of_events()
        yield from self._of_handlers()
        yield from self._of_workers()
        yield from self._of_redis()

    def _of_events(self) -> Iterable[Metric]:
        accepted = CounterMetricFamily(
            "awr_log_events",
            "Events ever accepted into the log; a type that the contract does not have is `(other)`",
            labels=["type"],
        )
        counts = Counter({_OTHER: 0})
        for name, number in self.accepted.items():
            counts[name if name in KNOWN_TYPES else _OTHER] += number
        for name in sorted(counts):
            accepted.add_metric([name], counts[name])
        yield accepted
        if self.newest_ms is not None:
            yield GaugeMetricFamily(
                "awr_last_event_timestamp_seconds",
                "Unix time at which the newest event arrived; absent while there is none",
                value=self.newest_ms / 1000,
            )

    def _of_handlers(self) -> Iterable[Metric]:
        dead = GaugeMetricFamily("awr_handler_dead", "Dead letters that are kept", labels=["handler"])
        paused = GaugeMetricFamily(
            "awr_handler_paused", "1 while an operator keeps the handler paused", labels=["handler"]
        )
        served = GaugeMetricFamily(
            "awr_handler_served", "1 while a worker serves the handler's queue with it", labels=["handler"]
        )
        serving = served_names(self.live)
        faulty = GaugeMetricFamily(
            "awr_handler_faulty",
            "1 while a worker cannot run the handler, or load the plugin of this name",
            labels=["handler"],
        )
        faults = faulty_by_name(self.live)
        for name in sorted({*faults, *(position.name for position in self.positions)}):
            faulty.add_metric([name], name in faults)
        retrying = GaugeMetricFamily(
            "awr_handler_retrying",
            "Open events with a time of their own: retries and replays",
            labels=["handler"],
        )
        parked = GaugeMetricFamily(
            "awr_handler_parked",
            "Open events that wait behind an earlier one of their entity; not exact during an upgrade",
            labels=["handler"],
        )
        for position in self.positions:
            dead.add_metric([position.name], position.dead)
            paused.add_metric([position.name], position.name in self.paused)
            retrying.add_metric([position.name], position.retrying)
            parked.add_metric([position.name], position.parked)
            served.add_metric([position.name], is_served(position, serving))
        yield from (dead, paused, served, retrying, parked, faulty, self._settled_seconds())
        yield from (
            run_seconds(self.positions),
            attempts_failed(self.positions),
            api_call_seconds(self.positions),
        )

    def _settled_seconds(self) -> Metric:
        """From the acceptance of an event to its end at a handler. Redis keeps no sum of it, so there is none."""
        metric = HistogramMetricFamily(
            "awr_handler_settled_seconds",
            "Seconds from acceptance to the end of a delivery",
            labels=["handler"],
        )
        for position in self.positions:
            total, buckets = 0, []
            for bound_ms in LATENCY_BOUNDS_MS:
                total += position.stats.get(f"{SETTLED_WITHIN}{bound_ms}", 0)
                buckets.append((f"{bound_ms / 1000:g}", float(total)))
            ended = sum(position.stats.get(outcome, 0) for outcome in _ENDED)
            metric.add_metric([position.name], [*buckets, ("+Inf", float(max(total, ended)))], None)
        return metric

    def _of_workers(self) -> Iterable[Metric]:
        workers = GaugeMetricFamily("awr_workers_live", "Live worker processes", labels=["queue"])
        counts = Counter(process.queue for process in self.live)
        for queue in sorted({*counts, *(name for name in self.jobs)}):
            workers.add_metric([queue], counts[queue])
        jobs = GaugeMetricFamily("awr_rq_queue_jobs", "Wake-ups that wait in an RQ queue", labels=["queue"])
        for queue, number in self.jobs.items():
            jobs.add_metric([queue], number)
        yield from (workers, jobs)
        yield from _conditions(self.live)

    def _of_redis(self) -> Iterable[Metric]:
        if "used_memory" in self.memory:
            yield GaugeMetricFamily(
                "awr_redis_memory_used_bytes", "Memory that Redis uses", value=self.memory["used_memory"]
            )
            yield GaugeMetricFamily(
                "awr_redis_memory_max_bytes",
                "Redis's maxmemory; 0 for none",
                value=self.memory.get("maxmemory", 0),
            )
        if "evicted_keys" in self.stats:
            yield CounterMetricFamily(
                "awr_redis_evicted_keys",
                "Keys that Redis deleted by itself since it started",
                value=self.stats["evicted_keys"],
            )
        if "aof_last_write_status" in self.persistence:
            healthy = all(
                self.persistence.get(name, "ok") == "ok"
                for name in ("aof_last_write_status", "aof_last_bgrewrite_status")
            )
            yield GaugeMetricFamily(
                "awr_redis_persistence_ok", "1 while Redis can write its append-only file", value=healthy
            )


def _conditions(live: Sequence[Process]) -> Sequence[Metric]:
    """The health of each live worker process.

    Forks for isolated handlers share a label, and the worst of them counts.
    """
    lag = GaugeMetricFamily(
        "awr_worker_loop_lag_seconds",
        "Longest delay of a worker process's event loop in the last 15 to 30 seconds",
        labels=["process"],
    )
    lost = CounterMetricFamily(
        "awr_worker_leases_lost",
        "Drains of a live worker process that lost their lease",
        labels=["process"],
    )
    faulty = GaugeMetricFamily(
        "awr_worker_faulty_plugins",
        "Plugins and handlers that a live worker process could not load or make ready",
        labels=["process"],
    )
    found: dict[str, list[Condition]] = {}
    for process in live:
        if process.condition is not None:
            found.setdefault(process.label, []).append(process.condition)
    for label, those in sorted(found.items()):
        lag.add_metric([label], max(how.loop_lag_s for how in those))
        lost.add_metric([label], max(how.leases_lost for how in those))
        faulty.add_metric([label], max(how.faulty for how in those))
    return lag, lost, faulty


async def log_state(log: EventLog, positions: Sequence[HandlerPosition]) -> LogState:
    """Read the rest of the state of a log.

    Args:
        positions: of all handlers, which the caller has read.

    Raises:
        redis.RedisError: the log cannot be read, or INFO is forbidden.
    """
    queues = sorted(name.decode() for name in await log.redis.smembers(log.key("queues")))
    async with log.redis.pipeline(transaction=False) as asked:
        for name in queues:
            asked.llen(f"{log.key('rq', 'queue')}:{name}")
        asked.info("memory")
        asked.info("persistence")
        asked.info("stats")
        *lengths, memory, persistence, stats = await asked.execute()
    return LogState(
        positions,
        frozenset(await pauses(log)),
        await present(log),
        dict(zip(queues, lengths, strict=True)),
        memory,
        persistence,
        stats,
        (await read_counts(log)).by_type,
        await newest_at_ms(log),
    )
