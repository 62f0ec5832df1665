"""Spans of time and counts in words."""

from __future__ import annotations


def span(seconds: float) -> str:
    """Return the two largest units of a span, such as `4.2 s`, `3 min 5 s`, `2 h 10 min` or `1 d 4 h`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, left_s = divmod(round(seconds), 60)
    hours, left_min = divmod(minutes, 60)
    days, left_h = divmod(hours, 24)
    if days:
        return f"{days} d {left_h} h"
    return f"{hours} h {left_min} min" if hours else f"{minutes} min {left_s} s"


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return a count such as `1 dead letter` or `2,000 dead letters`."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def at_most(text: str, is_exact: bool) -> str:
    """Mark a number that may be too high: the log still counts."""
    return text if is_exact else f"≤ {text}"
