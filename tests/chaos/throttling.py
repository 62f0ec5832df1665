"""Judges throttles: no more events of a key were done than its handler has slots. Pure.

The time of a slot is longer than a run, so each event that was done has one until the end. An attempt counts as done
if it said so, also where its worker died before that was settled: then its event keeps the slot, however a later
attempt of it ends. The time of an attempt plays no part, since processes are stopped at any point.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

from tests.chaos.known import Violation
from tests.chaos.roles import ROLES
from tests.chaos.story import Run, Story


def check_throttles(story: Story, counts: Counter[str]) -> Iterator[Violation]:
    """Find the keys of which more events were done than there are slots."""
    done: dict[tuple[str, str], dict[str, Run]] = defaultdict(dict)
    for run in story.runs:
        role = ROLES[run.handler]
        if role.slots and run.outcome == "done":
            done[run.handler, role.subject(run.key, run.n)].setdefault(run.event_id, run)
    for (handler, key), runs in sorted(done.items()):
        slots = ROLES[handler].slots
        counts["throttled_full"] += len(runs) == slots
        if len(runs) > slots:
            says = f"{len(runs)} events of it were done by {handler}, which has {slots} slots"
            yield Violation("throttle-exceeded", key, says, tuple(map(str, runs.values())))
    counts["throttled"] += sum(end.reason == "throttled" for end in story.ended)
