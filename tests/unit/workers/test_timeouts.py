"""One timer for many time limits: each rings in its time, unless it was dropped; on a clock that is moved by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from workers.delivery.timeouts import Timeouts


class FakeLoop:
    """Tells the time and calls back when it is moved on.

    Attributes:
        timers: how many were made.
    """

    def __init__(self) -> None:
        self.now_s = 0.0
        self.timers = 0
        self._due: list[tuple[float, Callable[..., None], tuple[Any, ...]]] = []

    def time(self) -> float:
        return self.now_s

    def call_at(self, at_s: float, call: Callable[..., None], *arguments: Any) -> object:
        self.timers += 1
        self._due.append((at_s, call, arguments))
        return object()

    def move_to(self, now_s: float) -> None:
        self.now_s = now_s
        while due := [timer for timer in self._due if timer[0] <= now_s]:
            self._due.remove(due[0])
            due[0][1](*due[0][2])


class Bell:
    def __init__(self) -> None:
        self.rang = False

    def ring(self) -> None:
        self.rang = True


def test_each_rings_when_its_own_time_is_over():
    alarms, loop, first, second = Timeouts(10.0), FakeLoop(), Bell(), Bell()
    alarms.set(first, loop)
    loop.move_to(3.0)
    alarms.set(second, loop)
    loop.move_to(9.9)
    assert not first.rang
    loop.move_to(10.0)
    assert first.rang
    assert not second.rang
    loop.move_to(13.0)
    assert second.rang


def test_what_was_dropped_does_not_ring_and_what_comes_later_does():
    alarms, loop, dropped, kept, later = Timeouts(10.0), FakeLoop(), Bell(), Bell(), Bell()
    alarms.set(dropped, loop)
    loop.move_to(1.0)
    alarms.set(kept, loop)
    alarms.drop(dropped)
    loop.move_to(11.0)
    assert (dropped.rang, kept.rang) == (False, True)
    alarms.set(later, loop)
    loop.move_to(21.0)
    assert later.rang


def test_many_that_end_in_time_share_one_timer():
    alarms, loop = Timeouts(10.0), FakeLoop()
    for _ in range(1_000):
        bell = Bell()
        alarms.set(bell, loop)
        alarms.drop(bell)
    assert loop.timers == 1


def test_one_that_drops_another_while_it_rings_is_obeyed():
    class Meddling(Bell):
        def ring(self) -> None:
            super().ring()
            alarms.drop(other)

    alarms, loop, other = Timeouts(10.0), FakeLoop(), Bell()
    meddling = Meddling()
    alarms.set(meddling, loop)
    alarms.set(other, loop)
    loop.move_to(10.0)
    assert (meddling.rang, other.rang) == (True, False)


def test_a_second_loop_gets_a_timer_of_its_own_and_rings_nothing_of_the_first():
    alarms, gone, loop, left_behind, bell = Timeouts(10.0), FakeLoop(), FakeLoop(), Bell(), Bell()
    alarms.set(left_behind, gone)
    alarms.set(bell, loop)
    loop.move_to(10.0)
    assert (left_behind.rang, bell.rang) == (False, True)
