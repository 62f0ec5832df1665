"""The checker finds what it is there for: a good story passes, and each way to break it is recognised."""

from __future__ import annotations

import copy
import json
import subprocess
import time
from collections import Counter
from collections.abc import Callable

import pytest

from tests.chaos.cast import follow
from tests.chaos.checker import Verdict, check
from tests.chaos.roles import ROLES, START_STOP, UPDATE
from tests.chaos.story import (
    Again,
    Effect,
    Ended,
    Hold,
    Kept,
    Letter,
    Position,
    Run,
    Sent,
    Span,
    Stored,
    Story,
    Strike,
    read_record,
)

KEY, OTHER = "session:1", "session:2"
FIRST, SECOND, THIRD = "0-1000-0", "0-1000-1", "0-1001-0"
SETTLED_MS = 50_000  # late, so that an attempt may be added before it
WANTING = [name for name, role in ROLES.items() if START_STOP in role.types]


def run(handler: str, event_id: str, n: int, at: int, **changes: object) -> Run:
    """An attempt that took two lines of the record, from second `at` to a bit later."""
    values: dict[str, object] = {"key": KEY, "attempt": 1, "pid": 10, "outcome": "done"}
    values |= {"began_at": at * 10, "began_s": float(at), "ended_at": at * 10 + 1, "ended_s": at + 0.1}
    return Run(handler=handler, event_id=event_id, n=n, **{**values, **changes})  # type: ignore[arg-type]


def good() -> Story:
    """Three events of one entity, handled by everybody who wants them, in order and once."""
    events = [
        Stored(FIRST, START_STOP, KEY, 1),
        Stored(SECOND, START_STOP, KEY, 2),
        Stored(THIRD, START_STOP, KEY, 3),
    ]
    story = Story(
        sent=[Sent(KEY, event.n, START_STOP, event.n - 0.5, event.n - 0.4) for event in events],
        log=events,
        lives=[Span(-100.0, 100.0, 10)],
        ups={10: -95.0},
    )
    for name in WANTING:
        story.runs += [run(name, event.event_id, event.n, event.n) for event in events]
        story.ended += [Ended(name, event.event_id, "done", "", SETTLED_MS) for event in events]
    for one in story.runs:
        if one.handler == "chaos.once":
            one.result = f"token {one.n}"
            story.effects.append(Effect(one.event_id, "own", one.result, 10))
    recount(story)
    return story


def recount(story: Story) -> None:
    """Let the counters of the log, its letters and what it keeps agree with its history."""
    story.kept = {0: Kept(len(story.log), frozenset(event.event_id for event in story.log))}
    story.letters = [Letter(end.handler, end.event_id) for end in story.ended if end.outcome == "dead"]
    for name in ROLES:
        ends = [end for end in story.ended if end.handler == name]
        stats = Counter("skipped" if end.outcome == "filtered" else end.outcome for end in ends)
        story.positions[name] = Position(0, 0, stats["dead"], stats)


def one_of(story: Story, handler: str, event_id: str) -> Run:
    return next(one for one in story.runs if (one.handler, one.event_id) == (handler, event_id))


def settle(story: Story, handler: str, event_id: str, outcome: str, reason: str = "") -> None:
    """Settle a delivery otherwise."""
    story.ended = [end for end in story.ended if (end.handler, end.event_id) != (handler, event_id)]
    story.ended.append(Ended(handler, event_id, outcome, reason, SETTLED_MS))
    recount(story)


def judged(story: Story) -> Verdict:
    return check(story, recovery_s=15.0)


def kinds(story: Story) -> set[str]:
    return {violation.kind for violation in judged(story).violations}


def test_a_good_story_passes():
    verdict = judged(good())
    assert verdict.violations == []
    assert (verdict.counts["accepted"], verdict.counts["attempts"], verdict.counts["doubled"]) == (3, 15, 0)


