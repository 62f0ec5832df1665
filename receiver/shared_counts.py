"""Metrics of several processes: each counts into files of one folder, and the parent reads them all.

This is the multiprocess mode of prometheus_client, with one change: a process's place (`serve-1`) stands for its
process id. A process that replaces a dead one continues its counts. So counters never go backwards, even after a
SIGKILL, and the number of files stays the same.
"""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, generate_latest, values
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from receiver.metrics import READY, REDIS_UP

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""Environment name of the folder; prometheus_client reads it."""


def count_into(place: str) -> None:
    """Make this process count into the folder named by `FOLDER`. Call it before the first metric is created.

    Args:
        place: name of this process among its siblings. At most one live process has it.
    """
    values.ValueClass = values.MultiProcessValue(lambda: place)  # type: ignore[no-untyped-call]


def ended(folder: str, place: str) -> None:
    """Drop the gauges of a process that ended; keep its counts."""
    mark_process_dead(place, folder)  # type: ignore[no-untyped-call]


def exposition(folder: str, *, ready: bool, redis_up: bool) -> bytes:
    """Return the metrics of all processes as text.

    Args:
        ready: known to the parent only: a dead process cannot report itself.
        redis_up: whether Redis answered this scrape, which only the parent answers.
    """
    registry = CollectorRegistry()
    registry.register(_Together(folder, ready, redis_up))
    return generate_latest(registry)


class _Together:
    def __init__(self, folder: str, ready: bool, redis_up: bool) -> None:
        self._folder = folder
        self._own = {READY: ready, REDIS_UP: redis_up}

    def collect(self) -> Iterable[Metric]:
        for metric in MultiProcessCollector(None, self._folder).collect():  # type: ignore[no-untyped-call]
            if metric.name not in {name for name, _ in self._own}:
                yield metric
        for (name, meaning), value in self._own.items():
            yield GaugeMetricFamily(name, meaning, value=value)
