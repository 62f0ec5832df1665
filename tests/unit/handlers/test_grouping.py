"""Messages: what comes together goes together, with a pause between two."""

from __future__ import annotations

import asyncio

import pytest

from handlers.builtin.grouping import Messages, TooSoon


class Sent:
    """What was sent, and a clock that the test moves."""

    def __init__(self) -> None:
        self.messages: list[list[str]] = []
        self.now_s = 100.0
        self.error: Exception | None = None

    async def send(self, items) -> None:
        self.messages.append(list(items))
        if self.error is not None:
            raise self.error

    def made(self, **options) -> Messages[str]:
        values = {"gather_s": 0.01, "every_s": 30.0, "most": 3, **options}
        return Messages(self.send, clock_s=lambda: self.now_s, **values)


def test_what_comes_together_is_one_message():
    async def check() -> None:
        sent = Sent()
        messages = sent.made()
        await asyncio.gather(*(messages.add(item) for item in "abc"))
        assert sent.messages == [["a", "b", "c"]]

    asyncio.run(check())


def test_what_comes_during_the_pause_is_told_how_long_it_lasts():
    async def check() -> None:
        sent = Sent()
        messages = sent.made()
        await messages.add("a")
        sent.now_s += 10
        with pytest.raises(TooSoon) as wait:
            await messages.add("b")
        assert wait.value.after_s == pytest.approx(20)
        sent.now_s += 20
        await messages.add("b")
        assert sent.messages == [["a"], ["b"]]

    asyncio.run(check())


def test_a_full_message_takes_no_more():
    async def check() -> None:
        sent = Sent()
        messages = sent.made()
        answers = await asyncio.gather(*(messages.add(item) for item in "abcd"), return_exceptions=True)
        assert [type(each) for each in answers] == [type(None)] * 3 + [TooSoon]
        assert sent.messages == [["a", "b", "c"]]

    asyncio.run(check())


def test_every_item_of_a_message_gets_its_error_and_the_pause_holds():
    async def check() -> None:
        sent = Sent()
        sent.error = OSError("away")
        messages = sent.made()
        answers = await asyncio.gather(*(messages.add(item) for item in "ab"), return_exceptions=True)
        assert [type(each) for each in answers] == [OSError, OSError]
        with pytest.raises(TooSoon):
            await messages.add("a")

    asyncio.run(check())


def test_an_attempt_that_is_cancelled_does_not_end_the_message():
    async def check() -> None:
        sent = Sent()
        messages = sent.made()
        first = asyncio.create_task(messages.add("a"))
        second = asyncio.create_task(messages.add("b"))
        await asyncio.sleep(0)
        first.cancel()
        await second
        assert sent.messages == [["a", "b"]]
        assert first.cancelled()

    asyncio.run(check())
