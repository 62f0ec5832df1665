"""Metrics of the rate budget of all processes. They are read from the log, so every process shows the same."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from eventlog.call_budget import BudgetStanding


class BudgetMetrics:
    """What the budget is now, for a registry."""

    def __init__(self, found: BudgetStanding) -> None:
        self._found = found

    def collect(self) -> Iterable[Metric]:
        """Yield the metrics. What no answer of AMPECO said is left out."""
        found = self._found
        calls = CounterMetricFamily(
            "awr_api_calls", "Calls to AMPECO, by share of the rate budget", labels=["share"]
        )
        calls.add_metric(["reserved"], found.reserved)
        calls.add_metric(["ordinary"], found.ordinary)
        yield calls
        yield CounterMetricFamily(
            "awr_api_rate_limited", "Calls to AMPECO that were answered 429", value=found.refused
        )
        yield GaugeMetricFamily(
            "awr_api_paused_seconds", "Time for which AMPECO is not called, since it said so", found.paused_s
        )
        said = {
            "awr_api_limit": (
                "Calls in one period, as AMPECO's answers say; absent while none does",
                found.limit,
            ),
            "awr_api_left": (
                "Calls left in this period; absent while no answer of AMPECO says so",
                found.left,
            ),
            "awr_api_learnt_calls_per_second": (
                "Calls per second after 429s that name no limit; absent without",
                found.learnt_per_s,
            ),
        }
        for name, (says, value) in said.items():
            if value is not None:
                yield GaugeMetricFamily(name, says, value)
