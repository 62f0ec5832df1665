"""Small charts: numbers per minute as bars. Pure; a template draws them as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from eventlog.rates import Sample

HEIGHT: Final = 48
_MINUTE_MS = 60_000


@dataclass(frozen=True)
class Bar:
    """One minute.

    Attributes:
        x, y, height: where it is drawn.
        at_ms: when the minute ended.
        per_minute: what it stands for.
    """

    x: int
    y: float
    height: float
    at_ms: int
    per_minute: float


@dataclass(frozen=True)
class Chart:
    """Bars, and the highest number among them."""

    bars: tuple[Bar, ...]
    width: int
    peak: float


def accepted_per_minute(samples: Sequence[Sample], *, step: int = 6) -> Chart:
    """Return what was accepted per minute, from totals that were noted about once a minute.

    Args:
        step: width of a bar with its gap.
    """
    rates = []
    for before, after in pairwise(samples):
        took_ms = after.at_ms - before.at_ms
        grown = after.accepted - before.accepted
        if took_ms >= _MINUTE_MS / 4 and grown >= 0:  # the totals of now may be seconds after the last ones
            rates.append((after.at_ms, grown * _MINUTE_MS / took_ms))
    peak = max((rate for _, rate in rates), default=0.0)
    bars = []
    for place, (at_ms, rate) in enumerate(rates):
        height = round(HEIGHT * rate / peak, 1) if peak else 0.0
        height = max(height, 1.0) if rate else height
        bars.append(Bar(place * step, round(HEIGHT - height, 1), height, at_ms, rate))
    return Chart(tuple(bars), len(rates) * step, peak)
