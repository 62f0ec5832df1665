"""Metrics of outages: services that are away, and what is held for them or for too much in `open`."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.core import GaugeMetricFamily, Metric

from eventlog.outages import Known


class OutageMetrics:
    """What handlers need and is away, and what is held for that or for too much in `open`."""

    def __init__(self, known: Known) -> None:
        self._known = known

    def collect(self) -> Iterable[Metric]:
        away = GaugeMetricFamily(
            "awr_service_away",
            "1 while AMPECO, or what a handler calls unavailable, is away",
            labels=["service"],
        )
        held = GaugeMetricFamily(
            "awr_handler_held",
            "1 while a handler is held since a service is away",
            labels=["handler", "service"],
        )
        lanes = GaugeMetricFamily(
            "awr_handler_lanes_held", "Lanes of a handler that have too much open", labels=["handler"]
        )
        for name, outage in self._known.outages.items():
            away.add_metric([name], outage.away_ms is not None)
        for handler, why in self._known.away.items():
            held.add_metric([handler, why.service], 1)
        for handler in sorted({hold.handler for hold in self._known.holds if hold.lane is not None}):
            lanes.add_metric([handler], self._known.lanes_held(handler))
        return [away, held, lanes]
