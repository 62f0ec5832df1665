"""Tells open pages that something arrived, over server-sent events. The pages then fetch themselves again.

One task asks the log, however many pages are open, and only while one is. A page that gets nothing has nothing new
to show, so the cost is bounded by the pace of this task.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Final

from redis.exceptions import RedisError

MOST_PAGES: Final = 50
EVERY_S: Final = 2.0

_QUIET_TICKS = 5  # without news, a page is refreshed after so many, since ages and rates change
_SILENT_S = 15.0
_LASTS_S = 600.0  # of one stream; the browser opens another


class Live:
    """The stream of changes that the open pages wait for.

    Args:
        newest: returns something that changes when an event arrives.
        stop: set when the process stops; it ends the streams.
    """

    def __init__(self, newest: Callable[[], Awaitable[object]], stop: asyncio.Event) -> None:
        self._newest = newest
        self._stop = stop
        self._changed = asyncio.Event()
        self._asking: asyncio.Task[None] | None = None
        self._pages = 0

    @property
    def is_full(self) -> bool:
        """Whether no further page can follow."""
        return self._pages >= MOST_PAGES

    @contextlib.contextmanager
    def place(self) -> Iterator[None]:
        """Count a page that follows, and ask the log while there is one."""
        self._pages += 1
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())
        try:
            yield
        finally:
            self._pages -= 1
            if not self._pages and self._asking is not None:
                self._asking.cancel()
                self._asking = None

    async def stream(self) -> AsyncIterator[bytes]:
        """Yield a message for each change, until the process stops or the page is closed. It needs a place."""
        ends_s = asyncio.get_running_loop().time() + _LASTS_S
        yield b"retry: 3000\n\n"
        changed = self._changed
        while not self._stop.is_set() and asyncio.get_running_loop().time() < ends_s:
            await self._wait(changed)
            if changed.is_set():
                changed = self._changed  # before the message, so that no change during it is missed
                yield b"data: changed\n\n"
            else:
                yield b": still here\n\n"  # a page that was closed is noticed when it is written to

    async def _wait(self, changed: asyncio.Event) -> None:
        waiting = [asyncio.create_task(event.wait()) for event in (changed, self._stop)]
        try:
            await asyncio.wait(waiting, timeout=_SILENT_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()

    async def _ask(self) -> None:
        seen: object = None
        quiet = 0
        while True:
            await asyncio.sleep(EVERY_S)
            try:
                newest = await self._newest()
            except (RedisError, OSError, TimeoutError):
                newest = "away"  # the page says so when it is fetched again
            quiet += 1
            if newest != seen or quiet >= _QUIET_TICKS:
                seen, quiet = newest, 0
                changed, self._changed = self._changed, asyncio.Event()
                changed.set()
