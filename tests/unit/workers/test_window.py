"""Which event may start, which waits, which is superseded, and how far the cursor may go: without a server."""

from __future__ import annotations

import json
from typing import Any

from eventlog.record import NO_TIME, OpenRecord, OpenState, StoredEvent
from workers.drain.entry import Entry, newest_of, own_ms_of, tie_of
from workers.drain.window import Window

START = "0-0"


def stored(n: int, key: str | None = "session:1", type: str = "t", **data: Any) -> StoredEvent:
    return StoredEvent(0, f"{n}-0", type, key, json.dumps({"notification": type, **data}).encode(), n)


def window(order: Any = "entity", *events: StoredEvent) -> Window:
    made = Window(order, START)
    admit(made, *events)
    return made


def admit(into: Window, *events: StoredEvent) -> None:
    for event in events:
        into.cursor.pos = event.stream_id
        into.admit(event)


def numbers(entries: Any) -> list[int]:
    return [entry.order[0] for entry in entries]


def confirmed(of: Window) -> None:
    """A step went well: Redis knows everything."""
    marks = of.mark()
    settled, of.unconfirmed = of.unconfirmed, []
    of.cursor.changes()
    of.confirm(settled)
    of.marked(marks)


def start(of: Window) -> Any:
    entry = of.ready.popleft()
    entry.state = "running"
    of.running.add(entry)
    return entry


def settle(of: Window, entry: Any) -> None:
    of.running.discard(entry)
    of.settle(entry)


def taken_up(order: Any, records: list[OpenRecord], events: list[StoredEvent], runto: int) -> Window:
    made = Window(order, START)
    for record in records:
        made.recall(record)
    for event in events:
        made.cursor.pos = event.stream_id
        made.reread(event, settled=False)
    made.arrange((runto, 0))
    return made


def opened(n: int, state: OpenState, due_ms: int | None = None, **of: Any) -> OpenRecord:
    return OpenRecord(stored(n, **of), state, due_ms)


def test_the_next_of_an_entity_waits_until_redis_has_the_outcome():
    w = window("entity", stored(1), stored(2), stored(3, "session:2"))
    assert numbers(w.ready) == [1, 3]
    settle(w, start(w))
    assert numbers(w.ready) == [3]
    confirmed(w)
    assert numbers(w.ready) == [3, 2]


def test_a_retry_parks_what_comes_after_it_and_the_cursor_passes_both():
    w = window("entity", stored(1), stored(2))
    w.retry(start(w), due_ms=50)
    changes = w.cursor.changes()
    assert [(p.event.stream_id, p.state) for p in changes.puts] == [("1-0", "retry"), ("2-0", "parked")]
    assert changes.cur == "2-0"
    w.start_due(49)
    assert not w.to_mark
    w.start_due(50)
    assert numbers(w.to_mark) == [1]


def test_the_cursor_passes_an_unfinished_event_only_when_it_is_written_into_open():
    w = window("none", stored(1), stored(2), stored(3))
    slow = start(w)
    settle(w, start(w))
    changes = w.cursor.changes()
    assert (changes.cur, changes.ahead, changes.puts) == (START, ["2-0"], [])
    w.pass_unfinished(stopping=False)
    changes = w.cursor.changes()
    assert (changes.cur, changes.passed) == ("2-0", ["2-0"])
    assert [(p.event.stream_id, p.state) for p in changes.puts] == [("1-0", "running")]
    assert slow.in_open


def test_what_may_have_been_at_work_is_suspect_and_what_came_later_is_not():
    w = taken_up("entity", [], [stored(1), stored(2, "session:2")], runto=1)
    assert (numbers(w.suspects), numbers(w.ready)) == ([1], [2])


def test_of_an_entity_only_the_first_may_have_been_at_work():
    events = [
        stored(1),
        stored(2),
        stored(3, "session:2"),
        stored(4, None),
        stored(5, None),
        stored(6, "session:2"),
    ]
    after = taken_up("entity", [], events, runto=6)
    assert numbers(after.suspects) == [1, 3, 4, 5]
    assert numbers(taken_up("none", [], events, runto=6).suspects) == [1, 2, 3, 4, 5, 6]