@pytest.mark.parametrize(("widened_ms", "found"), [(999, {"overtaken"}), (1_005, set())])
def test_an_event_may_be_late_that_was_not_wanted_when_it_arrived(widened_ms: int, found: set[str]):
    """The next version of the code wants it, and the cursor had not passed it yet."""
    story = good()
    story.widened_ms = widened_ms
    for event_id, n, at in ((SECOND, 2, 2), (FIRST, 1, 5), (THIRD, 3, 6)):
        story.runs.append(run("chaos.widened", event_id, n, at))
        settle(story, "chaos.widened", event_id, "done")
    assert kinds(story) == found


def test_what_was_not_accepted_may_be_missing_or_there():
    story = good()
    story.sent.append(Sent(OTHER, 1, START_STOP, 5.0, None))
    story.sent[0] = story.sent[0]._replace(accepted_s=None)
    assert kinds(story) == set()


def not_in_log(story: Story) -> None:
    story.sent.append(Sent(OTHER, 1, START_STOP, 5.0, 5.1))


def gone_from_the_log(story: Story) -> None:
    """Redis forgot what it had given out, before anybody else saw it."""
    story.sent.pop()
    story.log.pop()
    story.ended = [end for end in story.ended if end.event_id != THIRD]
    recount(story)


def stored_twice(story: Story) -> None:
    story.sent.pop()
    story.log[2] = story.log[2]._replace(n=2)


def stored_out_of_order(story: Story) -> None:
    story.sent[0], story.sent[1] = story.sent[1], story.sent[0]


def unsettled(story: Story) -> None:
    story.ended = [end for end in story.ended if (end.handler, end.event_id) != ("chaos.flaky", SECOND)]
    recount(story)


def settled_twice(story: Story) -> None:
    story.ended.append(Ended("chaos.flaky", SECOND, "done", "", SETTLED_MS))
    recount(story)


def settled_unknown(story: Story) -> None:
    story.ended.append(Ended("chaos.none", SECOND, "done", ""))
    recount(story)


def done_without_run(story: Story) -> None:
    one_of(story, "chaos.entity", SECOND).outcome = "CancelledError"


def wrong_end(story: Story) -> None:
    settle(story, "chaos.entity", SECOND, "dead", "attempts-exhausted")


def wrong_skip(story: Story) -> None:
    settle(story, "chaos.entity", SECOND, "skipped")


def wrong_filter(story: Story) -> None:
    settle(story, "chaos.entity", SECOND, "filtered")


def overtaken_by_a_later_one(story: Story) -> None:
    story.runs.append(run("chaos.entity", FIRST, 1, 9))


def overtaken_across_processes(story: Story) -> None:
    """The second attempt at the first event comes from another process, after the second event began."""
    story.runs.append(run("chaos.flaky", FIRST, 1, 9, pid=11, attempt=2))
    story.lives.append(Span(0.0, 100.0, 11))


def beside_another(story: Story) -> None:
    one_of(story, "chaos.thread", FIRST).ended_at = 25


def beside_one_whose_process_lives(story: Story) -> None:
    one = one_of(story, "chaos.entity", FIRST)
    one.ended_at = one.ended_s = None
    one.outcome = ""
    settle(story, "chaos.entity", FIRST, "dead", "worker-died")


def beside_itself(story: Story) -> None:
    one_of(story, "chaos.latest", THIRD).ended_at = 95
    story.runs.append(run("chaos.latest", THIRD, 3, 9))


def beside_itself_in_a_stop_shorter_than_the_lease(story: Story) -> None:
    beside_itself(story)
    story.stops.append(Span(3.0, 7.5, 10))


def latest_went_back(story: Story) -> None:
    story.runs.append(run("chaos.latest", SECOND, 2, 9))


def newest_superseded(story: Story) -> None:
    settle(story, "chaos.latest", THIRD, "superseded")


def step_repeated(story: Story) -> None:
    story.effects.append(Effect(FIRST, "own", "token 1b", 11))


def shared_step_repeated(story: Story) -> None:
    story.effects += [Effect(KEY, "shared-0", "a", 10), Effect(KEY, "shared-0", "b", 11)]


def result_of_another(story: Story) -> None:
    one_of(story, "chaos.once", FIRST).result = "token 2"


