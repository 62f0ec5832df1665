"""What Prometheus is told about deliveries: read from the log when asked, so it is the same from every worker."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from workers.eventlog.log import MISFIT, EventLog, HandlerPosition
from workers.eventlog.standing import Standing, standing

_OUTCOMES = ("done", "skipped", "dead", "retried")


class _Positions:
    def __init__(self, positions: list[HandlerPosition], stands: Standing | None) -> None:
        self._positions = positions
        self._stands = stands

    def collect(self) -> Iterable[Metric]:
        deliveries = CounterMetricFamily(
            "awr_deliveries", "Deliveries by outcome", labels=["handler", "outcome"]
        )
        waiting = GaugeMetricFamily("awr_handler_waiting", "Events after its cursors", labels=["handler"])
        opened = GaugeMetricFamily(
            "awr_handler_open", "Events running, retried or parked", labels=["handler"]
        )
        misfits = CounterMetricFamily(
            "awr_payload_misfits",
            "Settled deliveries of payloads with fields that do not fit",
            labels=["handler", "type"],
        )
        for position in self._positions:
            waiting.add_metric([position.name], position.waiting)
            opened.add_metric([position.name], position.open)
            for outcome in _OUTCOMES:
                deliveries.add_metric([position.name, outcome], position.stats.get(outcome, 0))
            for name, count in position.stats.items():
                if name.startswith(MISFIT):
                    misfits.add_metric([position.name, name.removeprefix(MISFIT)], count)
        return [deliveries, waiting, opened, misfits, *self._log()]

    def _log(self) -> Iterable[Metric]:
        found = self._stands
        if found is None:
            return
        yield GaugeMetricFamily("awr_log_bytes", "Bytes of the log in Redis", found.bytes)
        yield GaugeMetricFamily(
            "awr_log_full", "1 when nothing is appended for lack of room", bool(found.full)
        )
        yield GaugeMetricFamily(
            "awr_log_oldest_event_age_seconds", "Age of the oldest kept event", found.age_s
        )


async def exposition(log: EventLog) -> bytes:
    """Deliveries and positions of all handlers in Prometheus's text format.

    Raises:
        redis.RedisError: the log cannot be read.
    """
    registry = CollectorRegistry()
    registry.register(_Positions(await log.handlers(), await standing(log)))
    return generate_latest(registry)
