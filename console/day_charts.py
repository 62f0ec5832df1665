"""Charts of a day: numbers per minute or per few minutes, as shapes that a template draws as SVG. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

HEIGHT: Final = 48
BAR_MINUTES: Final = 5
_MINUTE_MS: Final = 60_000
_HOUR: Final = 60
_MOST_REASONS: Final = 12


@dataclass(frozen=True)
class Hour:
    """One full hour of a chart, or the part of it that the chart has.

    Attributes:
        x, width: where it is drawn.
        from_ms: when it begins.
        total, peak: of its numbers that are known; None when none is.
    """

    x: float
    width: float
    from_ms: int
    total: int | None
    peak: int | None


@dataclass(frozen=True)
class DayChart:
    """Numbers per minute, or per few minutes.

    Attributes:
        path: the bars, each the mean within five minutes.
        known: how many numbers are known.
        total, peak: of the known ones.
    """

    path: str
    width: int
    hours: tuple[Hour, ...]
    known: int
    total: int
    peak: int


@dataclass(frozen=True)
class ReasonChart:
    """Refusals of one reason, or of the rest where `reason` is empty; a bar for each ten minutes."""

    reason: str
    path: str
    width: int
    total: int
    peak: int


def day_chart(counts: Sequence[int | None], until_ms: int, *, minutes_each: int = 1) -> DayChart:
    """Return the chart of some minutes.

    Args:
        counts: the oldest first; None where it is unknown.
        until_ms: when the minutes of the last one end.
        minutes_each: minutes that each count stands for: one, or those of a bar.
    """
    known = [count for count in counts if count is not None]
    per_bar = BAR_MINUTES // minutes_each
    bars = [_mean(counts[at : at + per_bar]) for at in range(0, len(counts), per_bar)]
    hours = tuple(_hours(counts, until_ms, minutes_each))
    return DayChart(_bars(bars), len(bars), hours, len(known), sum(known), max(known, default=0))


def reason_charts(
    slots: Mapping[int, Mapping[str, int]], *, from_ms: int, until_ms: int, slot_ms: int
) -> list[ReasonChart]:
    """Return a chart for each reason, the most frequent first, and one for the rest of many."""
    begins = range(from_ms // slot_ms * slot_ms, until_ms, slot_ms)
    totals: dict[str, int] = {}
    for counts in slots.values():
        for reason, count in counts.items():
            totals[reason] = totals.get(reason, 0) + count
    reasons = sorted(totals, key=lambda reason: (-totals[reason], reason))
    shown, rest = reasons[:_MOST_REASONS], reasons[_MOST_REASONS:]
    charts = [_of_reasons(reason, [reason], slots, begins) for reason in shown]
    return [*charts, _of_reasons("", rest, slots, begins)] if rest else charts


def _of_reasons(
    name: str, reasons: Sequence[str], slots: Mapping[int, Mapping[str, int]], begins: Sequence[int]
) -> ReasonChart:
    counts = [sum(slots.get(begin, {}).get(reason, 0) for reason in reasons) for begin in begins]
    return ReasonChart(name, _bars(counts), len(counts), sum(counts), max(counts, default=0))


def _hours(counts: Sequence[int | None], until_ms: int, minutes_each: int) -> list[Hour]:
    found, at = [], 0
    first = until_ms // _MINUTE_MS - len(counts) * minutes_each
    while at < len(counts):
        minute = first + at * minutes_each
        end = min(len(counts), at + (_HOUR - minute % _HOUR) // minutes_each)
        known = [count for count in counts[at:end] if count is not None]
        x, width = (round(n * minutes_each / BAR_MINUTES, 1) for n in (at, end - at))
        total, peak = (sum(known), max(known)) if known else (None, None)
        found.append(Hour(x, width, minute * _MINUTE_MS, total, peak))
        at = end
    return found


def _mean(counts: Sequence[int | None]) -> float | None:
    known = [count for count in counts if count is not None]
    return sum(known) / len(known) if known else None


def _bars(values: Sequence[float | None]) -> str:
    """Return the path of bars of width 1. A small number is still seen; nothing is drawn for an unknown one."""
    peak = max((value for value in values if value is not None), default=0)
    parts = []
    for place, value in enumerate(values):
        if value and peak:
            height = max(1.0, round(HEIGHT * value / peak, 1))
            parts.append(f"M{place} {HEIGHT}v-{height:g}h1v{height:g}")
    return "".join(parts)
