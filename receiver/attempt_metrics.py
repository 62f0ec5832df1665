"""Metrics of attempts and of their calls to AMPECO, from the counters that workers keep in the log."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric

from eventlog.registry import (
    CALL,
    CALL_BOUNDS_MS,
    CALL_MS,
    FAILED,
    RAN_US,
    RAN_WITHIN,
    RUN_BOUNDS_MS,
    HandlerPosition,
)


def run_seconds(positions: Sequence[HandlerPosition]) -> Metric:
    """Return how long attempts ran, by handler."""
    metric = HistogramMetricFamily(
        "awr_handler_run_seconds", "Seconds that an attempt of a handler ran", labels=["handler"]
    )
    for position in positions:
        stats = position.stats
        counts = {str(bound): stats.get(f"{RAN_WITHIN}{bound}", 0) for bound in (*RUN_BOUNDS_MS, "")}
        buckets = _buckets(counts, RUN_BOUNDS_MS)
        metric.add_metric([position.name], buckets, stats.get(RAN_US, 0) / 1_000_000)
    return metric


def attempts_failed(positions: Sequence[HandlerPosition]) -> Metric:
    """Return how many attempts did not succeed, by handler and reason."""
    metric = CounterMetricFamily(
        "awr_attempts_failed",
        "Attempts that ended with a retry or a dead letter, by reason",
        labels=["handler", "reason"],
    )
    for position in positions:
        for name, number in sorted(position.stats.items()):
            if name.startswith(FAILED):
                metric.add_metric([position.name, name.removeprefix(FAILED)], number)
    return metric


def api_call_seconds(positions: Sequence[HandlerPosition]) -> Metric:
    """Return how long calls of handlers to AMPECO took, by operation and status class; of all handlers together."""
    metric = HistogramMetricFamily(
        "awr_api_call_seconds",
        "Seconds that a call of a handler to AMPECO took; without an answer, `status` says why",
        labels=["operation", "status"],
    )
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    took_ms: Counter[str] = Counter()
    for position in positions:
        for name, number in position.stats.items():
            if name.startswith(CALL):
                call, _, bound = name.removeprefix(CALL).rpartition("|")
                counts[call][bound] += number
            elif name.startswith(CALL_MS):
                took_ms[name.removeprefix(CALL_MS)] += number
    for call in sorted(counts):
        operation, _, status = call.rpartition("|")
        metric.add_metric([operation, status], _buckets(counts[call], CALL_BOUNDS_MS), took_ms[call] / 1000)
    return metric


def _buckets(counts: Mapping[str, int], bounds_ms: Sequence[int]) -> list[tuple[str, float]]:
    """Return cumulative buckets.

    Args:
        counts: by bound in milliseconds as text; the empty text stands for no bound.
    """
    total, buckets = 0, []
    for bound_ms in bounds_ms:
        total += counts.get(str(bound_ms), 0)
        buckets.append((f"{bound_ms / 1000:g}", float(total)))
    return [*buckets, ("+Inf", float(total + counts.get("", 0)))]
