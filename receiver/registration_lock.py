"""The lock around changes of the registration, as a command holds it.

A command waits for a receiver's check to end. It renews the lock while it works, so that one that was killed keeps
others waiting for a few seconds only.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator

from redis.exceptions import RedisError

from eventlog.errors import ChangeRefused
from eventlog.subscription import SubscriptionStore

LIFE_S = 8.0
RENEW_S = 2.0
WAIT_S = 50.0
_POLL_S = 0.2


@contextlib.asynccontextmanager
async def held(store: SubscriptionStore, *, wait_s: float = WAIT_S) -> AsyncIterator[None]:
    """Hold the lock inside the block.

    Raises:
        ChangeRefused: another process holds it for too long.
    """
    token, life_ms = secrets.token_hex(16), int(LIFE_S * 1000)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + wait_s
    renewing: asyncio.Task[None] | None = None
    try:
        while not await store.lock(token, life_ms):  # a cancel may lose the reply of one that took it
            if loop.time() > deadline:
                raise ChangeRefused("another process is changing the registration; try again")
            await asyncio.sleep(_POLL_S)
        renewing = asyncio.create_task(_renew(store, token, life_ms))
        yield
    finally:
        if renewing is not None:
            renewing.cancel()
        await _unlock(store, token)


async def _unlock(store: SubscriptionStore, token: str) -> None:
    """Release the lock, also when a cancel arrives meanwhile. It ends within the time-out of the client."""
    unlocking = asyncio.create_task(store.unlock(token))
    try:
        await asyncio.shield(unlocking)
    finally:
        await asyncio.wait({unlocking})


async def _renew(store: SubscriptionStore, token: str, life_ms: int) -> None:
    while True:
        await asyncio.sleep(RENEW_S)
        with contextlib.suppress(RedisError, OSError):
            await store.renew(token, life_ms)
