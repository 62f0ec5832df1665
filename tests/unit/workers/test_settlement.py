"""What the next step writes of ended attempts, and how soon: without a server and with a clock of its own."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from eventlog.history import hash_of
from eventlog.record import AttemptNote, StoredEvent
from workers.delivery.attempt_lines import EACH, AttemptLines, HandlerLines
from workers.delivery.outcomes import DONE, FILTERED, NOT_WANTED, Outcome
from workers.drain.entry import Entry
from workers.drain.settlement import SETTLE_S, URGENT_S, PendingOutcomes
from workers.drain.window import Window

NOW_MS = 1_000_000
RETRY = Outcome("retry", "error", "ValueError", delay_s=1.5, trace="ValueError\nf.py:1 in f")
DEAD = Outcome("dead", "attempts-exhausted", "ValueError", trace="ValueError\nf.py:1 in f")


class Drain:
    """A window with running events, and what is pending of them."""

    def __init__(self, *events: StoredEvent, order: Any = "entity", lines: HandlerLines = EACH) -> None:
        self.now_s = 50.0
        self.woken = 0
        self.window = Window(order, "0-0")
        self.pending = PendingOutcomes(
            self.window,
            structlog.get_logger().bind(),
            self._wake,
            lines,
            now_ms=lambda: NOW_MS,
            clock_s=lambda: self.now_s,
        )
        for event in events:
            self.window.cursor.pos = event.stream_id
            self.window.admit(event)

    def _wake(self) -> None:
        self.woken += 1

    def started(self) -> Entry:
        entry = self.window.ready.popleft()
        self.window.begin(entry, NOW_MS)
        return entry

    def finish(self, outcome: Outcome) -> Entry:
        entry = self.started()
        self.window.running.discard(entry)
        self.pending.finish(entry, outcome)
        return entry


def stored(n: int, key: str | None = "session:1", took_ms: int = 4) -> StoredEvent:
    return StoredEvent(0, f"{n}-0", "t", key, b"{}", NOW_MS - took_ms)


def test_a_delivery_that_is_done_is_counted_and_kept_in_the_history():
    d = Drain(stored(1))
    d.finish(DONE)
    settlement = d.pending.settlement()
    assert settlement.stats == {"done": 1, "ms<=5": 1}
    assert [(h.stream_id, h.key_hash, h.outcome, h.reason, h.attempts) for h in settlement.history] == [
        ("1-0", hash_of("session:1"), "done", "", ())
    ]
    assert (settlement.cur, settlement.dead, settlement.puts) == ("1-0", [], [])
    assert d.pending.settled == 1


@pytest.mark.parametrize(
    ("took_ms", "bucket"),
    [(-5, "ms<=1"), (1, "ms<=1"), (4, "ms<=5"), (5, "ms<=5"), (6, "ms<=7"), (3_600_000, "ms<=3600000")],
)
def test_a_latency_is_counted_in_the_smallest_bucket_that_holds_it(took_ms, bucket):
    d = Drain(stored(1, took_ms=took_ms))
    d.finish(DONE)
    assert d.pending.settlement().stats == {"done": 1, bucket: 1}


def test_a_latency_over_an_hour_is_in_no_bucket():
    d = Drain(stored(1, took_ms=3_600_001))
    d.finish(DONE)
    assert d.pending.settlement().stats == {"done": 1}


def test_a_retry_is_due_after_its_delay_and_is_not_settled():
    d = Drain(stored(1))
    with capture_logs() as logs:
        d.finish(RETRY)
    settlement = d.pending.settlement()
    [put] = settlement.puts
    assert (put.state, put.due_ms, put.attempts, put.last_error) == ("retry", NOW_MS + 1_500, 1, "ValueError")
    assert settlement.stats == {"retried": 1, "failed:error": 1}
    assert (settlement.history, settlement.dead, d.pending.settled) == ([], [], 0)
    assert logs == [
        {
            "event": "delivery.retry_scheduled",
            "log_level": "info",
            "event_id": "0-1-0",
            "notification": "t",
            "key": "session:1",
            "attempt": 1,
            "reason": "error",
            "detail": "ValueError",
            "after_s": 1.5,
            "where": RETRY.trace,
        }
    ]


def test_a_retry_that_does_not_count_spends_no_attempt():
    d = Drain(stored(1))
    d.finish(Outcome("retry", "not-yet", "soon", 1.0, counts=False))
    assert d.pending.settlement().puts[0].attempts == 0


def test_an_attempt_that_ended_acquits_its_event_of_earlier_crashes():
    d = Drain(stored(1))
    entry = d.started()
    entry.count_crash(AttemptNote(NOW_MS, "worker-died"))
    d.pending.finish(entry, RETRY)
    assert d.pending.settlement().puts[0].crashes == 0


def test_a_dead_letter_holds_the_attempts_the_error_and_where_it_failed():
    d = Drain(stored(1))
    entry = d.started()
    entry.note(DEAD.note(NOW_MS, ["op /path ok 200"]))
    with capture_logs() as logs:
        d.pending.finish(entry, DEAD)
    settlement = d.pending.settlement()
    [letter] = settlement.dead
    assert (letter.reason, letter.trace) == ("attempts-exhausted", DEAD.trace)
    assert (letter.record.attempts, letter.record.last_error) == (1, "ValueError")
    assert [note.actions for note in letter.record.log] == [("op /path ok 200",)]
    assert settlement.stats == {"dead": 1, "ms<=5": 1, "failed:attempts-exhausted": 1}
    assert [(h.outcome, h.reason, len(h.attempts)) for h in settlement.history] == [
        ("dead", "attempts-exhausted", 1)
    ]
    assert [(line["event"], line["log_level"]) for line in logs] == [("delivery.dead", "error")]


@pytest.mark.parametrize(
    ("outcome", "name", "reason"),
    [
        (NOT_WANTED, "not-wanted", ""),
        (FILTERED, "filtered", ""),
        (Outcome("skipped", "skipped", "no tariff"), "skipped", "no tariff"),
    ],
)
def test_the_history_names_why_an_event_was_skipped(outcome, name, reason):
    d = Drain(stored(1))
    d.finish(outcome)
    settlement = d.pending.settlement()
    assert settlement.stats == {"skipped": 1, "ms<=5": 1}
    assert [(h.outcome, h.reason) for h in settlement.history] == [(name, reason)]


@pytest.mark.parametrize(
    ("actions", "attempts", "kept"), [([], 1, 0), (["op /path ok 200"], 1, 1), ([], 2, 2)]
)
def test_the_history_of_a_skipped_event_keeps_attempts_only_where_something_happened(actions, attempts, kept):
    d = Drain(stored(1))
    entry = d.started()
    for _ in range(attempts):
        entry.note(FILTERED.note(NOW_MS, actions))
    d.pending.finish(entry, FILTERED)
    assert len(d.pending.settlement().history[0].attempts) == kept


def test_superseded_events_are_settled_without_a_latency():
    d = Drain(*(stored(n) for n in range(1, 4)), order="latest")
    d.pending.settle_superseded()
    settlement = d.pending.settlement()
    assert settlement.stats == {"superseded": 1}
    assert [(h.stream_id, h.outcome) for h in settlement.history] == [("2-0", "superseded")]
    assert not d.window.superseded


def test_one_that_gives_way_when_it_fails_is_settled_with_the_failure():
    d = Drain(stored(1), stored(2), order="latest")
    d.finish(RETRY)
    settlement = d.pending.settlement()
    assert settlement.stats == {"retried": 1, "superseded": 1, "failed:error": 1}
    assert [put.event.stream_id for put in settlement.puts] == ["2-0"]


@pytest.mark.parametrize(
    ("seconds", "bucket"), [(0.0005, "ran<=1"), (0.001, "ran<=1"), (0.7, "ran<=1000"), (301.0, "ran<=")]
)
def test_the_time_of_attempts_is_counted_and_added_up(seconds, bucket):
    d = Drain(stored(1))
    d.pending.ran(seconds)
    assert d.pending.settlement().stats == {bucket: 1, "ran-us": round(seconds * 1_000_000)}
    assert d.pending.settlement().stats == {}


def test_reasons_of_authors_share_one_counter():
    d = Drain(stored(1))
    d.finish(Outcome("dead", "reason-of-an-author-17"))
    assert d.pending.settlement().stats["failed:(other)"] == 1


def test_fields_that_do_not_fit_are_counted_by_notification():
    d = Drain(stored(1))
    d.pending.misread(d.started())
    assert d.pending.settlement().stats == {"misfit:t": 1}


def test_an_outcome_is_written_soon_and_sooner_where_the_next_event_of_its_entity_waits():
    alone = Drain(stored(1), stored(2, "session:2"))
    alone.finish(DONE)
    assert alone.pending.due_s == 50.0 + SETTLE_S
    waited_for = Drain(stored(1), stored(2))
    waited_for.finish(DONE)
    assert waited_for.pending.due_s == 50.0 + URGENT_S
    later = Drain(stored(1))
    later.finish(RETRY)
    assert later.pending.due_s == 50.0 + SETTLE_S


def test_the_loop_is_woken_only_when_a_step_is_due_sooner_than_before():
    d = Drain(*(stored(n, f"session:{n}") for n in range(1, 5)), stored(5, "session:4"))
    d.finish(DONE)
    d.now_s += 0.01
    d.finish(DONE)
    assert (d.woken, d.pending.due_s) == (1, 50.0 + SETTLE_S)
    d.now_s = 50.0 + SETTLE_S - URGENT_S / 2  # the step is due sooner than an urgent one asks for
    d.finish(DONE)
    d.finish(DONE)
    assert (d.woken, d.pending.due_s) == (1, 50.0 + SETTLE_S)


def test_an_urgent_outcome_brings_the_step_forward():
    d = Drain(stored(1, "session:1"), stored(2, "session:2"), stored(3, "session:2"))
    d.finish(DONE)
    d.finish(DONE)
    assert (d.woken, d.pending.due_s) == (2, 50.0 + URGENT_S)


def test_what_was_handed_to_a_step_is_not_handed_out_again():
    d = Drain(stored(1), stored(2, "session:2"))
    d.finish(DEAD)
    d.pending.settlement()
    assert d.pending.due_s is None
    empty = d.pending.settlement()
    assert (empty.stats, empty.dead, empty.history, empty.dels, empty.puts) == ({}, [], [], [], [])
    d.finish(DONE)
    assert (d.woken, d.pending.due_s) == (2, 50.0 + SETTLE_S)


def bounded() -> HandlerLines:
    """Lines of a log that leaves out debug lines; in a loop."""
    wrapper = structlog.make_filtering_bound_logger(logging.INFO)
    return AttemptLines(structlog.wrap_logger(None, wrapper_class=wrapper).bind()).of("h")


def test_of_failures_with_one_cause_the_first_is_written_and_the_others_are_counted():
    async def fail() -> None:
        d = Drain(*(stored(n, key=f"session:{n}") for n in range(1, 51)), lines=bounded())
        for n in range(50):
            d.finish(DEAD if n % 2 else RETRY)
        assert d.pending.settlement().stats["dead"] == 25

    with capture_logs() as logs:
        asyncio.run(fail())
    assert [(line["event"], line["event_id"]) for line in logs] == [("delivery.retry_scheduled", "0-1-0")]


def test_words_of_an_author_do_not_make_causes():
    async def fail() -> None:
        lines = bounded()
        d = Drain(*(stored(n, key=f"session:{n}") for n in range(1, 11)), lines=lines)
        for n in range(10):
            d.finish(Outcome("dead", "gave-up", f"user {n} has no address"))
        assert len(lines._causes) == 1

    with capture_logs() as logs:
        asyncio.run(fail())
    assert [line["detail"] for line in logs] == ["user 0 has no address"]