def test_what_was_put_in_front_of_one_at_work_does_not_make_it_innocent():
    for state, replayed in (("replay", False), ("parked", True)):
        before = OpenRecord(stored(1), state, replayed=replayed)  # type: ignore[arg-type]
        after = taken_up("entity", [before], [stored(7), stored(8)], runto=8)
        assert [entry.order[0] for entry in after._queues["session:1"] if entry.suspect] == [7]


def test_a_replayed_event_runs_before_a_later_retry_of_its_entity():
    w = taken_up("entity", [opened(1, "replay"), opened(2, "retry", due_ms=5)], [], runto=0)
    assert numbers(w.to_mark) == [1]
    w.start_due(10)
    assert numbers(w.to_mark) == [1]
    confirmed(w)
    settle(w, start(w))
    confirmed(w)
    assert numbers(w.to_mark) == [2]


def test_what_is_open_and_what_was_handed_out_come_in_the_order_of_the_log():
    """The open one was put there when the handler had no order, or another key."""
    w = taken_up("entity", [opened(3, "retry", due_ms=5)], [stored(1), stored(2)], runto=0)
    assert numbers(w.ready) == [1]
    w.start_due(10)
    assert (numbers(w.ready), numbers(w.to_mark)) == ([1], [])


def test_latest_keeps_only_the_newest_of_those_that_wait():
    w = window("latest", *(stored(n) for n in range(1, 6)))
    at_work = start(w)
    assert at_work.order == (1, 0)
    assert numbers(w.superseded) == [2, 3, 4]
    settle(w, at_work)
    confirmed(w)
    assert numbers(w.ready) == [5]


def test_latest_tells_types_and_entities_apart_and_leaves_events_without_a_key_alone():
    w = window(
        "latest", stored(1), stored(2, type="u"), stored(3, "session:2"), stored(4, None), stored(5, None)
    )
    assert (numbers(w.ready), w.superseded) == ([1, 2, 3, 4, 5], [])


def test_latest_goes_by_the_payloads_own_time_where_it_has_one():
    of = {"type": "SessionUpdateNotification"}
    arrived_ms = 1_767_398_400_000  # 2026-01-03
    later, earlier, placeholder = (
        stored(n, **of, session={"id": "1", "lastUpdatedAt": at})._replace(received_at_ms=arrived_ms + n)
        for n, at in ((2, "2026-01-02T00:00:00Z"), (3, "2026-01-01T00:00:00Z"), (4, "2099-01-01T00:00:00Z"))
    )
    assert _newest(later, earlier) is later
    assert own_ms_of(placeholder) is None
    assert _newest(stored(2), stored(3)).order == (3, 0)


def test_latest_does_not_compare_a_vendors_time_with_an_arrival():
    """The vendor's time of an event is always before its arrival: an undated one would win against all later ones."""
    of = {"type": "SessionUpdateNotification"}
    arrived_ms = 1_767_398_400_000  # 2026-01-03

    def at(n: int, own: str) -> StoredEvent:
        event = stored(n, **of, session={"id": "1", "lastUpdatedAt": own})
        return event._replace(received_at_ms=arrived_ms + n)

    ahead, right, stale = (
        at(1, "2099-01-01T00:00:00Z"),
        at(2, "2026-01-02T00:00:00Z"),
        at(3, "2026-01-01T00:00:00Z"),
    )
    undated = stored(4, **of, session={"id": "1"})
    assert _newest(ahead, right) is right
    assert _newest(ahead, right, stale) is right
    assert _newest(ahead, right, stale, undated) is undated


def _newest(*events: StoredEvent) -> StoredEvent:
    return newest_of([Entry(event, None) for event in events]).event


def test_latest_does_not_read_a_time_through_what_does_not_fit():
    of = {"type": "SessionMeterValuesNotification", "sessionId": "1"}
    at = {"timestamp": "2026-01-02T00:00:00Z"}
    listed = stored(2, **of, meterValues=[at])._replace(received_at_ms=1_767_400_000_000)
    alone = stored(2, **of, meterValues=at)._replace(received_at_ms=1_767_400_000_000)
    assert own_ms_of(listed) == 1_767_312_000_000
    assert own_ms_of(alone) is None


