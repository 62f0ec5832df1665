"""What became of an event, decided from what was found: one case per state and reason."""

from __future__ import annotations

import pytest

from eventlog.history import Settled
from eventlog.inspection.delivery_state import EventFacts, HandlerFacts, PairFacts, fate_of
from eventlog.inspection.search import End
from eventlog.operation.handlers import Pause
from eventlog.record import OPEN_QUOTA, OpenRecord, StoredEvent

EVENT = EventFacts(0, "100-0", 100, "a", "session:1", 10, "", kept=True)
HANDLER = HandlerFacts("h", frozenset({"a"}), since_ms=50, served_ms=1_000)
BEFORE = PairFacts("99-5", "99-5", frozenset(), "", 0)
PASSED = PairFacts("100-0", "100-0", frozenset(), "", 0)


def opened(stream_id: str, state, **more) -> OpenRecord:
    return OpenRecord(StoredEvent(0, stream_id, "a", "session:1", b"", 100), state, **more)


def judged(event=EVENT, handler=HANDLER, pair=PASSED, *, open_=(), ends=(), letter="", now_ms=1_000):
    return fate_of(event, handler, pair, open_=open_, ends=ends, letter=letter, now_ms=now_ms)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({}, "nobody-yet"),
        ({"now_ms": 1_000_000}, "no-worker"),
        ({"pair": PairFacts("99-5", "99-5", frozenset(), "host:1", 0)}, "held"),
        ({"pair": PairFacts("99-5", "100-0", frozenset(), "host:1", 0)}, "handed-out"),
        ({"pair": PairFacts("99-5", "99-5", frozenset(), "host:1", OPEN_QUOTA)}, "open-full"),
        ({"handler": HandlerFacts("h", frozenset({"*"}), 50, 1_000, Pause(7, "x"))}, "paused"),
    ],
)
def test_an_event_after_the_cursor_waits_for_a_reason(changes, why):
    found = judged(**{"pair": BEFORE, **changes})
    assert (found.state, found.why) == ("waiting", why)


def test_what_is_open_counts_more_than_how_it_ended_before():
    end = End(500, Settled("100-0", 1, "dead", "gave-up"))
    found = judged(open_=[opened("100-0", "replay")], ends=[end])
    assert (found.state, found.earlier) == ("replay", (end,))


def test_a_parked_event_names_the_first_open_one_of_its_entity_and_when_that_is_due():
    blockers = [opened("98-0", "retry", due_ms=900), opened("99-0", "parked")]
    found = judged(open_=[*blockers, opened("100-0", "parked")])
    assert (found.state, found.behind, found.at_ms) == ("parked", "0-98-0", 900)
    assert judged(open_=[opened("100-0", "parked")]).behind == ""


def test_a_parked_event_is_behind_one_of_its_own_key():
    blockers = [opened("98-0", "retry", own_key="a/1"), opened("99-0", "retry", own_key="a/2", due_ms=900)]
    found = judged(open_=[*blockers, opened("100-0", "parked", own_key="a/2")])
    assert (found.behind, found.at_ms) == ("0-99-0", 900)


def test_the_last_end_counts_and_the_others_are_listed_too():
    ends = [End(500, Settled("100-0", 1, "dead", "gave-up")), End(600, Settled("100-0", 1, "done"))]
    found = judged(ends=ends)
    assert (found.state, found.at_ms, found.earlier) == ("done", 600, (ends[0],))


def test_a_dead_letter_outlives_the_history():
    assert (judged(letter="h/1-0").state, judged(letter="h/1-0").letter) == ("dead", "h/1-0")


def test_without_any_trace_the_position_tells():
    assert judged().state == "settled"
    assert judged(pair=PairFacts("99-5", "100-0", frozenset({"100-0"}), "", 0)).state == "settled"
    assert judged(handler=HandlerFacts("h", frozenset({"a"}), 101, 1_000)).state == "before-start"
    for pair in (BEFORE, PASSED):
        assert judged(handler=HandlerFacts("h", frozenset({"b"}), 50, 1_000), pair=pair).state == "not-wanted"


def test_a_worker_that_died_is_counted():
    found = judged(open_=[opened("100-0", "running", attempts=2, crashes=1)])
    assert (found.state, found.tries, found.deaths) == ("running", 2, 1)
