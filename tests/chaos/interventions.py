"""Judges what came of those who stepped in: handlers held back, kept events and dead letters asked for again. Pure.

Every time that an event is put to run again it comes to one more end. How often that was, the log counts itself
(`replayed`); which events it can have been, follows from what was asked. So an end too few is a delivery that got
lost, and one too many is a repetition that no command asked for.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from tests.chaos.known import Index, Violation
from tests.chaos.order import LEASE_S, WAKING_S, Excuses, overtakings
from tests.chaos.roles import ROLES
from tests.chaos.story import Again, Ended, Hold, Run, Stored, Story

OUTLIVES_S = {"pause": LEASE_S + WAKING_S, "rename": WAKING_S}
"""Seconds after the confirmation in which an attempt may still begin.

A worker that holds a lane when its handler is paused finds out with its next step, or loses the lease. A rename is
done only when no worker holds a lane."""

_NO_RUN = frozenset({"filtered", "superseded"})
_CLOCKS_S = 1.0  # by which an end in the history and a line of the record may seem to change places


class Asked:
    """Which events were asked for again, and how often they can have been put to run because of it."""

    def __init__(self, story: Story, known: Index) -> None:
        self._known = known
        self._letters = Counter((letter.handler, letter.event_id) for letter in story.letters)
        self._replays: dict[str, list[Again]] = defaultdict(list)
        self.retries: dict[str, list[Again]] = defaultdict(list)
        for again in story.agains:
            (self._replays if again.kind == "replay" else self.retries)[again.handler].append(again)

    def replays(self, handler: str, event: Stored) -> list[Again]:
        """The replays that mean an event."""
        return [again for again in self._replays[handler] if again.means(event)]

    def taken(self, handler: str, event_id: str) -> int:
        """How many of its dead letters are not there any more: what asks for it again takes them out. Negative: too
        many are there."""
        died = sum(end.outcome == "dead" for end in self._known.ended[handler, event_id])
        return died - self._letters[handler, event_id]

    def only(self, handler: str, event: Stored) -> Again | None:
        """Return the one command that put it to run again; None if none did, or several may have."""
        replays, taken = self.replays(handler, event), self.taken(handler, event.event_id)
        died = [end for end in self._known.ended[handler, event.event_id] if end.outcome == "dead"]
        retries = [again for again in self.retries[handler] if died and again.ended_ms >= died[0].at_ms]
        if taken <= 0 or not retries:
            return replays[0] if len(replays) == 1 else None
        sure = not replays and len(died) == 1 and retries and retries[0].completed
        return retries[0] if sure else None

    def times(self, handler: str, event: Stored) -> int:
        """How often it can have been put to run again at the most."""
        return len(self.replays(handler, event)) + max(0, self.taken(handler, event.event_id))


def check_holds(story: Story, counts: Counter[str]) -> tuple[float, list[Violation]]:
    """Nothing of a handler begins while it is held back.

    Returns:
        Seconds from a confirmed pause until the last attempt that began all the same, and what was too late.
    """
    excuses = Excuses(story)
    latest_s, found = 0.0, []
    for hold in story.holds:
        counts[f"{hold.kind}s"] += 1
        for run in story.runs:
            if run.handler == hold.handler and (after_s := _begun_after(hold, run, excuses)) is not None:
                latest_s = max(latest_s, after_s)
                if after_s > OUTLIVES_S[hold.kind]:
                    says = f"{run.handler} began it {after_s:.1f} s after a {hold.kind} at {hold.confirmed_s:.3f}"
                    found.append(Violation("began-while-held", run.event_id, says, (str(run),)))
    return latest_s, found


def _begun_after(hold: Hold, run: Run, excuses: Excuses) -> float | None:
    """Seconds after the hold was confirmed, less those in which the process was stopped; None outside of it."""
    if hold.confirmed_s is None or not hold.confirmed_s < run.began_s < hold.lifting_s:
        return None
    stopped_s = excuses.stopped_s(run.pid, hold.confirmed_s, run.began_s)
    return run.began_s - hold.confirmed_s - stopped_s


def check_agains(story: Story, known: Index, asked: Asked, counts: Counter[str]) -> Iterator[Violation]:
    """What was asked for again comes to its end again, in order among itself, and nothing else runs again."""
    for again in story.agains:
        counts["replays" if again.kind == "replay" else "retries"] += 1
        yield from _replay_faults(again, known, counts)
    yield from _order_among_themselves(story, known, asked)
    excuses = Excuses(story)
    for name, _, event in known.wanted():
        ends, runs = known.ended[name, event.event_id], known.runs[name, event.event_id]
        if ends:
            yield from _letter_faults(name, event, ends, asked)
            yield from _run_faults(story, name, ends, runs, asked.times(name, event), excuses)
    for name in ROLES:
        put = story.positions[name].stats.get("replayed", 0)
        counts["reopened"] += put
        more = sum(
            max(0, len(ends) - 1)
            for (handler, event_id), ends in known.ended.items()
            if handler == name and event_id in known.stored
        )
        if more < put:
            yield Violation(
                "reopened-lost", name, f"{put} were put to run again, and {more} came to an end again"
            )
        if more > put:
            yield Violation(
                "settled-twice", name, f"{put} were put to run again, and {more} came to an end again"
            )


def _replay_faults(again: Again, known: Index, counts: Counter[str]) -> Iterator[Violation]:
    for event_id in sorted(again.chosen):
        ends = known.ended[again.handler, event_id]
        if not any(end.at_ms < again.asked_ms for end in ends):
            continue  # it was not settled when it was asked for, and is left alone
        counts["chosen"] += 1
        since = [end for end in ends if end.at_ms >= again.asked_ms]
        lines = known.lines(again.handler, event_id)
        if not since:
            says = f"{again.handler} was to get it again at {again.asked_s:.3f}, and it has no end since"
            yield Violation("replay-lost", event_id, says, lines)
        elif not _runs_since(again, known, event_id) and not all(_without_run(end) for end in since):
            says = f"{again.handler} was to get it again at {again.asked_s:.3f}, and did not"
            yield Violation("replay-without-run", event_id, says, lines)


def _runs_since(again: Again, known: Index, event_id: str) -> list[Run]:
    return [
        run
        for run in known.runs[again.handler, event_id]
        if run.replayed and (run.ended_s is None or run.ended_s >= again.asked_s)
    ]


def _without_run(end: Ended) -> bool:
    return end.outcome in _NO_RUN or end.reason in ("worker-died", "throttled")


def _order_among_themselves(story: Story, known: Index, asked: Asked) -> Iterator[Violation]:
    """What one command put to run again, where it is known that it was this one."""
    excuses = Excuses(story)
    groups: dict[tuple[str, str, int], list[Run]] = defaultdict(list)
    for run in story.runs:
        event = known.stored.get(run.event_id)
        if not run.replayed or event is None or ROLES[run.handler].order != "entity":
            continue
        again = asked.only(run.handler, event)
        if again is not None:
            subject = ROLES[run.handler].subject(run.key, run.n)
            groups[run.handler, subject, again.asked_ms].append(run)
    for runs in groups.values():
        runs.sort(key=lambda run: run.began_at)
        yield from overtakings(runs, known, excuses, by_arrival=True)


def _letter_faults(name: str, event: Stored, ends: list[Ended], asked: Asked) -> Iterator[Violation]:
    taken, event_id = asked.taken(name, event.event_id), event.event_id
    died = [end for end in ends if end.outcome == "dead"]
    if taken < 0:
        yield Violation("letter-twice", event_id, f"{name} has {-taken} dead letters of it too many")
    elif taken > len(ends) - 1:
        yield Violation(
            "retry-lost", event_id, f"{name}: a dead letter of it was taken, and it has no end since"
        )
    retries = [again for again in asked.retries[name] if died and again.ended_ms >= died[0].at_ms]
    replays = asked.replays(name, event)
    if taken > 0 and not retries and not replays:
        yield Violation(
            "letter-gone", event_id, f"{name} has no dead letter of it, and nobody tried it again"
        )
    if died and taken < len(died):
        meant = [*retries, *(again for again in replays if event_id in again.chosen)]
        late = [again for again in meant if again.completed and died[-1].at_ms < again.asked_ms]
        if late:
            says = (
                f"{name}: its dead letter is there, although it was asked for again at {late[0].asked_s:.3f}"
            )
            yield Violation("letter-left", event_id, says)


def _run_faults(
    story: Story, name: str, ends: list[Ended], runs: list[Run], times: int, excuses: Excuses
) -> Iterator[Violation]:
    lines = tuple(map(str, runs))
    again = [run for run in runs if run.replayed]
    if again and not times:
        yield Violation(
            "not-asked-for", again[0].event_id, f"{name} was told that it was asked for again", lines
        )
    done, done_again = _done(ends), _done(ends[1:])
    if done > _done(runs) or done_again > _done(again):
        says = f"{name} settled it as done {done} times, and that often no attempt came to a good end"
        yield Violation("done-without-run", ends[0].event_id, says, lines)
    settled_s = (ends[0].at_ms - story.clock_ms) / 1000
    for run in runs:
        if not run.replayed and run.began_s > settled_s + _CLOCKS_S and not excuses.stalled(run):
            says = f"{name} began it {run.began_s - settled_s:.1f} s after it was settled, and nobody asked for it"
            yield Violation("ran-when-settled", run.event_id, says, (str(run),))


def _done(some: Sequence[Ended] | Sequence[Run]) -> int:
    return sum(one.outcome == "done" for one in some)
