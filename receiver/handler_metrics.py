"""Metrics of handlers: the position of each, how its deliveries end, and which processes work on it.

They are read from the log, so every process shows the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from eventlog.registry import KEY_FAILED, LOOP_GUARD, MISFIT, HandlerPosition

_OUTCOMES = ("done", "skipped", "superseded", "dead", "retried")


class PositionMetrics:
    """The position of each handler, for a registry."""

    def __init__(self, positions: Sequence[HandlerPosition]) -> None:
        self._positions = positions

    def collect(self) -> Iterable[Metric]:
        """Yield the metrics, for prometheus_client."""
        deliveries = CounterMetricFamily(
            "awr_deliveries", "Deliveries by outcome", labels=["handler", "outcome"]
        )
        waiting = GaugeMetricFamily(
            "awr_handler_waiting", "Wanted events not reached yet", labels=["handler"]
        )
        age = GaugeMetricFamily(
            "awr_handler_oldest_event_age_seconds",
            "Age of the oldest wanted event that is not settled; 0 without one",
            labels=["handler"],
        )
        waiting_exact = GaugeMetricFamily(
            "awr_handler_waiting_exact",
            "0 while awr_handler_waiting is an upper bound, since it is counted",
            labels=["handler"],
        )
        age_exact = GaugeMetricFamily(
            "awr_handler_oldest_event_age_exact",
            "0 while awr_handler_oldest_event_age_seconds is an upper bound",
            labels=["handler"],
        )
        waiting_age = GaugeMetricFamily(
            "awr_handler_waiting_age_seconds",
            "Age of the oldest event of awr_handler_waiting, at most; 0 without one",
            labels=["handler"],
        )
        opened = GaugeMetricFamily(
            "awr_handler_open", "Events that run, wait for a retry, or are parked", labels=["handler"]
        )
        misfits = CounterMetricFamily(
            "awr_payload_misfits",
            "Settled deliveries whose payload had fields of a wrong kind",
            labels=["handler", "type"],
        )
        guarded = CounterMetricFamily(
            "awr_loop_guarded", "Attempts whose action the loop guard held back", labels=["handler"]
        )
        keyless = CounterMetricFamily(
            "awr_handler_key_failed",
            "Settled deliveries for which the key= of the handler gave no key",
            labels=["handler"],
        )
        for position in self._positions:
            if KEY_FAILED in position.stats:
                keyless.add_metric([position.name], position.stats[KEY_FAILED])
            if LOOP_GUARD in position.stats:
                guarded.add_metric([position.name], position.stats[LOOP_GUARD])
            waiting.add_metric([position.name], position.waiting)
            opened.add_metric([position.name], position.open)
            age.add_metric([position.name], position.oldest_age_s or 0.0)
            waiting_age.add_metric([position.name], position.waiting_age_s or 0.0)
            waiting_exact.add_metric([position.name], position.waiting_is_exact)
            age_exact.add_metric([position.name], position.oldest_is_exact)
            for outcome in _OUTCOMES:
                deliveries.add_metric([position.name, outcome], position.stats.get(outcome, 0))
            for name, count in position.stats.items():
                if name.startswith(MISFIT):
                    misfits.add_metric([position.name, name.removeprefix(MISFIT)], count)
        yield from (deliveries, waiting, waiting_exact, waiting_age, opened, age, age_exact)
        yield from (misfits, guarded, keyless)


class PairMetrics:
    """The pairs of each handler that a process works on, for a registry."""

    def __init__(self, pairs: Mapping[str, Mapping[str, int]]) -> None:
        self._pairs = pairs

    def collect(self) -> Iterable[Metric]:
        """Return the metrics, for prometheus_client."""
        metric = GaugeMetricFamily(
            "awr_handler_pairs",
            "Lanes of a handler that a live process works on",
            labels=["handler", "process"],
        )
        for handler, processes in self._pairs.items():
            for process, number in processes.items():
                metric.add_metric([handler, process], number)
        return [metric]
