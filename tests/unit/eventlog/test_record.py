"""Records of the log survive the way through Redis, and a version we do not know is never guessed."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventlog.record import (
    KEPT_ATTEMPTS,
    NO_TIME,
    AttemptNote,
    OpenRecord,
    StoredEvent,
    UnknownRecord,
    decode_event,
    decode_open,
    encode_open,
    id_order,
    written_mark,
)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
events = st.builds(
    StoredEvent,
    lane=st.just(3),
    stream_id=st.just("17-4"),
    type=texts,
    key=st.none() | texts.filter(bool),
    body=st.binary(max_size=200),
    received_at_ms=st.integers(0, 2**45),
    key_id=texts,
    marks=st.lists(st.sampled_from(["misfit", "maybe_repeat"]), unique=True).map(tuple),
    traceparent=texts,
    occurred_at_us=st.none() | st.integers(0, 2**52),
)


@given(
    st.builds(
        OpenRecord,
        event=events,
        state=st.sampled_from(["running", "retry", "parked"]),
        replayed=st.booleans(),
        log=st.lists(
            st.builds(
                AttemptNote, st.integers(0, 2**45), texts, texts, st.lists(texts, max_size=2).map(tuple)
            ),
            max_size=KEPT_ATTEMPTS,
        ).map(tuple),
        due_ms=st.none() | st.integers(0, 2**45),
        attempts=st.integers(0, 100),
        crashes=st.integers(0, 3),
        first_ms=st.integers(0, 2**45),
        last_error=texts,
        wait_ms=st.none() | st.integers(0, 2**45),
        own_key=st.none() | texts,
        failed_ms=st.integers(0, 2**45),
    )
)
def test_an_open_record_comes_back_as_it_went(record):
    assert decode_open(3, b"17-4", encode_open(record)) == record


@given(st.binary(max_size=60))
def test_bytes_that_are_no_record_are_never_guessed(data):
    with pytest.raises(UnknownRecord):
        decode_open(0, b"1-0", data)


def test_a_newer_record_is_refused():
    newer = json.dumps({"v": 3}).encode() + b"\n{}"
    with pytest.raises(UnknownRecord):
        decode_open(0, b"1-0", newer)
    with pytest.raises(UnknownRecord):
        decode_event(0, b"1-0", [b"v", b"2", b"t", b"x"])


def test_a_record_from_before_the_log_of_attempts_is_read():
    head = {
        "v": 1, "state": "retry", "type": "t", "key": "session:1", "received": 5, "due": 9, "attempts": 2,
        "crashes": 1, "first": 4, "error": "ValueError", "key_id": "ab", "marks": [], "traceparent": "",
    }  # fmt: skip
    record = decode_open(3, b"17-4", json.dumps(head).encode() + b"\n{}")
    assert (record.attempts, record.due_ms, record.replayed, record.log) == (2, 9, False, ())


@pytest.mark.parametrize("failed", [None, "5", -1, 1.5, True, 10**20])
def test_a_time_of_the_first_failure_that_cannot_be_is_none(failed):
    line, body = encode_open(OpenRecord(StoredEvent(0, "1-0", "t", None, b"{}", 1), "retry")).split(b"\n")
    head = {**json.loads(line), "failed": failed}
    assert decode_open(0, b"1-0", json.dumps(head).encode() + b"\n" + body).failed_ms == 0


def test_what_is_put_into_replay_stays_replayed_when_its_state_moves_on():
    event = StoredEvent(0, "1-0", "t", None, b"{}", 1)
    assert decode_open(0, b"1-0", encode_open(OpenRecord(event, "replay"))).replayed


def test_only_the_last_attempts_are_kept():
    event = StoredEvent(0, "1-0", "t", None, b"{}", 1)
    notes = tuple(AttemptNote(n, "error") for n in range(KEPT_ATTEMPTS + 5))
    kept = decode_open(0, b"1-0", encode_open(OpenRecord(event, "retry", log=notes))).log
    assert kept == notes[5:]


def test_an_event_keeps_its_bytes_and_its_identity():
    fields = [
        b"v",
        b"1",
        b"t",
        b"x",
        b"k",
        b"",
        b"b",
        b"\x00raw",
        b"r",
        b"12",
        b"s",
        b"abcd",
        b"m",
        b"misfit",
    ]
    event = decode_event(5, b"1700000000000-3", fields)
    assert (event.event_id, event.key, event.body) == ("5-1700000000000-3", None, b"\x00raw")
    assert event.marks == ("misfit",)


def test_ids_compare_as_numbers():
    assert id_order("9-2") < id_order("10-1") < id_order("10-11")


MOMENT = datetime(2026, 11, 24, 5, 59, 0, 123_457, tzinfo=UTC)


def entry(marks: str) -> list[bytes]:
    return [b"v", b"1", b"t", b"x", b"k", b"", b"b", b"{}", b"r", b"12", b"s", b"ab", b"m", marks.encode()]


@pytest.mark.parametrize("mark", ["", "stale"])
@pytest.mark.parametrize("occurred_at", [None, MOMENT])
@pytest.mark.parametrize("added", ["", ",maybe_repeat,no-own-time"])
def test_the_payloads_own_time_is_stored_to_the_microsecond(mark, occurred_at, added):
    event = decode_event(0, b"1-0", entry(written_mark(mark, occurred_at) + added))
    assert event.occurred_at == occurred_at
    assert event.occurred_at_us is not None
    assert event.marks == tuple(part for part in (mark + added).split(",") if part)


def test_an_event_of_older_code_says_nothing_of_its_time():
    event = decode_event(0, b"1-0", entry("maybe_repeat,no-own-time"))
    assert (event.occurred_at_us, event.occurred_at) == (None, None)
    assert decode_event(0, b"1-0", entry("")).occurred_at_us is None


def test_a_time_that_is_no_number_is_never_guessed():
    with pytest.raises(UnknownRecord):
        decode_event(0, b"1-0", entry("at=soon"))


def old_event(fields: list[bytes]) -> dict[str, Any]:
    """Read an event by the rule of the version before."""
    assert fields[::2] == [b"v", b"t", b"k", b"b", b"r", b"s", b"m"]
    marks = fields[-1]
    return {"received": int(fields[9]), "marks": tuple(marks.decode().split(",")) if marks else ()}


def test_older_code_reads_an_event_with_a_time_and_passes_the_time_on():
    old = old_event(entry(written_mark("stale", MOMENT) + ",maybe_repeat,not-last"))
    assert old["received"] == 12
    assert {"stale", "maybe_repeat", "not-last"} < set(old["marks"])
    head = {
        "v": 2, "state": "retry", "type": "t", "key": None, "received": old["received"], "due": 9,
        "attempts": 2, "crashes": 0, "first": 4, "error": "", "key_id": "ab", "marks": old["marks"],
        "traceparent": "", "replayed": False, "log": [],
    }  # fmt: skip
    written_by_old_code = json.dumps(head).encode() + b"\n{}"
    event = decode_open(0, b"1-0", written_by_old_code).event
    assert (event.occurred_at, event.marks) == (MOMENT, ("stale", "maybe_repeat", "not-last"))


@pytest.mark.parametrize("at_us", [None, NO_TIME, 1_764_000_000_123_456])
def test_older_code_reads_an_open_record_with_a_time(at_us):
    event = StoredEvent(0, "1-0", "t", None, b"{}", 1, marks=("maybe_repeat",), occurred_at_us=at_us)
    head = json.loads(encode_open(OpenRecord(event, "running")).partition(b"\n")[0])
    assert head["v"] == 2
    assert "maybe_repeat" in head["marks"]
    assert set(head) == {
        "v", "state", "type", "key", "received", "due", "attempts", "crashes", "first", "error", "key_id",
        "marks", "traceparent", "replayed", "log",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("stored", "read"),
    [(None, ""), (5, "5"), (["a"], '["a"]'), ("half \ud83d", r"half \ud83d"), ("r" * 5_000, "r" * 999 + "…")],
)
def test_whatever_reason_older_code_stored_is_read_as_short_and_valid_text(stored, read):
    record = OpenRecord(StoredEvent(0, "1-0", "t", None, b"{}", 1), "retry")
    head, _, body = encode_open(record).partition(b"\n")
    old = json.loads(head) | {"error": stored, "log": [[1, "error", stored, ["x" * 1_000]] * 1]}
    found = decode_open(0, b"1-0", json.dumps(old).encode() + b"\n" + body)
    assert (found.last_error, found.log[0].detail) == (read, read)
    assert len(found.log[0].actions[0]) == 300


def test_what_authors_said_is_bounded_in_an_open_record():
    note = AttemptNote(1, "error", "r" * 2_000_000, tuple("a" * 1_000 for _ in range(100)))
    event = StoredEvent(0, "1-0", "t", None, b"{}", 1)
    record = OpenRecord(event, "retry", last_error="r" * 2_000_000, log=(note,) * 10)
    assert len(encode_open(record)) < 200_000
    assert decode_open(0, b"1-0", encode_open(record)).log[0].actions[-1] == "… 51 more"