def waiting_at_the_end(story: Story) -> None:
    story.positions["chaos.latest"] = story.positions["chaos.latest"]._replace(waiting=1)


def counted_too_often(story: Story) -> None:
    story.positions["chaos.latest"] = story.positions["chaos.latest"]._replace(stats={"done": 4})


def letters_miscounted(story: Story) -> None:
    settle(story, "chaos.thread", SECOND, "dead", "gave-up")
    story.positions["chaos.thread"] = story.positions["chaos.thread"]._replace(dead=0)


def throttled_too_late(story: Story) -> None:
    """A fourth event was done; its first attempt said so, and then its worker died before that was settled."""
    name = "chaos.throttled"
    for n in (4, 6, 8, 10):  # all of one key of the entity
        event = Stored(f"0-{2000 + n}-0", UPDATE, KEY, n)
        story.sent.append(Sent(KEY, n, UPDATE, n - 0.5, n - 0.4))
        story.log.append(event)
        for wanting in (
            each for each, role in ROLES.items() if UPDATE in role.types and not role.leaves_out(n)
        ):
            story.runs.append(run(wanting, event.event_id, n, n))
            story.ended.append(Ended(wanting, event.event_id, "done", "", SETTLED_MS))
            if wanting == "chaos.once":
                story.runs[-1].result = f"token {n}"
                story.effects.append(Effect(event.event_id, "own", f"token {n}", 10))
        for left_out in (each for each, role in ROLES.items() if UPDATE in role.types and role.leaves_out(n)):
            story.ended.append(Ended(left_out, event.event_id, "filtered", "", SETTLED_MS))
    last = next(one for one in story.runs if (one.handler, one.n) == (name, 10))
    last.ended_at, last.outcome = last.began_at + 1, "done"
    story.runs.append(run(name, last.event_id, 10, 12, attempt=2, outcome="Skip"))
    settle(story, name, last.event_id, "skipped", "no more")


@pytest.mark.parametrize(
    ("harm", "found"),
    [
        (throttled_too_late, {"throttle-exceeded"}),
        (not_in_log, {"not-in-log"}),
        (gone_from_the_log, {"not-in-log"}),
        (stored_twice, {"stored-twice"}),
        (stored_out_of_order, {"stored-out-of-order"}),
        (unsettled, {"unsettled"}),
        (settled_twice, {"settled-twice", "done-without-run"}),
        (settled_unknown, {"settled-unknown"}),
        (done_without_run, {"done-without-run"}),
        (wrong_end, {"wrong-end"}),
        (wrong_skip, {"wrong-end"}),
        (wrong_filter, {"wrong-filter"}),
        (overtaken_by_a_later_one, {"overtaken"}),
        (overtaken_across_processes, {"overtaken"}),
        (beside_another, {"overlap"}),
        (beside_one_whose_process_lives, {"overlap"}),
        (beside_itself, {"overlap"}),
        (beside_itself_in_a_stop_shorter_than_the_lease, {"overlap"}),
        (latest_went_back, {"overtaken"}),
        (newest_superseded, {"ended-on-older"}),
        (step_repeated, {"once-repeated"}),
        (shared_step_repeated, {"once-repeated"}),
        (result_of_another, {"wrong-result"}),
        (waiting_at_the_end, {"not-drained"}),
        (counted_too_often, {"stats"}),
        (letters_miscounted, {"stats"}),
    ],
)
def test_each_broken_promise_is_found(harm: Callable[[Story], None], found: set[str]):
    story = good()
    harm(story)
    assert kinds(story) == found


def test_a_violation_shows_the_lines_it_was_seen_in():
    story = good()
    overtaken_by_a_later_one(story)
    (violation,) = judged(story).violations
    assert violation.event_id == FIRST
    assert [line.split(":")[0] for line in violation.lines] == ["line 30", "line 90"]


def test_at_least_once_is_no_violation_and_is_counted():
    story = good()
    again = run("chaos.entity", THIRD, 3, 9, pid=11)
    story.runs.append(again)
    verdict = judged(story)
    assert (verdict.violations, verdict.counts["doubled"]) == ([], 1)


