"""Metrics of child processes: memory, processor time and open files of each, read by their parent."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

_KINDS: Mapping[str, tuple[type[CounterMetricFamily] | type[GaugeMetricFamily], str]] = {
    "cpu_seconds": (CounterMetricFamily, "Processor time of a child process"),
    "resident_memory_bytes": (GaugeMetricFamily, "Resident memory of a child process"),
    "open_fds": (GaugeMetricFamily, "Open files of a child process"),
    "start_time_seconds": (GaugeMetricFamily, "Unix time at which a child process started"),
}


class ChildProcesses:
    """Collects the metrics of the children that run.

    Args:
        pids: returns the process id of each child by its name; None for one that does not run.
    """

    def __init__(self, pids: Callable[[], Mapping[str, int | None]]) -> None:
        self._pids = pids

    def collect(self) -> Iterable[Metric]:
        """Yield the metrics, for prometheus_client."""
        families = {
            name: kind(f"awr_child_{name}", help_text, labels=["child"])
            for name, (kind, help_text) in _KINDS.items()
        }
        for child, pid in sorted(self._pids().items()):
            if pid is None:
                continue
            for found in _metrics_of(pid):
                family = families.get(found.name.removeprefix("process_"))
                if family is not None:
                    for sample in found.samples:
                        family.add_metric([child], sample.value)
        return families.values()


def _metrics_of(pid: int) -> Iterable[Metric]:
    """Return what the system says of a process; nothing when it has ended."""
    return ProcessCollector(pid=lambda: pid, registry=CollectorRegistry()).collect()
