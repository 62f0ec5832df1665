"""The one table: exception -> done, skipped, again in n seconds, or dead."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampeco.errors import ChargePointRefused, FieldMisfit, NotFound, NotSupported, RateLimited, ServerFault
from eventlog.record import AttemptNote
from handlers import GiveUp, Retry, Skip, Unavailable
from handlers.declaration import NOT_YET_FOR_S, Backoff, Handler
from handlers.outcomes import CallNotDeclared, StepUncertain
from workers.delivery.outcomes import AttemptTimedOut, PayloadMismatch, delay_s, outcome_of, where

BASE_S = Backoff().base_s


def longest(_: float, high: float) -> float:
    return high


def shortest(low: float, _: float) -> float:
    return low


def decide(
    error: BaseException | None, *, attempt: int = 1, max_attempts: int | None = 3, age_s: float = 0.0
):
    handler = Handler("h", print, {}, max_attempts=max_attempts)
    return outcome_of(error, handler, attempt=attempt, age_s=age_s, failing_s=age_s, uniform=longest)


@pytest.mark.parametrize(
    ("error", "kind", "reason", "delay"),
    [
        (None, "done", "", 0),
        (Skip("x"), "skipped", "skipped", 0),
        (GiveUp("x"), "dead", "gave-up", 0),
        (CallNotDeclared("x"), "dead", "call-not-declared", 0),
        (PayloadMismatch("x"), "dead", "payload-mismatch", 0),
        (FieldMisfit("session.id"), "dead", "payload-mismatch", 0),
        (
            ExceptionGroup("x", [OSError(), ExceptionGroup("y", [FieldMisfit("id")])]),
            "dead",
            "payload-mismatch",
            0,
        ),
        (ExceptionGroup("x", [OSError()]), "retry", "error", BASE_S),
        (Retry("x"), "retry", "retry-asked", BASE_S),
        (Retry("x", after_s=7), "retry", "retry-asked", 7),
        (Retry("x", after_s=0), "retry", "retry-asked", 0),
        (Retry("x", counts=False, after_s=900), "retry", "not-yet", 900),
        (AttemptTimedOut(), "retry", "timed-out", BASE_S),
        (MemoryError(), "retry", "out-of-memory", BASE_S),
        (RateLimited("op", 429, "slow down", retry_after_s=42.0), "retry", "rate-limited", 52.5),
        (Unavailable("billing"), "retry", "unavailable", BASE_S),
        (Unavailable("billing", retry_after_s=8), "retry", "unavailable", 10),
        (KeyError("personal data"), "retry", "code-error", BASE_S),
        (NotFound("op", 404, "gone"), "retry", "error", BASE_S),
        (ChargePointRefused("op", 406, "rejected"), "retry", "error", BASE_S),
        (NotSupported("op", 501, ""), "dead", "not-supported", 0),
        (ValueError("personal data"), "retry", "error", BASE_S),
    ],
)
def test_each_ending_has_one_outcome(error, kind, reason, delay):
    outcome = decide(error)
    assert (outcome.kind, outcome.reason, outcome.delay_s) == (kind, reason, delay)
    assert "personal data" not in repr(outcome)


@pytest.mark.parametrize("error", [ValueError(), Retry("x"), AttemptTimedOut(), TypeError()])
def test_the_last_attempt_that_counts_is_the_end(error):
    assert decide(error, attempt=3).reason == "attempts-exhausted"
    assert decide(error, attempt=3).kind == "dead"


def test_not_yet_is_bounded_by_age_and_not_by_attempts():
    early = Retry("too early", counts=False, after_s=1)
    assert decide(early, attempt=99).kind == "retry"
    assert not decide(early, attempt=99).counts
    assert decide(early, age_s=NOT_YET_FOR_S + 1).reason == "too-early-for-too-long"


def test_a_call_that_our_own_budget_refused_spends_no_attempt():
    spent = RateLimited("resources.users.read", None, "our own rate budget is spent", retry_after_s=7.0)
    outcome = decide(spent, attempt=99)
    assert (outcome.kind, outcome.reason, outcome.detail) == ("retry", "rate-limited", "resources.users.read")
    assert (outcome.counts, outcome.delay_s) == (False, 8.75)
    assert decide(spent, age_s=NOT_YET_FOR_S + 1).reason == "rate-limited-for-too-long"


@pytest.mark.parametrize("age_s", [0.0, 900.0, 999.0, 1000.0])
@pytest.mark.parametrize("asked_s", [0.0, 60.0, 1e9])
@pytest.mark.parametrize(
    "make",
    [lambda s: RateLimited("op", 429, "", retry_after_s=s), lambda s: Unavailable("b", retry_after_s=s)],
)
def test_nobody_waits_longer_for_others_than_the_handler_has_patience(make, asked_s, age_s):
    handler = Handler("h", print, {}, backoff=Backoff(7.0, 70.0), not_yet_for_s=1000.0, max_attempts=1)
    outcome = outcome_of(make(asked_s), handler, attempt=1, age_s=age_s, uniform=longest)
    assert (outcome.kind, outcome.counts) == ("retry", False)
    asked_s = min(asked_s, 30 * 86_400.0)
    assert outcome.delay_s == min(asked_s + max(asked_s / 4, 7.0), max(1000.0 - age_s, 7.0))


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RateLimited("op", 429, ""), "rate-limited-for-too-long"),
        (Unavailable("b"), "unavailable-for-too-long"),
    ],
)
def test_what_others_hold_up_ends_with_the_patience_of_the_handler(error, reason):
    assert decide(error, age_s=NOT_YET_FOR_S + 1).reason == reason


@pytest.mark.parametrize(
    "error", [RateLimited("op", 429, ""), Unavailable("billing"), Retry("too early", counts=False)]
)
def test_pauses_that_nobody_named_grow_although_no_attempt_is_spent(error):
    reason = decide(error).reason
    earlier = [AttemptNote(1, "error"), *[AttemptNote(n, reason) for n in (2, 3, 4)]]
    said = outcome_of(error, Handler("h", print, {}), attempt=1, age_s=0, uniform=longest, earlier=earlier)
    assert said.delay_s == 8 * BASE_S


def test_an_asked_pause_never_ends_early_and_not_for_all_at_once():
    limited, handler = RateLimited("op", 429, "", retry_after_s=40.0), Handler("h", print, {})
    least = outcome_of(limited, handler, attempt=1, age_s=0, uniform=shortest).delay_s
    most = outcome_of(limited, handler, attempt=1, age_s=0, uniform=longest).delay_s
    assert (least, most) == (40.0, 50.0)


def test_the_default_policy_lasts_a_day_and_has_no_limit_of_attempts():
    error = ServerFault("op", 500, "")
    assert decide(error, attempt=10_000, max_attempts=None, age_s=86_399.0).kind == "retry"
    last = decide(error, attempt=60, max_attempts=None, age_s=86_400.0)
    assert (last.kind, last.reason, last.detail) == ("dead", "retried-too-long", "ServerFault")


def test_the_pauses_of_the_default_policy_are_short_at_first_and_half_an_hour_at_most():
    waits = [decide(ValueError(), attempt=n, max_attempts=None).delay_s for n in range(1, 14)]
    assert waits[:3] == [1.0, 2.0, 4.0]
    assert waits[-2:] == [1_800.0, 1_800.0]


def test_the_last_attempt_comes_when_the_handler_gives_up():
    assert decide(ValueError(), attempt=60, max_attempts=None, age_s=86_000.0).delay_s == 400.0


def test_equal_jitter_keeps_half_of_each_pause():
    backoff = Backoff(base_s=8.0, cap_s=60.0)
    assert (delay_s(1, backoff, shortest), delay_s(1, backoff, longest)) == (4.0, 8.0)


@pytest.mark.parametrize("error", [TypeError(), AttributeError(), KeyError(), NameError(), AssertionError()])
def test_an_error_that_is_surely_the_authors_is_dead_after_ten_minutes(error):
    def after(seconds: float):
        earlier = [AttemptNote(0, "error"), *[AttemptNote(1_000 * n, "code-error") for n in (1_000, 1_300)]]
        began_ms = round(1_000_000 + seconds * 1_000)
        handler = Handler("h", print, {})
        known = {"attempt": 9, "age_s": 5_000.0, "failing_s": 5_000.0, "earlier": earlier}
        return outcome_of(error, handler, **known, uniform=longest, began_ms=began_ms)

    assert (after(300.0).kind, after(300.0).delay_s) == ("retry", 256.0)
    assert after(590.0).delay_s == 10.0
    assert (after(600.0).kind, after(600.0).reason, after(600.0).detail) == (
        "dead",
        "code-error",
        type(error).__name__,
    )


def test_a_code_error_after_other_failures_begins_its_ten_minutes():
    """A delivery that failed for hours by itself is not lost to the first fault of a new release."""
    earlier = [AttemptNote(0, "code-error"), AttemptNote(1, "error", "ServerFault")]
    said = outcome_of(
        KeyError(),
        Handler("h", print, {}),
        attempt=9,
        age_s=80_000.0,
        failing_s=80_000.0,
        uniform=longest,
        earlier=earlier,
        began_ms=10**10,
    )
    assert said.kind == "retry"


def test_attempts_that_do_not_count_take_nothing_of_the_time_in_which_failures_go_on():
    def after(failing_s: float, attempt: int):
        known = {"attempt": attempt, "age_s": 200_000.0, "failing_s": failing_s, "uniform": longest}
        return outcome_of(OSError(), Handler("h", print, {}), **known)

    assert after(0.0, 1).kind == "retry"
    assert after(86_399.0, 30).kind == "retry"
    assert after(86_400.0, 30).reason == "retried-too-long"


def test_the_last_not_yet_comes_when_the_handler_gives_up():
    handler = Handler("h", print, {}, not_yet_for_s=1000.0)
    early = Retry("too early", counts=False, after_s=86_400.0)
    assert outcome_of(early, handler, attempt=1, age_s=100.0, uniform=longest).delay_s == 900.0


def test_a_wait_that_an_author_asks_for_is_kept():
    handler = Handler("h", print, {}, not_yet_for_s=1000.0)
    assert (
        outcome_of(Retry("x", after_s=5000.0), handler, attempt=1, age_s=0, uniform=longest).delay_s == 5000.0
    )


def test_where_it_failed_is_told_without_what_was_said():
    def failing() -> None:
        raise ValueError("4111 1111 1111 1111")

    try:
        failing()
    except ValueError as error:
        trace = decide(error).trace
    assert "ValueError" in trace
    assert "in failing" in trace
    assert "4111" not in trace


@given(st.integers(1, 10_000))
def test_backoff_grows_to_its_cap_and_never_beyond(attempt):
    backoff = Backoff(base_s=0.5, cap_s=60.0)
    assert 0 < delay_s(attempt, backoff, longest) <= 60.0
    assert delay_s(attempt, backoff, longest) <= delay_s(attempt + 1, backoff, longest)


def test_without_jitter_nothing_is_left_to_chance():
    backoff = Backoff(base_s=0.5, cap_s=3.0, jitter=False)
    assert [delay_s(n, backoff, lambda low, high: -1.0) for n in (1, 2, 3, 4, 99)] == [
        0.5,
        1.0,
        2.0,
        3.0,
        3.0,
    ]


def test_a_handlers_own_policy_decides():
    handler = Handler(
        "h", print, {}, max_attempts=9, backoff=Backoff(7.0, 7.0, jitter=False), not_yet_for_s=10.0
    )
    early = Retry("too early", counts=False, after_s=1)
    assert outcome_of(ValueError(), handler, attempt=8, age_s=0, uniform=longest).delay_s == 7.0
    assert outcome_of(early, handler, attempt=1, age_s=11.0, uniform=longest).kind == "dead"


def test_where_it_failed_can_be_written_down_whatever_the_file_is_called():
    try:
        exec(compile("raise ValueError('secret')", "plugin-\udcff.py", "exec"))  # noqa: S102 - our own line
    except ValueError as error:
        said = where(error)
    assert "plugin-\\udcff.py:1" in said
    assert "secret" not in said
    said.encode()


def test_an_uncertain_step_says_what_its_call_ended_with_and_where():
    def call() -> None:
        raise ValueError("secret")

    try:
        try:
            call()
        except ValueError as error:
            raise StepUncertain("step 'pay' was called, and its outcome is unknown") from error
    except StepUncertain as error:
        found = decide(error)
    assert found.detail == "step 'pay' was called, and its outcome is unknown: ValueError"
    assert found.trace.splitlines()[0] == "StepUncertain from ValueError"
    assert found.trace.endswith("in call")
    assert "secret" not in found.trace


def test_of_a_long_way_the_first_lines_are_kept_too():
    def deep(levels: int) -> None:
        if levels:
            deep(levels - 1)
        raise ValueError

    try:
        deep(100)
    except ValueError as error:
        lines = where(error).splitlines()
    assert len(lines) < 20
    assert lines[1].endswith("in test_of_a_long_way_the_first_lines_are_kept_too")
    assert lines[-1].endswith("in deep")


def test_a_misfit_is_found_behind_the_errors_that_were_raised_from_it():
    outer, inner = ValueError(), OSError()
    outer.__cause__, inner.__cause__ = inner, FieldMisfit("session.energy")
    assert (decide(outer).reason, decide(outer).detail) == ("payload-mismatch", "session.energy")
    inner.__cause__ = outer  # a ring holds none
    assert decide(outer).reason == "error"
    while_handled = ValueError()
    while_handled.__context__ = FieldMisfit("session.energy")
    assert decide(while_handled).reason == "error"


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("error", "detail"),
    [
        (ValueError("no such user"), "ValueError: no such user"),
        (ValueError(), "ValueError"),
        (Mute("x"), "Mute"),
        (KeyError("a" * 5_000), "KeyError: 'aaa"),
    ],
)
def test_the_text_of_an_exception_is_kept_only_where_the_author_says_that_it_may_be(error, detail) -> None:
    safe, usual = Handler("h", print, {}, error_text=True), Handler("h", print, {})
    shown = outcome_of(error, safe, attempt=1, age_s=0, uniform=longest).detail
    assert shown.startswith(detail)
    assert len(shown) <= 1_000
    assert outcome_of(error, usual, attempt=1, age_s=0, uniform=longest).detail == type(error).__name__
