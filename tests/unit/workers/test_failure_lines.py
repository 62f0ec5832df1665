"""A cause that fails without end costs one line a second, and the counts add up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from workers.drain import failure_lines
from workers.drain.failure_lines import MOST_CAUSES, MOST_LINES, FailureLines


class Book:
    """Takes lines, and has a clock that the test moves."""

    def __init__(self) -> None:
        self.now_s = 10.0
        self.lines: list[dict[str, Any]] = []
        self.failures = FailureLines(clock_s=lambda: self.now_s)

    def write(self, **fields: Any) -> None:
        self.lines.append(fields)

    def fail(self, *cause: object, event: int = 0) -> None:
        self.failures.tell(self.write, cause, event_id=event)

    def counted(self) -> int:
        return sum(line.get("failures", 1) for line in self.lines)


def in_loop(check: Callable[[Book], Any]) -> None:
    async def run() -> None:
        await check(Book())

    asyncio.run(run())


def test_the_first_failure_is_written_at_once_and_those_of_its_second_are_counted():
    async def check(book: Book) -> None:
        for n in range(500):
            book.fail("error", event=n)
        assert book.lines == [{"event_id": 0}]
        book.now_s += 1.0
        book.fail("error", event=500)
        assert book.lines[1:] == [{"event_id": 500, "failures": 500}]
        book.failures.write_rest()
        assert book.counted() == 501

    in_loop(check)


def test_causes_are_told_apart():
    async def check(book: Book) -> None:
        for cause in ("a", "b", "a", "b"):
            book.fail(cause)
        assert len(book.lines) == 2

    in_loop(check)


def test_what_was_counted_is_written_though_nothing_more_fails(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(failure_lines, "EVERY_S", 0.01)

    async def check(book: Book) -> None:
        for n in range(3):
            book.fail("error", event=n)
        book.now_s += 1.0
        async with asyncio.timeout(60):
            while len(book.lines) < 2:
                await asyncio.sleep(0.005)
        assert book.lines[1] == {"event_id": 2, "failures": 2}

    in_loop(check)


def test_a_cause_that_rests_is_written_at_once_when_it_comes_back(monkeypatch: pytest.MonkeyPatch):
    """Also where lines of another cause were written in between."""
    monkeypatch.setattr(failure_lines, "EVERY_S", 0.01)

    async def check(book: Book) -> None:
        book.fail("rests", event=1)
        book.fail("goes on", event=2)
        book.fail("goes on", event=3)
        book.now_s += 1.0
        async with asyncio.timeout(60):
            while len(book.lines) < 3:
                await asyncio.sleep(0.005)
        book.fail("rests", event=4)
        assert book.lines[3:] == [{"event_id": 4}]

    in_loop(check)


def test_causes_without_end_take_bounded_memory_and_lose_no_count():
    async def check(book: Book) -> None:
        for n in range(3 * MOST_CAUSES):
            book.fail(n)
            book.fail(n)
        assert len(book.failures._causes) == MOST_CAUSES
        book.failures.write_rest()
        assert book.counted() == 6 * MOST_CAUSES

    in_loop(check)


def test_causes_without_end_write_few_lines_a_second_and_each_has_its_turn(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(failure_lines, "EVERY_S", 0.05)
    causes, seconds = 3 * MOST_LINES, 8

    async def check(book: Book) -> None:
        for second in range(seconds):
            for n in range(500):
                book.fail("retry", n % causes, event=n)
            lines = len(book.lines)
            assert lines <= MOST_LINES * (2 * second + 1)
            book.now_s += 1.0
            async with asyncio.timeout(60):
                while len(book.lines) == lines:
                    await asyncio.sleep(0.005)
        assert {line["event_id"] % causes for line in book.lines} == set(range(causes))
        book.failures.write_rest()
        assert book.counted() == 500 * seconds

    in_loop(check)


def test_a_forgotten_cause_is_counted_with_others_of_its_kind(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(failure_lines, "EVERY_S", 0.01)

    async def check(book: Book) -> None:
        for n in range(10 * MOST_CAUSES):
            book.fail("retry", n)
        assert len(book.lines) == MOST_LINES
        book.now_s += 1.0
        async with asyncio.timeout(60):
            while len(book.lines) < 2 * MOST_LINES:
                await asyncio.sleep(0.005)
        assert book.lines[MOST_LINES]["failures"] == 9 * MOST_CAUSES - MOST_LINES

    in_loop(check)
