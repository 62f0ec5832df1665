"""The line that the log keeps of a call to AMPECO: written, read back, and read as older code wrote it."""

from __future__ import annotations

import pytest

from eventlog.attempt_notes import ACTION_CHARS, AttemptNote, kept_note
from eventlog.called import Call, more, read_call

RESET = "/public-api/actions/charge-point/v1.0/12/reset/soft"


@pytest.mark.parametrize(
    "call",
    [
        Call("charge-point.reset", RESET, "ok", 202, 140),
        Call("charge-point.reset", RESET, "no-answer", None, 10_000),
        Call("charge-point.reset", RESET, "call-not-declared", None),
        Call("POST /public-api/x/v1.0/1", "/public-api/x/v1.0/1", "server-fault", 503, 0),
    ],
)
def test_a_line_is_read_as_it_was_written(call):
    assert read_call(call.line()) == call


def test_a_line_of_older_code_has_no_duration():
    assert read_call(f"charge-point.reset {RESET} ok 202") == Call("charge-point.reset", RESET, "ok", 202)


@pytest.mark.parametrize(
    "line", ["", more(3), "words", "op /path ok 2000", f"op {RESET} ok 202 9999999999ms"]
)
def test_another_line_is_no_call(line):
    assert read_call(line) is None


def test_a_long_path_loses_its_end_and_not_the_outcome():
    line = Call("op", f"/{'x' * 1_000}", "not-sent", None, 3).line()
    [kept] = kept_note(AttemptNote(1, "error", "", (line,))).actions
    assert len(kept) <= ACTION_CHARS
    found = read_call(kept)
    assert found is not None
    assert (found.outcome, found.ms) == ("not-sent", 3)
