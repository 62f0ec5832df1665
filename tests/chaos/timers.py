"""What the handler of timers and states does in a chaos run, and the judge of it. Pure.

It does what an event tells it: each notification sets a timer, some cancel one, some timers set themselves again, and
each event is folded into the state of its entity. So the events that came to a good end, in their order, say which
timers must have fallen due and what the state must be.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

from tests.chaos.known import Violation
from tests.chaos.roles import BOTH, chance
from tests.chaos.story import Ended, Stored, Story

TIMERS = "chaos.timers"
TIMER_TYPE = f"receiver.timer:{TIMERS}"

_NAMES = 3


class Wish(NamedTuple):
    """What an event makes of the timers of its entity."""

    name: str
    delay_s: float
    cancels: str = ""


def wish(event_id: str, n: int, timer: str) -> Wish | None:
    """Return what the handler asks for; `timer` is the name of the timer that the event is, or empty."""
    if not timer:
        cancels = f"t{(n + 1) % _NAMES}" if n % 4 == 0 else ""
        return Wish(f"t{n % _NAMES}", n % 7 * 0.3, cancels)
    return Wish(timer, 0.2) if chance("timers", "again", event_id) < 0.3 else None


def folded(state: dict[str, Any] | None, event_id: str) -> dict[str, Any]:
    """Return the state of an entity after an event."""
    before = state or {"count": 0, "chain": 0}
    return {"count": before["count"] + 1, "chain": zlib.crc32(event_id.encode(), before["chain"])}


def check_timers(story: Story) -> Iterator[Violation]:
    """No timer is lost or runs twice, and each state is the fold of what was settled.

    A story without an end of the handler is one in which it did not take part.
    """
    if not story.timer_ends:
        return
    ends: dict[str, list[Ended]] = defaultdict(list)
    for end in story.timer_ends:
        ends[end.event_id].append(end)
    by_key: dict[str, list[Stored]] = defaultdict(list)
    for event in story.log:
        if event.type in (*BOTH, TIMER_TYPE):
            by_key[event.key].append(event)
    for key, events in by_key.items():
        yield from _check_entity(story, key, sorted(events, key=lambda event: event.order), ends)


def _check_entity(
    story: Story, key: str, events: list[Stored], ends: dict[str, list[Ended]]
) -> Iterator[Violation]:
    pending: dict[str, str] = {}  # name -> event that set it
    state: dict[str, Any] | None = None
    for event in events:
        found = ends[event.event_id]
        if len(found) != 1:
            says = f"{TIMERS} settled it {len(found)} times: {[end.outcome for end in found]}"
            yield Violation("settled-twice" if found else "unsettled", event.event_id, says)
            continue
        outcome, (name, set_by) = found[0].outcome, event.timer
        if event.type == TIMER_TYPE and set_by:
            is_pending = pending.get(name) == set_by
            if is_pending:
                del pending[name]
            if is_pending and outcome == "superseded":
                yield Violation(
                    "timer-lost", event.event_id, f"{name} of {set_by} was pending, and superseded"
                )
            if not is_pending and outcome != "superseded":
                yield Violation(
                    "timer-repeated", event.event_id, f"{name} of {set_by} was over, and {outcome}"
                )
        if outcome in ("done", "skipped"):
            state = folded(state, event.event_id)
            wanted = wish(event.event_id, event.n, name)
            if wanted is not None:
                pending.pop(wanted.cancels, None)
                pending[wanted.name] = event.event_id
    for name, set_by in pending.items():
        yield Violation("timer-lost", set_by, f"it set {name} of {key}, which never fell due")
    if story.states.get(key) != state:
        yield Violation("state", key, f"it is {story.states.get(key)}, and its events make {state}")
