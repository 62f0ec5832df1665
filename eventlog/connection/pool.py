"""The connections of one client of the event loop, for which callers wait."""

from __future__ import annotations

from typing import Any

import redis.asyncio


class Pool(redis.asyncio.BlockingConnectionPool):
    """Loses no wake-up: where a caller that was woken is cancelled, it wakes the next one."""

    async def get_connection(self, *args: Any, **options: Any) -> Any:
        try:
            return await super().get_connection(*args, **options)  # type: ignore[no-untyped-call]
        except BaseException:
            # Before Python 3.11.8 and 3.12.2, `asyncio.Condition` forgets a wake-up whose waiter is cancelled.
            async with self._condition:
                self._condition.notify()
            raise