def test_an_attempt_ends_with_its_process():
    story = good()
    beside_one_whose_process_lives(story)
    story.lives = [Span(-100.0, 1.5, 10), Span(0.0, 100.0, 11)]
    for one in story.runs:
        if one.began_s > 1.5:
            one.pid = 11
    assert kinds(story) == set()


def test_an_attempt_of_a_process_that_was_never_seen_is_over():
    story = good()
    beside_one_whose_process_lives(story)
    one_of(story, "chaos.entity", FIRST).pid = 12
    assert kinds(story) == set()


def test_a_life_lasts_until_it_was_seen_last():
    seen: dict[int, Span] = {}
    lives: list[Span] = []
    process = subprocess.Popen(["sleep", "60"])
    follow([process.pid], seen, lives)
    looked_s = time.monotonic()
    process.kill()
    process.wait()
    follow([], seen, lives)
    ((from_s, to_s, pid),) = lives
    assert (pid, seen) == (process.pid, {})
    assert from_s <= to_s <= looked_s


def test_only_a_stop_longer_than_the_lease_excuses_an_overlap():
    story = good()
    beside_itself(story)
    story.stops.append(Span(3.0, 9.5, 10))
    verdict = judged(story)
    assert (verdict.violations, verdict.counts["stall_overlaps"]) == ([], 1)
    other = copy.deepcopy(story)
    other.stops = [Span(3.0, 9.5, 12)]
    assert kinds(other) == {"overlap"}


def test_an_older_event_that_arrives_late_is_handled_by_latest_all_the_same():
    story = good()
    story.log[1], story.log[2] = Stored(SECOND, START_STOP, KEY, 3), Stored(THIRD, START_STOP, KEY, 2)
    story.sent = [one._replace(accepted_s=None) for one in story.sent]
    for one in story.runs:
        one.n = {FIRST: 1, SECOND: 3, THIRD: 2}[one.event_id]
    assert judged(story).counts["inverted_ties"] == 1
    assert kinds(story) == set()


def stood_still(until_s: float) -> Story:
    """A kill at second 4, an event accepted before it, and the next attempt of its pair much later."""
    story = good()
    story.log.append(Stored("0-1002-0", START_STOP, OTHER, 1))
    story.sent.append(Sent(OTHER, 1, START_STOP, 3.5, 3.9))
    for name in WANTING:
        at = until_s if name == "chaos.entity" else 3.95
        late = run(
            name, "0-1002-0", 1, 0, key=OTHER, began_s=at, ended_s=at + 0.1, began_at=998, ended_at=999
        )
        story.runs.append(late)
        story.ended.append(Ended(name, "0-1002-0", "done", "", SETTLED_MS))
    recount(story)
    story.strikes.append(Strike(4.0, "kill-worker", 9))
    return story


def test_a_pair_that_stands_still_for_too_long_is_found():
    assert kinds(stood_still(18.5)) == set()
    assert judged(stood_still(18.5)).slowest_s == pytest.approx(14.5)
    assert kinds(stood_still(19.5)) == {"slow-recovery"}


def came_late(arrived_s: float, began_s: float) -> Story:
    """A kill at second 4 while the last attempt of a lane is under way; its next event is accepted later."""
    story = stood_still(3.95)
    for one in story.runs:
        if one.event_id == "0-1002-0":
            one.ended_s = 4.1
    story.log.append(Stored("0-1003-0", START_STOP, OTHER, 2))
    story.sent.append(Sent(OTHER, 2, START_STOP, arrived_s - 0.1, arrived_s))
    for name in WANTING:
        at = began_s if name == "chaos.entity" else arrived_s
        story.runs.append(
            run(name, "0-1003-0", 2, 100, key=OTHER, began_s=at, ended_s=at + 0.1, result="token 2")
        )
        story.ended.append(Ended(name, "0-1003-0", "done", "", SETTLED_MS))
    story.effects.append(Effect("0-1003-0", "own", "token 2", 10))
    recount(story)
    return story


