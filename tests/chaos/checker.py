"""Judges a story against the invariants I1 to I7 of the log. Pure: data in, verdict out.

An event is *lost* when its sender got a 2xx and a handler that wants it never settled it. A delivery is
*doubled* when its handler came to a good end more than once, which at-least-once allows; it is counted. An attempt
has *overtaken* when it began before an earlier event of its entity was settled, or during another attempt.
Only attempts of a process that was stopped for longer than a lease may overlap: a call that is under way cannot
be taken back.
What an operator asked for again (a replay, a retry of the dead) is counted apart from what was doubled.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.chaos.interventions import Asked, check_agains, check_holds
from tests.chaos.keeping import check_kept
from tests.chaos.known import Index, Violation
from tests.chaos.order import check_order
from tests.chaos.recovery import slowest_recovery
from tests.chaos.roles import ROLES, Role
from tests.chaos.story import Ended, Run, Stored, Story
from tests.chaos.throttling import check_throttles
from tests.chaos.timers import TIMER_TYPE, check_timers

_ALWAYS_DIES_OF = "worker-died"


@dataclass
class Verdict:
    """What came of it.

    Attributes:
        counts: of everything worth a number: sent, accepted, attempts, doubled, lost, ...
        slowest_s: the longest time after a strike until a runnable pair was at work again.
        latest_s: the longest time after a confirmed pause until an attempt began all the same.
    """

    violations: list[Violation] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    slowest_s: float = 0.0
    latest_s: float = 0.0


def check(story: Story, *, recovery_s: float) -> Verdict:
    """Judge a story.

    Args:
        recovery_s: a runnable pair must be at work again within this time.
    """
    known = Index(story)
    verdict = Verdict(counts=_counts(story, known))
    asked = Asked(story, known)
    verdict.latest_s, held = check_holds(story, verdict.counts)
    for found in (
        _door(story, known),
        check_kept(story, verdict.counts),
        _settled(story, known, asked),
        held,
        check_agains(story, known, asked, verdict.counts),
        check_order(story, known, verdict.counts),
        _steps(story),
        check_throttles(story, verdict.counts),
        _positions(story),
        check_timers(story),
    ):
        verdict.violations += found
    verdict.slowest_s, where = slowest_recovery(story)
    if verdict.slowest_s > recovery_s:
        says = f"{verdict.slowest_s:.1f} s until {where}"
        verdict.violations.append(Violation("slow-recovery", "", says))
    for violation in verdict.violations:
        verdict.counts[_SUMMED_AS.get(violation.kind, "other")] += 1
    return verdict


_SUMMED_AS = {
    "not-in-log": "lost",
    "unsettled": "lost",
    "done-without-run": "lost",
    "gone-unseen": "lost",
    "forgotten": "lost",
    "replay-lost": "lost",
    "replay-without-run": "lost",
    "reopened-lost": "lost",
    "retry-lost": "lost",
    "letter-gone": "lost",
    "overtaken": "overtaken",
    "overlap": "overtaken",
    "ended-on-older": "overtaken",
    "once-repeated": "repeated",
    "timer-repeated": "repeated",
    "timer-lost": "lost",
}


def _counts(story: Story, known: Index) -> Counter[str]:
    counts = Counter(
        sent=len(story.sent),
        accepted=sum(one.accepted_s is not None for one in story.sent),
        stored=len(story.log),
        deliveries=len(story.ended),
        attempts=len(story.runs),
        replayed=sum(run.replayed for run in story.runs),
        cut=sum(run.ended_at is None for run in story.runs),
        effects=len(story.effects),
        dead=sum(end.outcome == "dead" for end in story.ended),
        worker_died=sum(end.reason == _ALWAYS_DIES_OF for end in story.ended),
        uncertain=sum(end.reason == "step-uncertain" for end in story.ended),
        superseded=sum(end.outcome == "superseded" for end in story.ended),
        timers=sum(event.type == TIMER_TYPE for event in story.log),
        timers_over=sum(end.outcome == "superseded" for end in story.timer_ends),
    )
    for runs in known.runs.values():
        first = [run for run in runs if not run.replayed]
        counts["doubled"] += max(0, sum(run.outcome == "done" for run in first) - 1)
    return counts


def _door(story: Story, known: Index) -> Iterator[Violation]:
    """I1: what got a 2xx is in the log, once, and in the order in which it was accepted."""
    last: dict[str, Stored] = {}
    for one in story.sent:
        copies = known.copies[one.key, one.n]
        name = f"{one.key} n={one.n}"
        if len(copies) > 1:
            ids = ", ".join(event.event_id for event in copies)
            yield Violation("stored-twice", name, f"an equal body is in the log as {ids}")
        if one.accepted_s is None:
            continue
        if not copies:
            yield Violation("not-in-log", name, f"accepted at {one.accepted_s:.3f} and not in the log")
            continue
        before = last.get(one.key)
        if before is not None and before.order > copies[0].order:
            says = f"accepted after n={before.n} ({before.event_id}) was, and lies before it"
            yield Violation("stored-out-of-order", copies[0].event_id, says)
        last[one.key] = copies[0]


def _settled(story: Story, known: Index, asked: Asked) -> Iterator[Violation]:
    """I2: every delivery has one end, and one that its attempts account for; one more each time it is asked for."""
    for name, role, event in known.wanted():
        ends, event_id = known.ended[name, event.event_id], event.event_id
        lines = known.lines(name, event_id)
        if not ends:
            yield Violation("unsettled", event_id, f"{name} never settled it", lines)
            continue
        if len(ends) > 1 + asked.times(name, event):
            says = f"{name} settled it {len(ends)} times: {[end.outcome for end in ends]}"
            yield Violation("settled-twice", event_id, says, lines)
        for end in ends:
            if fault := _end_fault(role, event, end, known.runs[name, event_id]):
                kind, says = fault
                yield Violation(kind, event_id, f"{name}: {says}", lines)
    for handler, event_id in known.ended:
        event_or_none = known.stored.get(event_id)
        role = ROLES[handler]
        if event_or_none is None or event_or_none.type not in (*role.types, *role.later_types):
            yield Violation("settled-unknown", event_id, f"{handler} settled what it was never to get")


def _end_fault(role: Role, event: Stored, end: Ended, runs: list[Run]) -> tuple[str, str] | None:
    outcomes = {run.outcome for run in runs}
    if role.leaves_out(event.n) != (end.outcome == "filtered"):
        return "wrong-filter", f"settled as {end.outcome}"
    match end.outcome:
        case "done" if "done" not in outcomes:
            return "done-without-run", "settled as done, and no attempt came to a good end"
        case "skipped" if "Skip" not in outcomes and not (role.slots and end.reason == "throttled"):
            return "wrong-end", "settled as skipped, and no attempt asked for it"
        case "superseded" if role.order != "latest":
            return "wrong-end", f"superseded with order {role.order}"
        case "not-wanted":
            return "wrong-end", "settled as not wanted"
        case "dead" if end.reason not in {*role.dies_of, _ALWAYS_DIES_OF}:
            return "wrong-end", f"dead with the reason {end.reason!r}"
    return None


def _steps(story: Story) -> Iterator[Violation]:
    """I7: an effect happens once, and everybody gets the result of that one time."""
    tokens: dict[tuple[str, str], list[str]] = defaultdict(list)
    for effect in story.effects:
        tokens[effect.scope, effect.step].append(effect.token)
    for (scope, step), found in tokens.items():
        if len(found) > 1:
            says = f"step {step!r} was carried out {len(found)} times"
            runs = [run for run in story.runs if run.handler == "chaos.once"]
            lines = tuple(str(run) for run in runs if scope in (run.event_id, run.key))
            yield Violation("once-repeated", scope, says, lines[:6])
    for run in story.runs:
        if run.result and run.result not in tokens[run.event_id, "own"]:
            yield Violation("wrong-result", run.event_id, "the step gave back another result", (str(run),))


def _positions(story: Story) -> Iterator[Violation]:
    """I2 again, by the numbers: nothing waits, nothing is open, counters agree with the history."""
    by_outcome: dict[str, Counter[str]] = defaultdict(Counter)
    for end in story.ended:
        skipped = end.outcome in ("filtered", "not-wanted")
        by_outcome[end.handler]["skipped" if skipped else end.outcome] += 1
    for name in ROLES:
        position = story.positions[name]
        if position.waiting or position.open:
            says = f"{position.waiting} wait and {position.open} are open at the end"
            yield Violation("not-drained", name, says)
        for outcome in ("done", "skipped", "superseded", "dead"):
            counted, listed = position.stats.get(outcome, 0), by_outcome[name][outcome]
            if counted != listed:
                yield Violation("stats", name, f"{outcome}: {counted} counted, {listed} in the history")
        letters = sum(letter.handler == name for letter in story.letters)
        if position.dead != letters:
            yield Violation("stats", name, f"{position.dead} letters counted, {letters} are there")
