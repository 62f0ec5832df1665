"""When a drain reads, how much, and when it falls asleep: without a server and without a clock."""

from __future__ import annotations

import pytest

from eventlog.lease import Read
from eventlog.record import OPEN_QUOTA, StoredEvent
from workers.drain.reader import FIRST_BATCH, FULL_S, MAX_BATCH, MAX_WINDOW, MIN_BATCH, POLL_S, Reader
from workers.drain.window import Window

VERSION = "v1"


def stored(n: int, type: str = "t") -> StoredEvent:
    return StoredEvent(0, f"{n}-0", type, None, b"{}", n)


def reader(ready: int = 0, at_work: int = 0, open_count: int = 0) -> Reader:
    """Of a drain that has so many events at hand."""
    window = Window("none", "0-0")
    for n in range(1, at_work + ready + 1):
        window.admit(stored(n))
    for _ in range(at_work):
        window.begin(window.ready.popleft(), 1)
    window.cursor.open_count = open_count
    return Reader(window, VERSION, lambda name: name == "t")


def read_full(of: Reader, *, every_s: float, times: int, start_s: float = 100.0) -> None:
    """Full batches, each asked for `every_s` after the one before."""
    for n in range(times):
        asked_s = start_s + n * every_s
        of.got(of.batch, exhausted=False, worked_s=asked_s, now_s=asked_s)


def appetite(of: Reader) -> int:
    return of.appetite(suspects=False)


def test_the_first_batch_is_small_since_a_crash_suspects_all_of_it():
    assert appetite(reader()) == FIRST_BATCH


