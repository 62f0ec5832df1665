"""What was measured, what it is expected to be, and both as a table for people or as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from benchmarks.door import Measured

_NAME_WIDTH = 50


@dataclass
class Series:
    """One thing, measured once per round; shown as medians."""

    title: str
    per_s: list[float] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)
    p50_ms: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)

    def add(self, measured: Measured) -> None:
        self.per_s.append(measured.load.per_s)
        self.p50_ms.append(measured.load.quantile_ms(0.5))
        self.p99_ms.append(measured.load.quantile_ms(0.99))
        if measured.busy is not None:
            self.busy.append(measured.busy)

    @property
    def per_cpu_s(self) -> list[float]:
        """Per second of processor time: what is left to compare where others want the same core."""
        return [per_s / max(busy, 0.01) for per_s, busy in zip(self.per_s, self.busy, strict=True)]

    def row(self) -> str:
        cells = [f"{median(self.per_s):,.0f}", f"{min(self.per_s):,.0f}..{max(self.per_s):,.0f}"]
        cells += [f"{median(self.busy):.0%}", f"{median(self.per_cpu_s):,.0f}"] if self.busy else ["", ""]
        cells += [f"{median(values):.1f}" if values else "" for values in (self.p50_ms, self.p99_ms)]
        widths = (9, 17, 6, 9, 8, 8)
        columns = "".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True))
        return f"{self.title:<{_NAME_WIDTH}}{columns}".rstrip()

    def to_json(self) -> dict[str, Any]:
        return {
            "title": self.title,
            "per_s": round(median(self.per_s), 1),
            "per_s_of_each_round": [round(value, 1) for value in self.per_s],
            "busy": round(median(self.busy), 3) if self.busy else None,
            "per_cpu_s": round(median(self.per_cpu_s), 1) if self.busy else None,
            "p50_ms": round(median(self.p50_ms), 2) if self.p50_ms else None,
            "p99_ms": round(median(self.p99_ms), 2) if self.p99_ms else None,
        }


@dataclass(frozen=True)
class Ratio:
    """One series over another. The median of the rounds' ratios: what disturbs a round disturbs both."""

    title: str
    ours: Sequence[float]
    theirs: Sequence[float]
    expected: float

    @property
    def value(self) -> float:
        return median(a / b for a, b in zip(self.ours, self.theirs, strict=True))

    @property
    def verdict(self) -> str:
        return "PASS" if self.value >= self.expected else "MISS"

    def row(self) -> str:
        return f"{self.title:<{_NAME_WIDTH}}{self.value:9.2f}{f'>= {self.expected:g}':>17}  {self.verdict}"

    def to_json(self) -> dict[str, Any]:
        return {
            "title": self.title,
            "value": round(self.value, 3),
            "expected": self.expected,
            "verdict": self.verdict,
        }


@dataclass(frozen=True)
class Bound:
    """One figure per round that must not exceed something; the median counts."""

    title: str
    values: Sequence[float]
    at_most: float

    @property
    def value(self) -> float:
        return median(self.values)

    @property
    def verdict(self) -> str:
        return "PASS" if self.value <= self.at_most else "MISS"

    def row(self) -> str:
        return f"{self.title:<{_NAME_WIDTH}}{self.value:9.2f}{f'<= {self.at_most:g}':>17}  {self.verdict}"

    def to_json(self) -> dict[str, Any]:
        return {
            "title": self.title,
            "value": round(self.value, 3),
            "at_most": self.at_most,
            "verdict": self.verdict,
        }


@dataclass(frozen=True)
class Report:
    """The whole run."""

    machine: dict[str, Any]
    conditions: dict[str, Any]
    series: Sequence[Series]
    ratios: Sequence[Ratio | Bound]
    notes: Sequence[str]

    def to_json(self) -> str:
        document = {
            "machine": self.machine,
            "conditions": self.conditions,
            "series": [series.to_json() for series in self.series],
            "ratios": [ratio.to_json() for ratio in self.ratios],
            "notes": list(self.notes),
        }
        return json.dumps(document, indent=2)

    def to_text(self) -> str:
        heads = f"{'events/s':>9}{'min..max':>17}{'busy':>6}{'per CPUs':>9}{'p50 ms':>8}{'p99 ms':>8}"
        return "\n".join(
            [
                _facts(self.machine),
                _facts(self.conditions),
                "",
                f"{'median of the rounds':<{_NAME_WIDTH}}{heads}",
                *(series.row() for series in self.series),
                "",
                f"{'ratio':<{_NAME_WIDTH}}{'measured':>9}{'expected':>17}",
                *(ratio.row() for ratio in self.ratios),
                "",
                *self.notes,
            ]
        )


def _facts(facts: dict[str, Any]) -> str:
    return " · ".join(f"{name.replace('_', ' ')} {value}" for name, value in facts.items())
