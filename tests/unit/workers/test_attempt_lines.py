"""Lines about attempts: few a second from one process, each handler has its turn, and the counts add up."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from workers.delivery import attempt_lines
from workers.delivery.attempt_lines import MOST_CAUSES, MOST_LINES, MOST_NAMED, AttemptLines


class Book:
    """Takes lines, and has a clock that the test moves. Made in a loop."""

    def __init__(self, least: int = logging.INFO) -> None:
        self.now_s = 10.0
        self.lines: list[dict[str, Any]] = []
        log = structlog.wrap_logger(None, wrapper_class=structlog.make_filtering_bound_logger(least))
        self.process = AttemptLines(log.bind(), clock_s=lambda: self.now_s)

    def write(self, **fields: Any) -> None:
        self.lines.append(fields)

    def fail(self, *cause: object, handler: str = "h", level: int = logging.INFO, **fields: Any) -> None:
        self.process.of(handler).tell(level, self.write, cause, handler=handler, **fields)

    def act(self, **fields: Any) -> None:
        self.process.of("h").tell(logging.INFO, self.write, ("action",), each=True, counted="calls", **fields)

    async def second(self) -> list[dict[str, Any]]:
        """Let a second pass; return what was written when it was over."""
        before = len(self.lines)
        self.now_s += 1.0
        timer = self.process._timer
        async with asyncio.timeout(10):
            while timer is not None and self.process._timer is timer:
                await asyncio.sleep(0.002)
        return self.lines[before:]

    def of(self, handler: str) -> int:
        """How many failures of a handler the lines stand for, those left out included."""
        left_out = sum(line["handlers"].get(handler, 0) for line in self.left_out())
        own = [line for line in self.lines if line["handler"] == handler]
        return left_out + sum(line.get("failures", 1) for line in own)

    def left_out(self) -> list[dict[str, Any]]:
        return [line for line in self.captured if line["event"] == "lines.left_out"]

    captured: list[Any]


@pytest.fixture(autouse=True)
def _short_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    call_later = asyncio.BaseEventLoop.call_later

    def sooner(self: Any, delay: float, *call: Any, **how: Any) -> asyncio.TimerHandle:
        return call_later(self, delay / 100, *call, **how)

    monkeypatch.setattr(asyncio.BaseEventLoop, "call_later", sooner)


def in_loop(check: Callable[[Book], Awaitable[None]], **how: Any) -> None:
    async def run() -> None:
        book = Book(**how)
        book.captured = captured
        await check(book)

    with capture_logs() as captured:
        asyncio.run(run())


def test_the_first_failure_is_written_at_once_and_those_of_its_second_are_counted():
    async def check(book: Book) -> None:
        for n in range(500):
            book.fail("error", event=n)
        assert book.lines == [{"handler": "h", "event": 0}]
        assert await book.second() == [{"handler": "h", "event": 499, "failures": 499}]
        assert await book.second() == []
        book.fail("error", event=500)
        assert book.lines[2:] == [{"handler": "h", "event": 500}]

    in_loop(check)


def test_causes_are_counted_apart():
    async def check(book: Book) -> None:
        for cause in ("a", "b", "a", "b", "b"):
            book.fail(cause, cause=cause)
        written = await book.second()
        assert [(line["cause"], line.get("failures")) for line in written] == [("a", None), ("b", 3)]
        assert book.of("h") == 5

    in_loop(check)


def test_twenty_lines_a_second_for_all_handlers_and_each_has_one_before_another_has_two():
    async def check(book: Book) -> None:
        handlers = [f"h{n}" for n in range(MOST_LINES)]
        for _ in range(4):
            for n in range(300):
                book.fail(n % 3, handler=handlers[0])
            for handler in handlers[1:]:
                for n in range(10):
                    book.fail(n % 2, handler=handler)
            written = await book.second()
            assert Counter(line["handler"] for line in written) == Counter(handlers)
        book.process.write_rest()
        assert {book.of(handler) for handler in handlers[1:]} == {40}
        assert book.of(handlers[0]) == 1200

    in_loop(check)


def test_more_handlers_than_lines_take_turns_over_the_seconds_and_nothing_is_lost():
    async def check(book: Book) -> None:
        handlers = [f"h{n:02}" for n in range(5 * MOST_LINES)]
        for _ in range(8):
            for handler in handlers:
                for _ in range(10):
                    book.fail("error", handler=handler)
            assert len(await book.second()) <= MOST_LINES
        book.process.write_rest()
        assert {line["handler"] for line in book.lines} == set(handlers)
        assert all(len(line["handlers"]) <= MOST_NAMED for line in book.left_out())
        assert max(line["more_handlers"] for line in book.left_out()) == 3 * MOST_LINES
        written = sum(line.get("failures", 1) for line in book.lines)
        assert written + sum(line["lines"] for line in book.left_out()) == 8 * 10 * len(handlers)

    in_loop(check)


def test_causes_of_one_handler_take_turns():
    async def check(book: Book) -> None:
        causes = 3 * MOST_LINES
        for _ in range(5):
            for n in range(500):
                book.fail(n % causes, cause=n % causes)
            assert len(await book.second()) <= MOST_LINES
        assert {line["cause"] for line in book.lines} == set(range(causes))
        book.process.write_rest()
        assert book.of("h") == 2500

    in_loop(check)


def test_causes_without_end_take_bounded_memory_and_lose_no_count():
    async def check(book: Book) -> None:
        for n in range(3 * MOST_CAUSES):
            book.fail(n)
            book.fail(n)
        assert len(book.process.of("h")._causes) == MOST_CAUSES
        book.process.write_rest()
        assert len(book.lines) <= 1 + MOST_LINES
        assert book.of("h") == 6 * MOST_CAUSES

    in_loop(check)


def test_each_action_has_its_line_while_there_is_room():
    async def check(book: Book) -> None:
        for n in range(MOST_LINES + 30):
            book.act(n=n)
        assert [line["n"] for line in book.lines] == list(range(MOST_LINES))
        assert await book.second() == [{"n": MOST_LINES + 29, "calls": 30}]

    in_loop(check)


def test_failures_of_another_handler_have_their_line_though_actions_take_all_room():
    async def check(book: Book) -> None:
        for _ in range(3):
            for _ in range(100):
                book.act(handler="h")
            book.fail("error", handler="other")
            assert "other" in {line["handler"] for line in await book.second()}

    in_loop(check)


def test_a_level_that_is_not_logged_takes_no_room():
    async def check(book: Book) -> None:
        book.fail("retry")
        book.fail("dead", level=logging.ERROR, n=1)
        assert book.lines == [{"handler": "h", "n": 1}]

    in_loop(check, least=logging.ERROR)


def test_at_debug_level_each_line_is_written():
    async def check(book: Book) -> None:
        for _ in range(100):
            book.fail("error")
        assert len(book.lines) == 100

    in_loop(check, least=logging.DEBUG)


def test_a_thread_may_tell_too():
    async def check(book: Book) -> None:
        threads: list[int] = []

        def write(**_: Any) -> None:
            threads.append(threading.get_ident())

        await asyncio.to_thread(book.process.of("h").tell, logging.INFO, write, ("action",), each=True)
        await asyncio.sleep(0)
        assert threads == [threading.get_ident()]

    in_loop(check)


def test_the_constants_bound_a_worker_to_fifty_lines_in_any_second():
    assert 2 * (MOST_LINES + 1) <= 50
    assert attempt_lines.EVERY_S == 1.0