def test_a_lane_in_which_nothing_waits_does_not_stand_still():
    verdict = judged(came_late(40.0, 40.5))
    assert kinds(came_late(40.0, 40.5)) == set()
    assert verdict.slowest_s == pytest.approx(0.5)


def test_a_lane_that_stands_still_for_what_arrives_after_a_strike_is_found():
    assert kinds(came_late(10.0, 24.5)) == set()
    assert kinds(came_late(10.0, 25.5)) == {"slow-recovery"}


def test_events_that_wait_one_after_the_other_are_one_time():
    """The lane stood still from the strike on, though the event that waited longest was under way then."""
    story = came_late(4.05, 19.5)
    assert kinds(story) == {"slow-recovery"}
    assert judged(story).slowest_s == pytest.approx(15.45)


def test_the_clock_of_a_recovery_stands_still_without_redis_or_without_a_worker():
    story = stood_still(34.0)
    story.outages = [Span(5.0, 15.0)]
    story.lives = [Span(-100.0, 16.0, 10), Span(17.0, 100.0, 11)]
    story.ups[11] = 22.0
    story.stops = [Span(23.0, 25.0, 11)]
    # 4 to 5, 15 to 16, and from 22, when the second worker was up, less the 2 s in which it was stopped.
    assert judged(story).slowest_s == pytest.approx(12.0)


def test_the_clock_of_a_recovery_starts_anew_when_the_next_holder_is_struck_too():
    story = stood_still(26.0)
    story.strikes.append(Strike(14.0, "kill-worker", 11, frozenset({"chaos.entity|0"})))
    assert judged(story).slowest_s == pytest.approx(12.0)
    story.strikes[-1] = Strike(14.0, "kill-worker", 11, frozenset({"chaos.entity|1"}))
    assert kinds(story) == {"slow-recovery"}


def test_a_record_is_read_back_as_attempts_and_effects():
    lines = [
        ["b", "r1", "chaos.once", FIRST, KEY, 1, 1, 10, 1.0, False, START_STOP],
        ["x", FIRST, "own", "token", 10],
        ["b", "r2", "chaos.once", SECOND, KEY, 2, 1, 10, 1.5, True, START_STOP],
        ["e", "r1", 10, 2.0, "done", "token"],
    ]
    runs, effects = read_record(json.dumps(line).encode() for line in lines)
    assert [(one.began_at, one.ended_at, one.outcome, one.result, one.replayed) for one in runs] == [
        (1, 4, "done", "token", False),
        (3, None, "", "", True),
    ]
    assert effects == [Effect(FIRST, "own", "token", 10)]


def replayed() -> Story:
    """A good story, and then a replay of all that `chaos.entity` was given, each event run and settled once more."""
    story = good()
    events = frozenset(event.event_id for event in story.log)
    story.agains.append(
        Again("chaos.entity", "replay", 60_000, 60.0, 61_000, True, 0, 60_000, "", "", chosen=events)
    )
    for event in story.log:
        story.runs.append(run("chaos.entity", event.event_id, event.n, 61 + event.n, replayed=True))
        story.ended.append(Ended("chaos.entity", event.event_id, "done", "", 62_000 + event.n * 1_000))
    recount(story)
    count_reopened(story, "chaos.entity", 3)
    return story


def retried() -> Story:
    """A good story, in which a dead letter was tried again, and then its handler came to a good end."""
    story = good()
    settle(story, "chaos.thread", SECOND, "dead", "gave-up")
    one_of(story, "chaos.thread", SECOND).outcome = "GiveUp"
    story.agains.append(Again("chaos.thread", "retry", 60_000, 60.0, 61_000, True))
    story.runs.append(run("chaos.thread", SECOND, 2, 63, replayed=True))
    story.ended.append(Ended("chaos.thread", SECOND, "done", "", 64_000))
    recount(story)
    story.letters.clear()
    count_reopened(story, "chaos.thread", 1)
    return story


def count_reopened(story: Story, handler: str, times: int) -> None:
    """Let the log have counted how much it put to run again."""
    found = story.positions[handler]
    dead = sum(letter.handler == handler for letter in story.letters)
    story.positions[handler] = found._replace(dead=dead, stats={**found.stats, "replayed": times})


