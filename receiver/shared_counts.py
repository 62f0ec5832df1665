"""Counting in several processes: each into files of one folder, which outlive it, and one of them all reads them.

This is the multiprocess mode of prometheus_client, with a process's place among its siblings instead of its process
id: whoever takes the place of a process that died goes on with its counts. So nothing goes backwards, not even by
what was counted a moment before a SIGKILL, and files do not pile up.
"""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, generate_latest, values
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from receiver.metrics import READY

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""Environment name of the folder; prometheus_client reads it."""


def count_into(place: str) -> None:
    """Let this process count in the folder of its environment; before its first metric is made.

    Args:
        place: of this process among its siblings; one live process at a time has it.
    """
    values.ValueClass = values.MultiProcessValue(lambda: place)  # type: ignore[no-untyped-call]


def ended(folder: str, place: str) -> None:
    """A process has ended: what it counted stays, what it said of its own state does not."""
    mark_process_dead(place, folder)  # type: ignore[no-untyped-call]


def exposition(folder: str, *, ready: bool) -> bytes:
    """What all of them counted, in Prometheus's text format.

    Args:
        ready: what `awr_ready` is to say; a process that is not there cannot say that it is not.
    """
    registry = CollectorRegistry()
    registry.register(_Together(folder, ready))
    return generate_latest(registry)


class _Together:
    def __init__(self, folder: str, ready: bool) -> None:
        self._folder = folder
        self._ready = ready

    def collect(self) -> Iterable[Metric]:
        for metric in MultiProcessCollector(None, self._folder).collect():  # type: ignore[no-untyped-call]
            if metric.name != READY[0]:
                yield metric
        yield GaugeMetricFamily(*READY, value=self._ready)
