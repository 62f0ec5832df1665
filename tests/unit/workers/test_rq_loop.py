"""Each outage of Redis is in the log of a worker, from its first step to its end."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, cast

import pytest
import redis
from rq.exceptions import StopRequested
from structlog.testing import capture_logs

from eventlog.wakeups import OneQueueWorker
from workers.process import rq_loop
from workers.process.rq_loop import Serving

WAITS_S = (0.001, 0.002, 0.003, 0.004)


class Scripted:
    """A worker that makes some turns before Redis fails."""

    def __init__(self, turns: int) -> None:
        self.on_turn: Callable[[], None] = lambda: None
        self._turns = turns

    def work(self) -> None:
        for _ in range(self._turns):
            self.on_turn()
        raise redis.ConnectionError("refused")


def served(monkeypatch: pytest.MonkeyPatch, *turns: int) -> list[tuple[str, Any]]:
    """Serve with one worker after the other; the lines, with the pause that each names."""
    monkeypatch.setattr(rq_loop, "_BACKOFF_S", WAITS_S)
    left = list(turns)

    def make() -> OneQueueWorker:
        if len(left) == 1:
            serving.stopping.set()
        return cast("OneQueueWorker", Scripted(left.pop(0)))

    serving = Serving(make)
    with capture_logs() as lines:
        serving.run()
    return [(line["event"], line.get("retry_in_s")) for line in lines]


def test_a_second_outage_is_logged_like_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    outage = [("redis.unreachable", WAITS_S[0]), ("redis.unreachable", WAITS_S[1])]
    assert served(monkeypatch, 1, 1, 5, 1) == [*outage, ("redis.recovered", None), *outage]


def test_a_long_outage_is_logged_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = served(monkeypatch, *[1] * 50)
    assert lines == [("redis.unreachable", WAITS_S[min(step, 3)]) for step in (0, 1, 2, 3, 15, 30, 45)]


@pytest.mark.parametrize("steps", range(1, 9))
def test_a_signal_at_any_step_of_the_wait_for_redis_ends_it(steps: int) -> None:
    """The lines of the wait are counted; in place of one of them comes the signal handler."""
    left = steps

    def unreachable() -> OneQueueWorker:
        raise OSError

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal left
        if event == "line":
            left -= 1
            if left == 0:
                serving.stop_soon()
        return trace if frame.f_code.co_name == "wait" else None

    def hangs(*_: object) -> None:
        raise AssertionError("the signal handler hangs")

    serving = Serving(unreachable)
    handled, traced = signal.signal(signal.SIGALRM, hangs), sys.gettrace()
    signal.setitimer(signal.ITIMER_REAL, 5)
    sys.settrace(trace)
    try:
        with pytest.raises(StopRequested):
            serving.run()
    finally:
        sys.settrace(traced)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handled)
    assert serving.stopping.is_set()
