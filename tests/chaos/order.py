"""Judges the order of attempts: I3, I4 with `entity`, what `latest` promises, no event twice at once. Pure.

What an operator asked for again runs after everything that has run since, so it is not late.
It overlaps with nothing.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

from tests.chaos.known import Index, Violation
from tests.chaos.roles import ROLES, Role
from tests.chaos.story import Run, Stored, Story

LEASE_S = 5.0  # what a process surely has of its lease
WAKING_S = 1.0  # a process that was stopped for too long needs that long to notice


def check_order(story: Story, known: Index, counts: Counter[str]) -> Iterator[Violation]:
    """I3 and I4: attempts that are tied together come one at a time and in order."""
    excuses = Excuses(story)
    ties: dict[tuple[str, str], list[Run]] = defaultdict(list)
    for run in story.runs:
        event = known.stored.get(run.event_id)
        if event is None:
            yield Violation("not-in-log", run.event_id, "it was handled, and is not in the log", (str(run),))
        else:
            ties[run.handler, _tie(ROLES[run.handler], run, event)].append(run)
    inverted = _inverted(story)
    for (name, tie), runs in sorted(ties.items()):
        runs.sort(key=lambda run: run.began_at)
        yield from _overlaps(runs, excuses, counts)
        if ROLES[name].order == "latest" and tie in inverted:
            counts["inverted_ties"] += 1  # an older one arrived late: nothing newer waits for it
        elif ROLES[name].order != "none":
            by_arrival = ROLES[name].order == "entity"
            role = ROLES[name]
            first = [
                run
                for run in runs
                if not run.replayed and known.is_promised(role, known.stored[run.event_id])
            ]
            yield from overtakings(first, known, excuses, by_arrival=by_arrival)
    yield from _newest_given_up(story, known, inverted)


def _newest_given_up(story: Story, known: Index, inverted: set[str]) -> Iterator[Violation]:
    newest: dict[str, Stored] = {}
    for event in story.log:
        tie = f"{event.type} {event.key}"
        newest[tie] = max(event, newest.get(tie, event), key=lambda one: one.n)
    for tie, event in newest.items():
        outcomes = {end.outcome for end in known.ended["chaos.latest", event.event_id]}
        if tie not in inverted and "superseded" in outcomes:
            yield Violation("ended-on-older", event.event_id, f"the newest of {tie} was superseded")


def _tie(role: Role, run: Run, event: Stored) -> str:
    match role.order:
        case "entity":
            return role.subject(run.key, run.n)
        case "latest":
            return f"{event.type} {run.key}"
    return run.event_id


def _inverted(story: Story) -> set[str]:
    """Ties of `latest` whose events do not lie in the log in the order they were made."""
    last: dict[str, int] = {}
    found = set()
    for event in sorted(story.log, key=lambda one: (one.lane, one.order)):
        tie = f"{event.type} {event.key}"
        if event.n < last.get(tie, -1):
            found.add(tie)
        last[tie] = max(event.n, last.get(tie, -1))
    return found


def _overlaps(runs: list[Run], excuses: Excuses, counts: Counter[str]) -> Iterator[Violation]:
    at_work: list[Run] = []
    for run in runs:
        at_work = [other for other in at_work if not excuses.over(other, run)]
        excused = [other for other in at_work if excuses.stalled(other) or excuses.stalled(run)]
        counts["stall_overlaps"] += len(excused)
        for other in at_work:
            if other not in excused:
                says = f"{run.handler} began beside an attempt of {other.event_id}"
                yield Violation("overlap", run.event_id, says, (str(other), str(run)))
        at_work = [other for other in at_work if other not in excused] + [run]


def overtakings(runs: list[Run], known: Index, excuses: Excuses, *, by_arrival: bool) -> Iterator[Violation]:
    """Attempts, in the order they began, at an event that is earlier than one that was begun before."""
    furthest: Run | None = None

    def place(run: Run) -> tuple[int, int]:
        return known.stored[run.event_id].order if by_arrival else (run.n, 0)

    for run in runs:
        if excuses.stalled(run):
            continue
        if furthest is not None and place(run) < place(furthest):
            says = f"{run.handler} began it after the later {furthest.event_id} had begun"
            yield Violation("overtaken", run.event_id, says, (str(furthest), str(run)))
        else:
            furthest = run


class Excuses:
    """When processes ended or were stopped, and when for longer than they can hold a lease."""

    def __init__(self, story: Story) -> None:
        self._died = {life.pid: life.to_s for life in (*story.lives, *story.helpers)}
        self._stalls: dict[int, list[tuple[float, float]]] = defaultdict(list)
        self._stopped: dict[int, list[tuple[float, float]]] = defaultdict(list)
        for stop in story.stops:
            self._stopped[stop.pid].append((stop.from_s, stop.to_s))
            if stop.to_s - stop.from_s >= LEASE_S:
                self._stalls[stop.pid].append((stop.from_s, stop.to_s + WAKING_S))

    def stopped_s(self, pid: int, from_s: float, to_s: float) -> float:
        """For how long a process was stopped in between."""
        return sum(max(0.0, min(to_s, end_s) - max(from_s, begin_s)) for begin_s, end_s in self._stopped[pid])

    def over(self, other: Run, run: Run) -> bool:
        """Whether the other attempt had ended, by itself or with its process, when this one began."""
        if other.ended_at is not None:
            return other.ended_at < run.began_at
        # A process that was never seen came and went between two looks.
        return self._died.get(other.pid, other.began_s) <= run.began_s

    def stalled(self, run: Run) -> bool:
        """Whether its process was stopped past its lease around then."""
        end_s = float("inf") if run.ended_s is None else run.ended_s
        return any(from_s <= end_s and run.began_s <= to_s for from_s, to_s in self._stalls[run.pid])
