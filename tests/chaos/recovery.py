"""How long a runnable pair stood still after a strike (I5). Pure.

A pair is one lane of one steady handler. The clock runs from a strike to the next attempt of the pair, and only
while an event of it waits: the sender got a 2xx for it, and its last attempt has not begun. The clock starts again
when the worker that holds the pair by then is struck too. It runs only while Redis is there, a worker is up and not
stopped, and the handler is not held back.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable

from tests.chaos.roles import ROLES
from tests.chaos.story import Run, Story

_Times = list[tuple[float, float]]


def slowest_recovery(story: Story) -> tuple[float, str]:
    """Seconds of the slowest one, and in words which."""
    working = subtracted(merged(_up(story)), merged((o.from_s, o.to_s) for o in story.outages))
    pairs = _pairs(story)
    may_work = {
        name: subtracted(
            working, merged((hold.asked_s, hold.lifted_s) for hold in story.holds if hold.handler == name)
        )
        for name in ROLES
    }
    runnable = {name: common(pair.waits, may_work[name.partition("|")[0]]) for name, pair in pairs.items()}
    slowest, where = 0.0, "nothing"
    for strike in story.strikes:
        for name, pair in pairs.items():
            until_s = pair.at_work_again(strike.at_s)
            if until_s is None:
                continue
            from_s = pair.last_hit(strike.at_s, until_s)
            took_s = within(runnable[name], from_s, until_s)
            if took_s > slowest:
                slowest, where = took_s, f"{name} was at work again after a strike at {from_s:.3f}"
    return slowest, where


class _Pair:
    """When one pair had something to do, and when it did something."""

    def __init__(self) -> None:
        self.began: list[float] = []
        self.hits: list[float] = []
        self.waits: _Times = []

    def last_hit(self, from_s: float, until_s: float) -> float:
        """When its holder was struck last between the two; else the first of them."""
        before = bisect_right(self.hits, until_s)
        return max(from_s, self.hits[before - 1]) if before else from_s

    def at_work_again(self, after_s: float) -> float | None:
        """When the next attempt began; None when none did any more."""
        following = bisect_right(self.began, after_s)
        return self.began[following] if following < len(self.began) else None


def _pairs(story: Story) -> dict[str, _Pair]:
    accepted = {(one.key, one.n): one.accepted_s for one in story.sent}
    last: dict[tuple[str, str], Run] = {}
    pairs: dict[str, _Pair] = defaultdict(_Pair)
    for run in story.runs:
        if ROLES[run.handler].steady:
            pairs[_name(run)].began.append(run.began_s)
            if not run.replayed:
                last[run.handler, run.event_id] = run
    for run in last.values():
        arrived_s = accepted.get((run.key, run.n))
        if arrived_s is not None:
            pairs[_name(run)].waits.append((arrived_s, run.began_s))
    for name, pair in pairs.items():
        pair.hits = sorted(strike.at_s for strike in story.strikes if name in strike.held)
        pair.began.sort()
        pair.waits = merged(pair.waits)
    return pairs


def _name(run: Run) -> str:
    return f"{run.handler}|{run.event_id.partition('-')[0]}"


def _up(story: Story) -> Iterable[tuple[float, float]]:
    """When each worker process could be expected to work."""
    for life in story.lives:
        if life.pid in story.ups:
            stops = merged((stop.from_s, stop.to_s) for stop in story.stops if stop.pid == life.pid)
            yield from subtracted([(story.ups[life.pid], life.to_s)], stops)


def merged(spans: Iterable[tuple[float, float]]) -> _Times:
    """The same time without overlaps, in order."""
    found: _Times = []
    for from_s, to_s in sorted(spans):
        if to_s <= from_s:
            continue
        if found and from_s <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], to_s))
        else:
            found.append((from_s, to_s))
    return found


def subtracted(spans: _Times, holes: _Times) -> _Times:
    """What is left of spans without the holes; both merged."""
    left: _Times = []
    for from_s, to_s in spans:
        at_s = from_s
        for hole_from_s, hole_to_s in holes:
            if hole_to_s <= at_s or hole_from_s >= to_s:
                continue
            if hole_from_s > at_s:
                left.append((at_s, hole_from_s))
            at_s = hole_to_s
        if at_s < to_s:
            left.append((at_s, to_s))
    return left


def common(spans: _Times, others: _Times) -> _Times:
    """What lies in both; both merged."""
    found: _Times = []
    at = other_at = 0
    while at < len(spans) and other_at < len(others):
        (from_s, to_s), (other_from_s, other_to_s) = spans[at], others[other_at]
        if max(from_s, other_from_s) < min(to_s, other_to_s):
            found.append((max(from_s, other_from_s), min(to_s, other_to_s)))
        if to_s < other_to_s:
            at += 1
        else:
            other_at += 1
    return found


def within(spans: _Times, from_s: float, to_s: float) -> float:
    """How much of [from_s, to_s] lies in the spans."""
    first = max(0, bisect_left(spans, (from_s, from_s)) - 1)
    total = 0.0
    for span_from_s, span_to_s in spans[first:]:
        if span_from_s >= to_s:
            break
        total += max(0.0, min(span_to_s, to_s) - max(span_from_s, from_s))
    return total
