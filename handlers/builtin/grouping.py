"""Gathers items that are to be sent within a moment into one message, and keeps a pause between two messages."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class TooSoon(Exception):
    """The pause after the message before is not over, or the message is full.

    Attributes:
        after_s: seconds until the next message may begin.
    """

    def __init__(self, after_s: float) -> None:
        super().__init__(f"the next message begins in {after_s:.1f} s")
        self.after_s = after_s


class Messages(Generic[T]):
    """Sends items in messages.

    Args:
        send: sends one message.
        gather_s: how long a message waits for further items.
        every_s: least time between two messages.
        most: items in a message.
        clock_s: monotonic seconds.
    """

    def __init__(
        self,
        send: Callable[[Sequence[T]], Awaitable[None]],
        *,
        gather_s: float,
        every_s: float,
        most: int,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._send = send
        self._gather_s = gather_s
        self._every_s = every_s
        self._most = most
        self._clock_s = clock_s
        self._items: list[T] = []
        self._sending: asyncio.Task[None] | None = None
        self._next_s = float("-inf")

    async def add(self, item: T) -> None:
        """Send an item with others; return when its message was sent.

        Raises:
            TooSoon: the item was not taken; try again later.
            Exception: what `send` raised, for every item of the message.
        """
        if self._sending is None:
            if (wait_s := self._next_s - self._clock_s()) > 0:
                raise TooSoon(wait_s)
            self._items = []
            self._sending = asyncio.create_task(self._send_soon(self._items))
            self._sending.add_done_callback(_retrieved)
        elif len(self._items) >= self._most:
            raise TooSoon(self._every_s)
        self._items.append(item)
        await asyncio.shield(self._sending)  # one attempt that is cancelled does not end the others

    async def _send_soon(self, items: Sequence[T]) -> None:
        await asyncio.sleep(self._gather_s)
        self._sending = None  # what comes from now on is for the next message
        self._next_s = self._clock_s() + self._every_s
        await self._send(items)


def _retrieved(task: asyncio.Task[None]) -> None:
    """Retrieve the error, since all attempts that wait for it may have ended."""
    if not task.cancelled():
        task.exception()
