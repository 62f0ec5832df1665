"""Turns for large bodies: one at a time, in order, with a pause as long as the work before it."""

from __future__ import annotations

import gc
from collections.abc import Callable

import pytest

from receiver.large_bodies import Turns


class Time:
    """A clock that the work moves, and one timer."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.pause_s: float | None = None
        self.done: list[str] = []

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        self.pause_s, self._call = seconds, call

    def end_pause(self) -> None:
        self.pause_s = None
        self._call()

    def work(self, name: str, seconds: float) -> Callable[[], None]:
        def do() -> None:
            assert not gc.isenabled()
            self.seconds += seconds
            self.done.append(name)

        return do


def turns(time: Time) -> Turns:
    return Turns(max_waiting_bytes=10, clock=lambda: time.seconds, later=time.later)


def test_the_first_is_taken_at_once_and_each_next_one_after_a_pause_as_long_as_the_work() -> None:
    time = Time()
    taking = turns(time)
    assert all(
        taking.add(4, time.work(name, seconds)) for name, seconds in (("a", 3.0), ("b", 1.0), ("c", 2.0))
    )
    assert (time.done, time.pause_s) == (["a"], 3.0)
    time.end_pause()
    assert (time.done, time.pause_s) == (["a", "b"], 1.0)
    time.end_pause()
    assert (time.done, time.pause_s) == (["a", "b", "c"], 2.0)
    time.end_pause()
    assert time.pause_s is None
    assert taking.add(4, time.work("d", 1.0))
    assert time.done == ["a", "b", "c", "d"]
    assert gc.isenabled()


def test_what_waits_is_bounded_and_the_bytes_are_given_back() -> None:
    time = Time()
    taking = turns(time)
    assert [taking.add(5, time.work(name, 1.0)) for name in "abcd"] == [True, True, True, False]
    time.end_pause()
    assert taking.add(5, time.work("e", 1.0))
    for _ in range(3):
        time.end_pause()
    assert time.done == ["a", "b", "c", "e"]


def test_work_that_fails_does_not_end_the_turns() -> None:
    time = Time()
    taking = turns(time)
    with pytest.raises(ZeroDivisionError):
        taking.add(4, lambda: print(1 / 0))
    assert taking.add(4, time.work("next", 1.0))
    time.end_pause()
    assert time.done == ["next"]
    assert gc.isenabled()
