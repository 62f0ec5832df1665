"""Judges what trimming left (I6): the front of a lane may be gone, once every handler has settled it. Pure.

That nothing goes too early is seen by its handlers: what was trimmed before they came to it has no end. Here it is
seen that nothing went otherwise, and that nothing went before anybody could see it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

from tests.chaos.known import Violation
from tests.chaos.story import Stored, Story


def check_kept(story: Story, counts: Counter[str]) -> Iterator[Violation]:
    """What is not in its lane any more lay before everything that is."""
    lanes: dict[int, list[Stored]] = defaultdict(list)
    for event in story.log:
        lanes[event.lane].append(event)
    for lane, kept in story.kept.items():
        events = lanes[lane]
        if kept.added > len(events):
            says = f"lane {lane} got {kept.added} events, and only {len(events)} of them were ever seen"
            yield Violation("gone-unseen", f"lane {lane}", says)
        if kept.added < len(events):
            says = f"of lane {lane} {len(events)} events were seen, and Redis knows of {kept.added}"
            yield Violation("forgotten", f"lane {lane}", says)
        there = [event for event in events if event.event_id in kept.event_ids]
        counts["trimmed"] += len(events) - len(there)
        oldest = min(there, key=lambda event: event.order, default=None)
        for event in events:
            if oldest is not None and event.order > oldest.order and event.event_id not in kept.event_ids:
                says = f"it is gone, and {oldest.event_id} before it is not"
                yield Violation("forgotten", event.event_id, says)