def paused() -> Story:
    """A good story, in which a handler was paused from second 60 on and goes on at 80."""
    story = good()
    story.holds.append(Hold("chaos.entity", "pause", 59.0, 60.0, 80.0, 81.0))
    return story


def begun_at(at_s: float, story: Story, **changes: object) -> Story:
    """An event of its own that `chaos.entity` began then, and everybody else at once."""
    story.log.append(Stored("0-1002-0", START_STOP, OTHER, 1))
    story.sent.append(Sent(OTHER, 1, START_STOP, 3.5, 3.9))
    for name in WANTING:
        values = {"key": OTHER, "began_s": 3.95, "ended_s": 4.0, "began_at": 998, "ended_at": 999}
        if name == "chaos.entity":
            values |= {"began_s": at_s, "ended_s": at_s + 0.1, **changes}
        story.runs.append(run(name, "0-1002-0", 1, 0, **values))
        story.ended.append(Ended(name, "0-1002-0", "done", "", 90_000))
    recount(story)
    return story


def test_what_was_asked_for_again_and_came_is_no_violation_and_is_counted_apart():
    verdict = judged(replayed())
    assert verdict.violations == []
    assert [verdict.counts[name] for name in ("doubled", "replayed", "reopened", "chosen")] == [0, 3, 3, 3]
    verdict = judged(retried())
    assert verdict.violations == []
    assert [verdict.counts[name] for name in ("doubled", "replayed", "retries")] == [0, 1, 1]


def test_a_dead_letter_that_is_dead_again_is_no_violation():
    story = retried()
    story.ended[-1] = Ended("chaos.thread", SECOND, "dead", "gave-up", 64_000)
    story.runs[-1].outcome = "GiveUp"
    recount(story)
    story.letters.pop()
    count_reopened(story, "chaos.thread", 1)
    assert kinds(story) == set()


def test_what_was_open_or_not_settled_when_it_was_asked_for_may_be_left_alone():
    story = good()
    story.agains.append(
        Again("chaos.entity", "replay", 40_000, 40.0, 41_000, True, 0, 40_000, chosen=frozenset({FIRST}))
    )
    assert kinds(story) == set()


def test_what_was_trimmed_from_the_front_is_no_violation_and_is_counted():
    story = good()
    story.kept[0] = Kept(3, frozenset({THIRD}))
    assert kinds(story) == set()
    assert judged(story).counts["trimmed"] == 2
    story.kept[0] = Kept(3, frozenset())
    assert kinds(story) == set()


def replay_lost(story: Story) -> None:
    """Nothing is known of one of them since, not even that it was put to run."""
    story.runs = [one for one in story.runs if not (one.replayed and one.event_id == SECOND)]
    story.ended.remove(Ended("chaos.entity", SECOND, "done", "", 64_000))
    recount(story)
    count_reopened(story, "chaos.entity", 2)


def put_and_lost(story: Story) -> None:
    """It was put to run, and is gone; a replay that was cut off says of no event that it must come."""
    replay_lost(story)
    story.agains[0] = story.agains[0]._replace(completed=False, chosen=frozenset())
    count_reopened(story, "chaos.entity", 3)


def replayed_twice(story: Story) -> None:
    story.runs.append(run("chaos.entity", THIRD, 3, 66, replayed=True))
    story.ended.append(Ended("chaos.entity", THIRD, "done", "", 67_000))
    recount(story)
    count_reopened(story, "chaos.entity", 3)


def replay_settled_without_a_run(story: Story) -> None:
    story.runs = [one for one in story.runs if not (one.replayed and one.event_id == SECOND)]


def replay_not_said_to_the_handler(story: Story) -> None:
    next(one for one in story.runs if one.replayed and one.event_id == SECOND).replayed = False


def replay_out_of_order(story: Story) -> None:
    first, second, _ = (one for one in story.runs if one.replayed)
    first.began_at, second.began_at = second.began_at, first.began_at
    first.ended_at, second.ended_at = second.ended_at, first.ended_at


