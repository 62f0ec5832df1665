"""Makes series for `promtool test rules` of what processes really exposed, healthy and faulty.

A state is two scrapes. In the series it lasts for many minutes: gauges keep the value of the second scrape, and
counters grow each minute by the difference of the two.
"""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.meta.observability import ALERTS

Scrape = Mapping[str, float]
"""A series with all its labels, as PromQL writes it -> its value."""

HEALTHY_MIN, RECOVERED_MIN = 70, 100
_NAMES = frozenset(re.findall(r"\bawr_[a-z0-9_]+", ALERTS.read_text()))


@dataclass(frozen=True)
class State:
    """What was scraped at the begin and at the end of a state."""

    first: Scrape
    second: Scrape

    def value(self, series: str, minute: int, start: float) -> float | None:
        """Return a value of a series; None when it is not exposed.

        Args:
            minute: since the begin of the state.
            start: value of a counter at the begin.
        """
        if series not in self.second:
            return None
        if not _is_counter(series):
            return self.second[series]
        return start + minute * (self.second[series] - self.first.get(series, 0.0))


@dataclass(frozen=True)
class Fault:
    """One fault: the states before, during and after it, and the alert that tells of it.

    Attributes:
        lasts_min: for how long the fault lasts until the alert has to fire, in minutes.
    """

    alert: str
    healthy: State
    faulty: State
    recovered: State
    lasts_min: int = 20

    def test(self) -> dict[str, Any]:
        """Return the group of a promtool test file: nothing fires, the alert fires, the alert clears."""
        faulty_until = HEALTHY_MIN + self.lasts_min
        end = faulty_until + RECOVERED_MIN
        this = f'group by (alertname) (ALERTS{{alertname="{self.alert}", alertstate="firing"}})'
        fired = [{"labels": f'{{alertname="{self.alert}"}}', "value": 1}]
        return {
            "name": self.alert,
            "interval": "1m",
            "input_series": [
                {"series": series, "values": " ".join(self._values(series))} for series in sorted(self._all())
            ],
            "promql_expr_test": [
                {
                    "expr": 'group by (alertname) (ALERTS{alertstate="firing"})',
                    "eval_time": f"{HEALTHY_MIN - 1}m",
                    "exp_samples": [],
                },
                {"expr": this, "eval_time": f"{faulty_until - 1}m", "exp_samples": fired},
                {"expr": this, "eval_time": f"{end - 1}m", "exp_samples": []},
            ],
        }

    def _all(self) -> set[str]:
        states = (self.healthy, self.faulty, self.recovered)
        return {series for state in states for series in state.second}

    def _values(self, series: str) -> Iterator[str]:
        """Yield one value a minute. A counter goes on where the state before it ended."""
        level, is_there = next((s.first[series] for s in self._states() if series in s.first), 0.0), False
        lasting = (HEALTHY_MIN, self.lasts_min, RECOVERED_MIN)
        for state, minutes in zip(self._states(), lasting, strict=True):
            for minute in range(minutes):
                value = state.value(series, minute, level)
                yield f"{value:g}" if value is not None else "stale" if is_there else "_"
                is_there = value is not None
            if _is_counter(series) and (value := state.value(series, minutes, level)) is not None:
                level = value

    def _states(self) -> tuple[State, State, State]:
        return self.healthy, self.faulty, self.recovered


def promtool_file(faults: list[Fault]) -> str:
    """Return a file for `promtool test rules`."""
    return yaml.safe_dump(
        {
            "rule_files": [str(ALERTS)],
            "evaluation_interval": "1m",
            "tests": [fault.test() for fault in faults],
        },
        sort_keys=False,
        width=1_000_000,
    )


def scraped(pods: Mapping[str, int]) -> Scrape:
    """Scrape admin ports, by the name of the pod; return the series that alerts ask for."""
    found = {}
    for pod, port in pods.items():
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
            text = answer.read().decode()
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name in _NAMES:
                    found[_series(sample.name, {**sample.labels, "pod": pod})] = sample.value
    return found


def _series(name: str, labels: Mapping[str, str]) -> str:
    inner = ", ".join(f'{label}="{value}"' for label, value in sorted(labels.items()))
    return f'{name}{{namespace="n", {inner}}}'


def _is_counter(series: str) -> bool:
    return series.partition("{")[0].endswith("_total")
