"""The sentences that the command line has for the same knowledge. The composition root gives them to the console."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from eventlog.handler_faults import Faulty
from eventlog.inspection.delivery_state import Fate
from eventlog.inspection.explain import Explanation
from eventlog.inspection.gaps import Gap
from eventlog.inspection.overview import Overview
from eventlog.outages import Away


@dataclass(frozen=True)
class Wording:
    """Functions that put what the log knows into words, and one that reads words.

    Attributes:
        needs: what needs a person now, the most urgent first. Commands in it are in backticks.
        facts: the state of the deployment, name to value.
        delivery: what became of an event at a handler.
        call: one call to AMPECO, as the log keeps it: what came of it, and how long it took.
        explained: what became of what was asked for, or why the log may have no trace of it, line by line.
        gap, away: a gap; what is away.
        fault: what is wrong with a handler that a worker cannot run.
        span: a span of time, in seconds.
        shape: the fields of a body and their kinds, without values.
        moment: reads a time, such as `2026-11-24T06:00:00Z` or `2h ago`, given the time now; both in Unix ms. A
            ValueError says what is wrong.
    """

    needs: Callable[[Overview], Sequence[str]]
    facts: Callable[[Overview], Mapping[str, object]]
    delivery: Callable[[Explanation, Fate], str]
    call: Callable[[str], str]
    explained: Callable[[Explanation], Iterable[str]]
    gap: Callable[[Gap], str]
    away: Callable[[Away], str]
    fault: Callable[[Faulty], str]
    span: Callable[[float], str]
    shape: Callable[[bytes], Mapping[str, str]]
    moment: Callable[[str, int], int]