def not_asked_for(story: Story) -> None:
    story.agains[0] = story.agains[0]._replace(key=OTHER, chosen=frozenset())


def step_repeated_by_a_replay(story: Story) -> None:
    story.agains.append(Again("chaos.once", "replay", 60_000, 60.0, 61_000, True, 0, 60_000))
    story.runs.append(run("chaos.once", FIRST, 1, 65, replayed=True, result="token 1b"))
    story.ended.append(Ended("chaos.once", FIRST, "done", "", 66_000))
    story.effects.append(Effect(FIRST, "own", "token 1b", 11))
    recount(story)
    count_reopened(story, "chaos.once", 1)
    count_reopened(story, "chaos.entity", 3)


def ran_when_settled(story: Story) -> None:
    story.runs.append(run("chaos.none", FIRST, 1, 70))
    story.runs.append(run("chaos.entity", THIRD, 3, 70))


@pytest.mark.parametrize(
    ("harm", "found"),
    [
        (replay_lost, {"replay-lost"}),
        (put_and_lost, {"reopened-lost"}),
        (replayed_twice, {"settled-twice"}),
        (replay_settled_without_a_run, {"replay-without-run", "done-without-run"}),
        (
            replay_not_said_to_the_handler,
            {"replay-without-run", "done-without-run", "ran-when-settled", "overtaken"},
        ),
        (replay_out_of_order, {"overtaken"}),
        (not_asked_for, {"not-asked-for", "settled-twice"}),
        (step_repeated_by_a_replay, {"once-repeated"}),
        (ran_when_settled, {"ran-when-settled"}),
    ],
)
def test_each_fault_of_a_replay_is_found(harm: Callable[[Story], None], found: set[str]):
    story = replayed()
    harm(story)
    assert kinds(story) == found


def retry_lost(story: Story) -> None:
    story.runs.pop()
    story.ended.pop()
    recount(story)
    story.letters.clear()
    count_reopened(story, "chaos.thread", 1)


def letter_in_both_states(story: Story) -> None:
    """It was put to run, and its letter stayed."""
    story.letters.append(Letter("chaos.thread", SECOND))
    count_reopened(story, "chaos.thread", 1)


def letter_gone(story: Story) -> None:
    story.agains.clear()
    story.runs.pop()
    story.ended.pop()
    story.ended.append(Ended("chaos.thread", SECOND, "dead", "gave-up", 64_000))
    recount(story)
    story.letters.pop()
    count_reopened(story, "chaos.thread", 1)


def letter_twice(story: Story) -> None:
    story.letters += [Letter("chaos.thread", FIRST)]
    count_reopened(story, "chaos.thread", 1)


def letter_left(story: Story) -> None:
    retry_lost(story)
    story.letters.append(Letter("chaos.thread", SECOND))
    count_reopened(story, "chaos.thread", 0)


def replay_instead(story: Story) -> None:
    chosen = frozenset({SECOND})
    story.agains = [
        Again("chaos.thread", "replay", 60_000, 60.0, 61_000, True, 0, 60_000, "", "", chosen=chosen)
    ]


def test_a_replay_takes_the_letter_of_what_was_dead():
    story = retried()
    replay_instead(story)
    assert kinds(story) == set()
    story.letters.append(Letter("chaos.thread", SECOND))
    count_reopened(story, "chaos.thread", 1)
    assert kinds(story) == {"letter-left"}


@pytest.mark.parametrize(
    ("harm", "found"),
    [
        (retry_lost, {"retry-lost", "reopened-lost"}),
        (letter_in_both_states, {"settled-twice", "not-asked-for", "letter-left"}),
        (letter_gone, {"letter-gone"}),
        (letter_twice, {"letter-twice"}),
        (letter_left, {"letter-left"}),
    ],
)
def test_each_fault_of_a_retry_is_found(harm: Callable[[Story], None], found: set[str]):
    story = retried()
    harm(story)
    assert kinds(story) == found


