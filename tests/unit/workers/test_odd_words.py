"""Whatever an author raises or returns, it comes to an outcome that can be written down."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampeco.errors import FieldMisfit, NotSupported, RateLimited
from eventlog.history import Settled, decode, encode
from eventlog.record import DeadLetter, OpenRecord, StoredEvent, decode_open, encode_open
from eventlog.step_ledger import Scope
from eventlog.text import REASON_CHARS
from handlers import GiveUp, Retry, Skip, Unavailable
from handlers.declaration import Handler
from handlers.outcomes import LONGEST_WAIT_S
from workers.delivery.outcomes import AttemptTimedOut, Outcome, PayloadMismatch, outcome_of
from workers.once.step import DeliveryRevoked, Step

HANDLER = Handler("h", print, {}, max_attempts=3)
EVENT = StoredEvent(0, "1-0", "t", "session:1", b"{}", 0)


class Wild(Exception):
    """What code of an author's may raise anywhere."""


def raising(*_: Any, **__: Any) -> Any:
    raise Wild("4111 1111")


def exiting(*_: Any, **__: Any) -> Any:
    raise SystemExit


ODD_VALUES: list[Any] = [
    None, b"bytes", bytearray(b"\xff"), 7, -1, True, False, 1.5, math.inf, -math.inf, math.nan, 10**400, 1e300,
    "soon", "\ud83d", "\x1b]0;x\x07", "x" * 2_000_000, [], {}, object(), object, Wild("x"), GiveUp, lambda: 1,
    type("Loud", (), {"__str__": raising, "__repr__": raising, "__eq__": raising, "__hash__": None})(),
    type("Numb", (float,), {"__lt__": raising, "__gt__": raising, "__float__": raising})(3.0),
    type("Text", (str,), {"__len__": raising, "__str__": raising, "__getitem__": raising})("text"),
    type("Truth", (), {"__bool__": raising})(),
]  # fmt: skip
CAUSES = ("itself", "wild", "misfit")
NAMES = ("reason", "slug", "after_s", "counts", "retry_after_s", "operation", "field", "args", "dependency")
TRICKS = (
    "__str__", "__repr__", "__eq__", "__hash__", "__bool__", "__class__", "__cause__", "__context__",
    "__traceback__", "__dict__", "__getattribute__", "__reduce__", "exceptions", "__notes__", *NAMES,
)  # fmt: skip
BASES: list[type[BaseException]] = [
    Skip, Retry, GiveUp, Unavailable, RateLimited, NotSupported, FieldMisfit, PayloadMismatch, AttemptTimedOut,
    MemoryError, ValueError, OSError, KeyboardInterrupt, SystemExit, GeneratorExit, StopIteration, StopAsyncIteration,
    asyncio.CancelledError, BaseException, DeliveryRevoked,
]  # fmt: skip


class OddClass(type):
    """A class of a class that raises when its name is read."""

    __name__ = property(raising)  # type: ignore[assignment]
    __bool__ = raising
    __eq__ = raising
    __hash__ = type.__hash__


@st.composite
def odd_errors(draw: st.DrawFn) -> Callable[[], Any]:
    """An exception of an author's class that forgot its base's __init__, and does odd things when it is looked at.

    In a function, since hypothesis looks at what it draws.
    """
    base = draw(st.sampled_from(BASES))
    body: dict[str, Any] = {"__init__": lambda self, *_: None}
    for name in draw(st.lists(st.sampled_from(TRICKS), unique=True, max_size=4)):
        act = draw(st.sampled_from([raising, exiting]))
        method = name in ("__str__", "__repr__", "__eq__", "__bool__", "__getattribute__", "__reduce__")
        body[name] = act if method else property(act)
    for name in draw(st.lists(st.sampled_from(NAMES), unique=True)):
        body.setdefault(name, draw(odd_values())())
    made = draw(st.sampled_from([type, OddClass]))("X" * draw(st.sampled_from([1, 100_000])), (base,), body)
    error: BaseException = made("a", "b", "c")
    if draw(st.booleans()):
        BaseException.__dict__["__cause__"].__set__(
            error,
            {"itself": error, "wild": Wild(), "misfit": FieldMisfit("id")}[draw(st.sampled_from(CAUSES))],
        )
    return lambda: error


@st.composite
def odd_groups(draw: st.DrawFn) -> Callable[[], Any]:
    errors = [error() for error in draw(st.lists(odd_errors(), min_size=1, max_size=3))]
    nested = draw(st.booleans())
    try:
        group: BaseException = BaseExceptionGroup("g", errors)
    except BaseException as error:
        group = error
    return lambda: BaseExceptionGroup("outer", [group, Wild("x")]) if nested else group


def odd_values() -> st.SearchStrategy[Callable[[], Any]]:
    return st.integers(0, len(ODD_VALUES) - 1).map(lambda place: lambda: ODD_VALUES[place])


def decide(said: object, attempt: int = 1, age_s: float = 0.0) -> Outcome:
    return outcome_of(
        said, HANDLER, attempt=attempt, age_s=age_s, failing_s=age_s, uniform=lambda _, high: high
    )


