"""Metrics of what may be missing: gaps by state, and silence. They are read from the log."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from prometheus_client.core import GaugeMetricFamily, Metric

from eventlog.inspection.gaps import Gap
from eventlog.silence import Quiet


class GapMetrics:
    """Recorded gaps and the present silence, for a registry."""

    def __init__(self, gaps: Sequence[Gap], found: Quiet | None) -> None:
        self._gaps = gaps
        self._quiet = found

    def collect(self) -> Iterable[Metric]:
        """Yield the metrics, for prometheus_client."""
        gaps = GaugeMetricFamily(
            "awr_gaps", "Recorded gaps: open, closed with proof, or unproven", labels=["state"]
        )
        lengths = GaugeMetricFamily(
            "awr_gap_seconds", "Time that recorded gaps cover, added up, by state", labels=["state"]
        )
        for state in ("open", "closed", "unproven"):
            covered_ms = [gap.to_ms - gap.from_ms for gap in self._gaps if gap.state == state]
            gaps.add_metric([state], len(covered_ms))
            lengths.add_metric([state], sum(covered_ms) / 1000)
        yield from (gaps, lengths)
        if self._quiet is not None:
            yield GaugeMetricFamily(
                "awr_silence_expected_events",
                "Events that usually arrive in the time since the last one",
                self._quiet.expected,
            )
            yield GaugeMetricFamily(
                "awr_silent", "1 while far fewer events arrive than usual in this hour", self._quiet.is_silent
            )