def retried_together(*, in_order: bool) -> Story:
    """Two dead letters of one entity, tried again by one command."""
    story = good()
    for at, event_id in enumerate((FIRST, SECOND)):
        settle(story, "chaos.thread", event_id, "dead", "gave-up")
        one_of(story, "chaos.thread", event_id).outcome = "GiveUp"
        story.runs.append(
            run("chaos.thread", event_id, at + 1, 63 + at if in_order else 64 - at, replayed=True)
        )
        story.ended.append(Ended("chaos.thread", event_id, "done", "", 66_000))
    story.agains.append(Again("chaos.thread", "retry", 60_000, 60.0, 61_000, True))
    recount(story)
    story.letters.clear()
    count_reopened(story, "chaos.thread", 2)
    return story


def test_letters_that_are_tried_again_together_run_in_the_order_of_their_entity():
    assert kinds(retried_together(in_order=True)) == set()
    assert kinds(retried_together(in_order=False)) == {"overtaken"}
    not_told_which = retried_together(in_order=False)
    not_told_which.agains[0] = not_told_which.agains[0]._replace(completed=False)
    assert kinds(not_told_which) == set()


def test_a_lease_may_outlive_a_pause_and_nothing_more():
    verdict = judged(begun_at(65.5, paused()))
    assert (verdict.violations, verdict.latest_s) == ([], pytest.approx(5.5))
    assert kinds(begun_at(66.5, paused())) == {"began-while-held"}
    assert kinds(begun_at(80.5, paused())) == set()
    assert judged(begun_at(80.5, paused())).latest_s == 0.0


def test_a_pause_that_was_never_confirmed_holds_nobody():
    story = begun_at(75.0, paused())
    story.holds[0] = story.holds[0]._replace(confirmed_s=None)
    assert kinds(story) == set()


def test_a_process_that_was_stopped_begins_that_much_later():
    story = begun_at(67.0, paused())
    story.stops.append(Span(63.0, 65.0, 10))
    assert kinds(story) == set()
    story.stops[0] = Span(63.0, 65.0, 12)
    assert kinds(story) == {"began-while-held"}


def test_a_rename_is_done_when_nobody_holds_a_lane():
    story = begun_at(62.0, paused())
    story.holds[0] = story.holds[0]._replace(kind="rename")
    assert kinds(story) == {"began-while-held"}


def test_the_clock_of_a_recovery_stands_still_while_its_handler_is_held():
    story = stood_still(34.0)
    story.holds.append(Hold("chaos.entity", "pause", 5.0, 6.0, 24.0, 25.0))
    assert kinds(story) == set()
    assert judged(story).slowest_s == pytest.approx(10.0)
    story.holds[0] = story.holds[0]._replace(handler="chaos.thread")
    assert kinds(story) == {"slow-recovery"}


def trimmed_unsettled(story: Story) -> None:
    """It was trimmed before one of its handlers came to it."""
    story.runs = [one for one in story.runs if (one.handler, one.event_id) != ("chaos.thread", FIRST)]
    story.ended = [one for one in story.ended if (one.handler, one.event_id) != ("chaos.thread", FIRST)]
    recount(story)
    story.kept[0] = Kept(3, frozenset({SECOND, THIRD}))


def trimmed_from_the_middle(story: Story) -> None:
    story.kept[0] = Kept(3, frozenset({FIRST, THIRD}))


def gone_before_it_was_seen(story: Story) -> None:
    story.kept[0] = story.kept[0]._replace(added=4)


def forgotten_by_redis(story: Story) -> None:
    """It was seen in the log; after a restart Redis did not know of it."""
    story.kept[0] = Kept(2, frozenset({FIRST, SECOND}))


@pytest.mark.parametrize(
    ("harm", "found"),
    [
        (trimmed_unsettled, {"unsettled"}),
        (trimmed_from_the_middle, {"forgotten"}),
        (gone_before_it_was_seen, {"gone-unseen"}),
        (forgotten_by_redis, {"forgotten"}),
    ],
)
def test_each_fault_of_trimming_is_found(harm: Callable[[Story], None], found: set[str]):
    story = good()
    harm(story)
    assert kinds(story) == found
    assert judged(story).counts["lost"] > 0