def test_a_newer_event_takes_the_place_and_the_due_time_of_the_open_one():
    w = window("latest", stored(1))
    w.retry(start(w), due_ms=500)
    w.cursor.changes()
    admit(w, stored(2))
    assert numbers(w.superseded) == [1]
    changes = w.cursor.changes()
    assert changes.dels == ["1-0"]
    assert [(p.event.stream_id, p.state, p.due_ms) for p in changes.puts] == [("2-0", "retry", 500)]
    w.start_due(499)
    assert not w.to_mark
    w.start_due(500)
    assert (numbers(w.to_mark), w.cursor.open_count) == ([2], 1)


def test_one_that_fails_while_a_newer_waits_gives_way_to_it():
    w = window("latest", stored(1), stored(2))
    w.retry(start(w), due_ms=500)
    assert numbers(w.superseded) == [1]
    assert [(p.event.stream_id, p.due_ms) for p in w.cursor.changes().puts] == [("2-0", 500)]


def test_after_a_death_latest_goes_on_with_the_newest_only():
    w = taken_up("latest", [opened(1, "running")], [stored(2), stored(3)], runto=3)
    assert (numbers(w.superseded), numbers(w.suspects)) == ([1, 2], [3])


def test_what_ties_events_together():
    event = stored(1)
    assert (tie_of("none", event), tie_of("entity", event), tie_of("latest", event)) == (
        None,
        "session:1",
        "1 t session:1",
    )
    assert tie_of("latest", stored(1, None)) is None
    one = event._replace(type="t session:1", key="session:2")
    other = event._replace(type="t", key="session:1 session:2")
    assert tie_of("latest", one) != tie_of("latest", other)


def test_latest_compares_the_stored_time_without_reading_the_body():
    event = StoredEvent(0, "7-0", "SessionUpdateNotification", "session:1", b"no JSON", 5_000)
    assert own_ms_of(event._replace(occurred_at_us=3_000_000)) == 3_000
    dated = {
        "notification": "SessionUpdateNotification",
        "session": {"lastUpdatedAt": "2026-01-02T00:00:00Z"},
    }
    read_before = event._replace(body=json.dumps(dated).encode(), received_at_ms=1_767_398_400_000)
    assert own_ms_of(read_before) is not None
    assert own_ms_of(read_before._replace(occurred_at_us=NO_TIME)) is None


def test_what_is_counted_for_the_lag_is_what_the_cursor_passed_and_what_is_settled_or_open_beyond():
    w = window("none", stored(1), stored(2), stored(3), stored(4))
    start(w)
    settle(w, start(w))
    w.retry(start(w), due_ms=50)
    changes = w.cursor.changes()
    assert (changes.wanted_passed, changes.beyond, changes.oldest) == (0, 2, "1-0")
    w.pass_unfinished(stopping=False)
    changes = w.cursor.changes()
    assert (changes.cur, changes.wanted_passed, changes.beyond, changes.oldest) == ("3-0", 3, 0, "1-0")


def test_the_oldest_may_be_open_or_the_first_after_the_cursor():
    w = taken_up("none", [opened(5, "retry", 9), opened(2, "retry", 9)], [stored(7)], runto=1)
    assert w.cursor.changes().oldest == "2-0"
    w.start_due(9)
    for entry in sorted(w.to_mark, key=lambda entry: entry.order):
        settle(w, entry)
        w.cursor.changes()
    assert w.cursor.changes().oldest == "7-0"
    settle(w, start(w))
    changes = w.cursor.changes()
    assert (changes.oldest, changes.wanted_passed) == (None, 1)


def test_events_that_were_open_for_a_while_are_not_kept_behind_one_that_stays_open():
    w = window("none", stored(1))
    w.retry(start(w), due_ms=10**9)
    for n in range(2, 1_000):
        admit(w, stored(n))
        slow = start(w)
        w.park(slow)
        settle(w, slow)
        assert w.cursor.changes().oldest == "1-0"
    assert (w.cursor.open_count, len(w.cursor._opened) < 100) == (1, True)


def test_events_that_gave_way_are_not_kept_until_the_retry_that_they_waited_for():
    w = window("latest", stored(1))
    w.retry(start(w), due_ms=10**9)
    for n in range(2, 1_000):
        admit(w, stored(n))
    assert len(w.retries._heap) < 100
    w.start_due(10**9)
    assert numbers(w.to_mark) == [999]