def kept(outcome: Outcome) -> None:
    """Redis and the history take it, and give it back."""
    for text in (outcome.reason, outcome.detail, outcome.trace):
        assert type(text) is str
        text.encode()
        assert len(text) <= 12 * REASON_CHARS
        assert "4111" not in text
    assert len(outcome.detail) <= REASON_CHARS + 10
    assert 0 <= outcome.delay_s <= LONGEST_WAIT_S
    note = outcome.note(1, ())
    record = OpenRecord(EVENT, "retry", 1, last_error=outcome.detail or outcome.reason, log=(note,))
    assert decode_open(0, b"1-0", encode_open(record)).log == (note,)
    settled = Settled("1-0", 0, "dead", outcome.reason, (note,))
    assert decode(encode([settled])) == [settled]
    assert DeadLetter(record, outcome.reason, outcome.trace)


@given(st.one_of(odd_errors(), odd_groups(), odd_values()), st.sampled_from([1, 3]))
def test_every_ending_can_be_written_down(said, attempt):
    kept(decide(said(), attempt))


@given(odd_errors())
def test_a_step_is_told_apart_without_asking_the_error(error):
    step = Step("pay", Scope("0-1-0"), "dead", None, automatic=False)
    assert step.may_have_happened(error()) in (True, False)


class CardUnknown(GiveUp):
    def __init__(self, card: int) -> None:
        self.card = card


class NoSlug(GiveUp):
    slug = None  # type: ignore[assignment]


def changed(error: Exception, **values: Any) -> Exception:
    for name, value in values.items():
        setattr(error, name, value)
    return error


@pytest.mark.parametrize(
    ("said", "kind", "reason", "detail"),
    [
        (CardUnknown(7), "dead", "gave-up", "CardUnknown"),
        (NoSlug("no card"), "dead", "gave-up", "no card"),
        (changed(Skip("x"), reason=b"from a driver"), "skipped", "skipped", "from a driver"),
        (changed(Skip("x"), reason=None), "skipped", "skipped", "Skip"),
        (GiveUp("no such driver \ud83d"), "dead", "gave-up", "no such driver \\ud83d"),
        (KeyboardInterrupt(), "retry", "error", "KeyboardInterrupt"),
        (ExceptionGroup("g", [GiveUp("no card"), ValueError()]), "dead", "gave-up", "no card"),
        (ExceptionGroup("g", [Skip("not mine")]), "skipped", "skipped", "not mine"),
        (ExceptionGroup("g", [Skip("not mine"), OSError()]), "retry", "error", "OSError"),
        (ExceptionGroup("g", [ValueError(), Retry("busy")]), "retry", "retry-asked", "busy"),
        (ExceptionGroup("g", [Retry("early", counts=False), OSError()]), "retry", "error", "OSError"),
        (ExceptionGroup("g", [Retry("early", counts=False), Skip("x")]), "retry", "not-yet", "early"),
        (ExceptionGroup("g", [ExceptionGroup("h", [OSError()])]), "retry", "error", "OSError"),
    ],
)
def test_what_can_be_understood_is(said, kind, reason, detail):
    outcome = decide(said)
    assert (outcome.kind, outcome.reason, outcome.detail) == (kind, reason, detail)


@pytest.mark.parametrize("base", [RateLimited, Unavailable])
def test_a_pause_of_others_that_cannot_be_read_is_left_to_the_policy(base):
    odd = type("Odd", (base,), {"__init__": lambda self: None})
    outcome = outcome_of(odd(), HANDLER, attempt=3, age_s=0.0, uniform=lambda low, high: high)
    assert (outcome.kind, outcome.counts, outcome.delay_s) == ("retry", False, 1.0)


@pytest.mark.parametrize(
    ("after_s", "delay_s", "says"),
    [
        (math.inf, LONGEST_WAIT_S, "after_s is more than 30 days, so it is cut to that"),
        (1e9, LONGEST_WAIT_S, "more than 30 days"),
        (10**400, LONGEST_WAIT_S, "more than 30 days"),
        (-3.5, 0.0, "after_s is negative, so it is 0"),
        (math.nan, 1.0, "after_s is NaN"),
        ("60", 1.0, "after_s is not a number of seconds but of the type str"),
        (True, 1.0, "of the type bool"),
        (60, 60.0, ""),
        (None, 1.0, ""),
    ],
)
def test_a_wait_that_is_none_is_bounded_and_named(after_s, delay_s, says):
    outcome = decide(Retry("later", after_s=after_s))
    assert (outcome.kind, outcome.reason, outcome.delay_s) == ("retry", "retry-asked", delay_s)
    assert outcome.detail == "later" if not says else says in outcome.detail
    long = decide(Retry("x" * 2_000_000, after_s=after_s)).detail
    assert says in long


async def _coroutine() -> None:
    raise AssertionError


def _generator() -> Any:
    yield


async def _async_generator() -> Any:
    yield


@pytest.mark.parametrize("make", [_coroutine, _generator, _async_generator])
def test_work_that_nothing_began_is_not_done(make: Callable[[], Any]):
    outcome = decide(make())
    assert (outcome.kind, outcome.reason) == ("dead", "never-awaited")


@pytest.mark.parametrize(
    ("returned", "reason"),
    [(True, ""), ({}, ""), (Skip("x"), "skipped"), (GiveUp("x"), "gave-up"), (OSError(), "error")],
)
def test_a_returned_error_counts_as_raised_and_any_other_value_as_done(returned, reason):
    assert decide(returned).reason == reason
    assert (decide(returned).kind == "done") == (not reason)
