"""Sends the metrics of `/metrics` to a collector by OTLP, once a minute, under the same names and labels."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import threading
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import export as otel
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from commands.telemetry.tracer import SERVICE, resource

_INTERVAL = "OTEL_METRIC_EXPORT_INTERVAL"
_USUAL_MS = 60_000
_ANSWER_S = 10.0  # for our own metrics to be read
_UNKNOWN_START = 0  # counters of the log began before this process, and do not begin again with it
_CUMULATIVE = otel.AggregationTemporality.CUMULATIVE

Labels = tuple[tuple[str, str], ...]


class MetricsExport:
    """A thread that sends the metrics of this process.

    Args:
        exposition: returns the metrics as text; called in the running loop.

    Raises:
        ValueError: an OTEL_ variable is refused.
    """

    def __init__(self, exposition: Callable[[], Awaitable[bytes]]) -> None:
        self._interval_s = _interval_ms() / 1000
        self._exposition = exposition
        self._exporter = OTLPMetricExporter()
        self._resource = resource()
        self._loop = asyncio.get_running_loop()
        self._stop = threading.Event()
        threading.Thread(target=self._run, name="metrics", daemon=True).start()

    def close(self) -> None:
        """Stop sending, without waiting."""
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.wait(self._interval_s):
            reading = asyncio.run_coroutine_threadsafe(self._read(), self._loop)
            try:
                text = reading.result(_ANSWER_S)
            except (TimeoutError, concurrent.futures.CancelledError):
                continue
            self._exporter.export(self._data(text.decode()))

    async def _read(self) -> bytes:
        return await self._exposition()

    def _data(self, text: str) -> otel.MetricsData:
        scope = otel.ScopeMetrics(InstrumentationScope(SERVICE), list(converted(text, time.time_ns())), "")
        return otel.MetricsData([otel.ResourceMetrics(self._resource, [scope], "")])


def converted(text: str, at_ns: int) -> Iterator[otel.Metric]:
    """Yield the metrics of an exposition as OpenTelemetry has them.

    Args:
        text: in Prometheus's format.
        at_ns: when it was read, Unix time in nanoseconds.
    """
    for family in text_string_to_metric_families(text):
        if family.type == "histogram":
            data: otel.DataT = otel.Histogram(list(_histograms(family, at_ns)), _CUMULATIVE)
        else:
            points = [
                otel.NumberDataPoint(dict(sample.labels), _UNKNOWN_START, at_ns, sample.value)
                for sample in family.samples
            ]
            data = otel.Sum(points, _CUMULATIVE, True) if family.type == "counter" else otel.Gauge(points)
        yield otel.Metric(family.name, family.documentation, "", data)


def _histograms(family: Metric, at_ns: int) -> Iterator[otel.HistogramDataPoint]:
    """Yield one point for each set of labels. Prometheus's buckets hold all smaller ones, those of OTLP do not."""
    buckets: dict[Labels, list[tuple[float, float]]] = defaultdict(list)
    sums: dict[Labels, float] = {}
    for sample in family.samples:
        labels = tuple(sorted((name, value) for name, value in sample.labels.items() if name != "le"))
        if sample.name.endswith("_bucket"):
            buckets[labels].append((float(sample.labels["le"]), sample.value))
        elif sample.name.endswith("_sum"):
            sums[labels] = sample.value
    for labels, those in buckets.items():
        bounds, counts, before = [], [], 0.0
        for bound, total in sorted(those):
            bounds.append(bound)
            counts.append(round(total - before))
            before = total
        yield otel.HistogramDataPoint(
            attributes=dict(labels),
            start_time_unix_nano=_UNKNOWN_START,
            time_unix_nano=at_ns,
            count=round(before),
            sum=sums.get(labels),  # type: ignore[arg-type]  # optional in OTLP; Redis keeps none of some
            bucket_counts=counts,
            explicit_bounds=bounds[:-1],
            min=None,  # type: ignore[arg-type]
            max=None,  # type: ignore[arg-type]
        )


def _interval_ms() -> float:
    text = os.environ.get(_INTERVAL, "").strip()
    value = float(text) if text else _USUAL_MS
    if not 0 < value < float("inf"):
        raise ValueError(f"{_INTERVAL} must be a positive number of milliseconds")
    return value
