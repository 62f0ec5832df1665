"""The judge of timers and states finds each way to break its promises."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.chaos.roles import UPDATE
from tests.chaos.story import Ended, Stored, Story
from tests.chaos.timers import TIMER_TYPE, TIMERS, check_timers, folded, wish

KEY = "session:1"


def good() -> Story:
    """Three notifications; the third sets the timer of the first again, after that one fell due."""
    story = Story()
    first, second, again = "0-1000-0", "0-1001-0", "0-1003-0"
    story.log = [Stored(first, UPDATE, KEY, 1), Stored(second, UPDATE, KEY, 2)]
    story.log.append(Stored(again, UPDATE, KEY, 7))
    plain = (event_id for ms in range(1004, 1999) if wish(event_id := f"0-{ms}-0", 0, "t1") is None)
    fallen = [("t1", first), ("t2", second), ("t1", again)]
    story.log += [Stored(next(plain), TIMER_TYPE, KEY, 0, timer) for timer in fallen]
    for event in story.log:
        outcome = "superseded" if event.timer == ("t1", first) else "done"
        story.timer_ends.append(Ended(TIMERS, event.event_id, outcome, ""))
        if outcome == "done":
            story.states[KEY] = folded(story.states.get(KEY), event.event_id)
    return story


def kinds(story: Story) -> set[str]:
    return {violation.kind for violation in check_timers(story)}


def end_as(story: Story, at: int, outcome: str) -> None:
    story.timer_ends[at] = story.timer_ends[at]._replace(outcome=outcome)


def never_fell_due(story: Story) -> None:
    story.log.pop()
    story.timer_ends.pop()


def ran_although_it_was_over(story: Story) -> None:
    end_as(story, 3, "done")


def fell_due_twice(story: Story) -> None:
    story.log.append(story.log[4]._replace(event_id="0-2000-0"))
    story.timer_ends.append(Ended(TIMERS, "0-2000-0", "done", ""))


def superseded_although_it_was_pending(story: Story) -> None:
    end_as(story, 4, "superseded")


def set_by_an_event_that_died(story: Story) -> None:
    end_as(story, 1, "dead")


def unsettled(story: Story) -> None:
    story.timer_ends.pop(4)


def settled_twice(story: Story) -> None:
    story.timer_ends.append(story.timer_ends[4])


def state_of_one_event_less(story: Story) -> None:
    story.states[KEY] = folded(None, story.log[0].event_id)


def no_state(story: Story) -> None:
    story.states.clear()


BROKEN: list[tuple[Callable[[Story], None], str]] = [
    (never_fell_due, "timer-lost"),
    (ran_although_it_was_over, "timer-repeated"),
    (fell_due_twice, "timer-repeated"),
    (superseded_although_it_was_pending, "timer-lost"),
    (set_by_an_event_that_died, "timer-repeated"),
    (unsettled, "unsettled"),
    (settled_twice, "settled-twice"),
    (state_of_one_event_less, "state"),
    (no_state, "state"),
]


def test_a_good_story_passes():
    assert kinds(good()) == set()


@pytest.mark.parametrize(("break_it", "kind"), BROKEN)
def test_a_broken_promise_is_found(break_it: Callable[[Story], None], kind: str):
    story = good()
    break_it(story)
    assert kind in kinds(story)
