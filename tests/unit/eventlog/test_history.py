"""The history survives its packing, and costs little where nothing happened."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventlog.history import OUTCOMES, Settled, decode, encode, hash_of
from eventlog.record import AttemptNote, UnknownRecord

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
notes = st.builds(
    AttemptNote,
    at_ms=st.integers(0, 2**45),
    outcome=texts,
    detail=texts,
    actions=st.lists(texts, max_size=3).map(tuple),
)
settled = st.builds(
    Settled,
    stream_id=st.tuples(st.integers(0, 2**43), st.integers(0, 2**20 - 1)).map(
        lambda parts: f"{parts[0]}-{parts[1]}"
    ),
    key_hash=st.integers(0, 2**32 - 1),
    outcome=st.sampled_from(OUTCOMES),
    reason=texts,
    attempts=st.lists(notes, max_size=3).map(tuple),
)


@given(st.lists(settled, max_size=20))
def test_what_was_settled_comes_back_as_it_went(deliveries):
    assert decode(encode(deliveries)) == deliveries


def test_an_uneventful_delivery_takes_13_bytes():
    plain = Settled("1700000000000-3", hash_of("session:4711"), "done")
    assert len(encode([plain] * 100)) == 1300


def test_nothing_settled_is_nothing_written():
    assert encode([]) == b""


@given(st.lists(settled, min_size=1, max_size=3), st.integers(1, 12))
def test_an_entry_that_is_cut_short_is_never_guessed(deliveries, missing):
    with pytest.raises(UnknownRecord):
        decode(encode(deliveries)[:-missing])


def test_an_outcome_that_is_not_known_is_never_guessed():
    packed = bytearray(encode([Settled("1-0", 0, "done")]))
    packed[12] = 0x7F
    with pytest.raises(UnknownRecord):
        decode(bytes(packed))


def test_only_an_event_without_key_has_no_hash():
    assert hash_of(None) == 0
    assert hash_of("session:1") == hash_of("session:1") != hash_of("session:2")
    assert hash_of("") != 0
