"""Metrics of the log as a whole: its handlers, workers, queues, and the Redis that holds it.

Every admin port exposes the same numbers, so a query takes their `max`, never their sum. What a process counts for
itself is in `metrics.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric

from eventlog.handler_faults import faulty_by_name
from eventlog.inspection.serving import is_served
from eventlog.log import EventLog
from eventlog.operation.handlers import pauses
from eventlog.presence import Process, present, served_names
from eventlog.registry import LATENCY_BOUNDS_MS, SETTLED_WITHIN, HandlerPosition

_ENDED = ("done", "skipped", "dead")


@dataclass(frozen=True, eq=False)
class LogState:
    """What is read of the log for one scrape.

    Attributes:
        paused: names of the handlers that an operator paused.
        live: worker processes.
        jobs: wake-ups that wait, by RQ queue.
        memory: the section `memory` of Redis's INFO.
        persistence: its section `persistence`. Fields that a server leaves out of either have no metric.
    """

    positions: Sequence[HandlerPosition]
    paused: frozenset[str] = frozenset()
    live: Sequence[Process] = ()
    jobs: Mapping[str, int] = field(default_factory=dict)
    memory: Mapping[str, Any] = field(default_factory=dict)
    persistence: Mapping[str, Any] = field(default_factory=dict)

    def collect(self) -> Iterable[Metric]:
        """Yield the metrics, for prometheus_client."""
        yield from self._of_handlers()
        yield from self._of_workers()
        yield from self._of_redis()

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
        for position in self.positions:
            dead.add_metric([position.name], position.dead)
            paused.add_metric([position.name], position.name in self.paused)
            served.add_metric([position.name], is_served(position, serving))
        yield from (dead, paused, served, faulty, self._settled_seconds())

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
        if "aof_last_write_status" in self.persistence:
            healthy = all(
                self.persistence.get(name, "ok") == "ok"
                for name in ("aof_last_write_status", "aof_last_bgrewrite_status")
            )
            yield GaugeMetricFamily(
                "awr_redis_persistence_ok", "1 while Redis can write its append-only file", value=healthy
            )


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
        *lengths, memory, persistence = await asked.execute()
    return LogState(
        positions,
        frozenset(await pauses(log)),
        await present(log),
        dict(zip(queues, lengths, strict=True)),
        memory,
        persistence,
    )