@pytest.mark.parametrize(
    ("every_s", "batch"),
    [
        (0.049, FIRST_BATCH * 2),
        (0.05, FIRST_BATCH),
        (0.2, FIRST_BATCH),
        (0.201, FIRST_BATCH // 2),
    ],
)
def test_batches_grow_where_events_are_quick_and_shrink_where_they_are_slow(every_s, batch):
    r = reader()
    r.got(FIRST_BATCH, exhausted=False, worked_s=0.0, now_s=0.0)
    assert r.batch == FIRST_BATCH, "nothing is known of the speed yet"
    r.got(FIRST_BATCH, exhausted=False, worked_s=every_s, now_s=every_s)
    assert r.batch == batch


def test_batches_grow_and_shrink_between_two_limits():
    r = reader()
    read_full(r, every_s=0.01, times=20)
    assert r.batch == MAX_BATCH
    read_full(r, every_s=1.0, times=20, start_s=200.0)
    assert r.batch == MIN_BATCH


def test_a_batch_that_was_not_full_says_nothing_of_the_speed():
    r = reader()
    for asked_s in (1.0, 1.001, 9.0):
        r.got(FIRST_BATCH - 1, exhausted=True, worked_s=asked_s, now_s=asked_s)
        assert r.batch == FIRST_BATCH


def test_nothing_is_read_while_more_than_half_a_batch_is_ready():
    assert appetite(reader(ready=FIRST_BATCH // 2)) == FIRST_BATCH
    assert appetite(reader(ready=FIRST_BATCH // 2 + 1)) == 0


def test_nothing_is_read_beyond_the_largest_window():
    assert appetite(reader(at_work=MAX_WINDOW - 1)) == FIRST_BATCH
    assert appetite(reader(at_work=MAX_WINDOW)) == 0


def test_nothing_is_read_while_open_is_full_and_the_drain_can_say_so():
    r = reader(open_count=OPEN_QUOTA - 1)
    assert (appetite(r), r.full) == (FIRST_BATCH, False)
    r = reader(open_count=OPEN_QUOTA)
    assert (appetite(r), r.full) == (0, True)


def test_a_lane_that_was_full_reads_again_when_there_is_some_room():
    r = reader(open_count=OPEN_QUOTA - 1)
    r.begin(OPEN_QUOTA - 1)
    assert (appetite(r), r.full) == (0, True)
    r = reader(open_count=OPEN_QUOTA * 9 // 10 - 1)
    r.full = True
    assert (appetite(r), r.full) == (FIRST_BATCH, False)


def test_nothing_is_read_while_suspects_run():
    assert reader().appetite(suspects=True) == 0


def test_reads_on_at_once_while_more_is_known_to_be_there():
    r = reader()
    assert r.due(10.0, suspects=False) == FIRST_BATCH
    r.got(FIRST_BATCH, exhausted=False, worked_s=10.0, now_s=10.0)
    assert r.due(10.001, suspects=False) == FIRST_BATCH


def test_looks_for_new_events_only_now_and_then_once_all_are_read():
    r = reader()
    r.got(3, exhausted=True, worked_s=9.99, now_s=10.0)
    assert r.due(10.0 + POLL_S - 0.001, suspects=False) == 0
    assert r.due(r.next_s, suspects=False) == FIRST_BATCH


def test_does_not_come_back_at_once_where_there_is_no_room():
    r = reader(ready=FIRST_BATCH)
    assert r.due(10.0, suspects=False) == 0
    assert r.next_s == 10.0 + FULL_S


def test_new_events_are_looked_for_in_time_however_often_a_busy_drain_is_woken():
    r = reader(at_work=1)
    r.got(3, exhausted=True, worked_s=9.99, now_s=10.0)
    assert [r.due(10.0 + n * 0.01, suspects=False) for n in range(6)] == [0, 0, 0, 0, 0, FIRST_BATCH]


def test_an_idle_drain_lingers_once_before_it_falls_asleep():
    r = reader()
    r.got(0, exhausted=True, worked_s=1.0, now_s=1.0)
    assert [r.rest(1.0), r.rest(1.008), r.rest(1.01)] == ["linger", "sleep", "linger"]


def test_does_not_linger_while_more_is_known_to_be_there():
    assert reader().rest(1.0) == "sleep"


def test_lingers_again_after_there_was_something_to_do():
    r = reader()
    r.got(0, exhausted=True, worked_s=1.0, now_s=1.0)
    assert r.rest(1.0) == "linger"
    r.due(1.004, suspects=False)
    assert r.rest(1.005) == "linger"


@pytest.mark.parametrize(("open_count", "stays_s"), [(0, 0.0), (500, 0.5), (9_999, 9.999), (50_000, 10.0)])
def test_stays_awake_for_as_long_as_coming_back_would_cost(open_count, stays_s):
    """Coming back reads all of `open`: a millisecond for each record, at most ten seconds."""
    r = reader(open_count=open_count)
    begun_s = 7.0
    first = r.rest(begun_s)
    assert first == ("stay" if stays_s else "sleep")
    if stays_s:
        assert r.rest(begun_s + stays_s - 0.001) == "stay"
    assert r.rest(begun_s + stays_s + 0.001) == "sleep"


def test_idle_time_begins_again_after_there_was_something_to_do():
    r = reader(open_count=500)
    assert r.rest(0.0) == "stay"
    r.idle_no_more()
    assert r.rest(0.6) == "stay"


def answer(newest: str, *events: StoredEvent) -> Read:
    return Read(events, scanned="9-0", newest=newest)


def test_the_newest_code_settles_all_that_it_reads():
    r = reader()
    read = answer(VERSION, stored(1), stored(2, "only the newer code wants this"))
    assert r.ours(read, "0-0") == (read.events, "9-0")
    assert not r.outdated


def test_older_code_settles_what_it_wants_too():
    r = reader()
    read = answer("v2", stored(1), stored(2))
    assert r.ours(read, "0-0") == (read.events, "9-0")
    assert not r.outdated


@pytest.mark.parametrize(("wanted", "end"), [(0, "0-5"), (1, "1-0"), (2, "2-0")])
def test_older_code_stops_at_the_first_event_that_only_newer_code_wants(wanted, end):
    r = reader()
    ours = [stored(n) for n in range(1, wanted + 1)]
    read = answer("v2", *ours, stored(3, "u"), stored(4))
    events, position = r.ours(read, "0-5")
    assert (list(events), position) == (ours, end)
    assert r.outdated
    assert appetite(r) == 0
