"""Which connections are closed when there are too many, or when their time is over; and what is kept back."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from math import inf
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from receiver import descriptors
from receiver.connections import ConnectionLimits, Connections
from receiver.metrics import ConnectionMetrics


class One:
    """A connection that notes how it was closed."""

    def __init__(self, port: Connections, answered_s: float, *, is_at_work: bool = False) -> None:
        self.due_s, self.answered_s, self.is_at_work = inf, answered_s, is_at_work
        self.ended: list[str] = []
        self._port = port
        port.opened(self)

    def expire(self) -> None:
        self.end("silent")

    def end(self, reason: str) -> None:
        self.ended.append(reason)
        self._port.lost(self)
        self._port.closed(reason)


class Lines:
    """Collects warnings."""

    def __init__(self) -> None:
        self.written: list[dict[str, Any]] = []

    def warning(self, event: str, **fields: Any) -> None:
        assert event == "connections.closed"
        self.written.append(fields)


def port_of(most: int, **given: Any) -> Connections:
    return Connections("public", ConnectionLimits(open=most), **given)


def test_the_longest_silent_are_closed_first_and_some_at_once() -> None:
    port = port_of(32)
    found = [One(port, float(at)) for at in (5, 3, 9, *range(100, 129))]
    assert not any(one.ended for one in found)
    newest = One(port, 200.0)
    closed = [one.answered_s for one in found if one.ended]
    assert (closed, newest.ended) == ([5.0, 3.0], [])
    assert found[0].ended == ["too-many-connections"]


def test_what_waits_for_its_answer_is_never_closed_for_a_new_connection() -> None:
    port = port_of(2)
    busy = [One(port, at, is_at_work=True) for at in (1.0, 2.0)]
    newest = One(port, 3.0)
    assert [one.ended for one in busy] == [[], []]
    assert newest.ended == ["too-many-connections"]


def test_what_is_overdue_is_closed_counted_and_logged_once() -> None:
    registry, lines = CollectorRegistry(), Lines()
    port = port_of(8, metrics=ConnectionMetrics(registry), log=lines)
    late, later = One(port, 0.0), One(port, 0.0)
    late.due_s, later.due_s = 10.0, 11.0
    port.closed("idle")
    for now_s in (10.0, 10.5):
        port.sweep(now_s)
    assert (late.ended, later.ended) == (["silent"], [])
    assert lines.written == [{"port": "public", "reasons": {"silent": 1}, "open": 1}]
    labels = {"port": "public"}
    assert registry.get_sample_value("awr_connections_open", labels) == 1
    for reason in ("silent", "idle"):
        assert registry.get_sample_value("awr_connections_closed_total", {**labels, "reason": reason}) == 1


@pytest.fixture
def limit_of_files() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_senders_get_what_the_reserve_leaves(limit_of_files: None) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for soft, wanted, got in ((1024, 2048, 1024 - descriptors.RESERVED), (1024, 100, 100), (200, 2048, 16)):
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert descriptors.for_senders(wanted) == got
    descriptors.raise_limit()
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
