"""The lock around changes of the registration, as a command takes it: it waits for a receiver's check to end."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator

from eventlog.errors import ChangeRefused
from eventlog.subscription import SubscriptionStore

LOCK_S = 60.0
WAIT_S = 50.0
_POLL_S = 0.2


@contextlib.asynccontextmanager
async def held(store: SubscriptionStore, *, wait_s: float = WAIT_S) -> AsyncIterator[None]:
    """Hold the lock inside the block.

    Raises:
        ChangeRefused: another process holds it for too long.
    """
    token = secrets.token_hex(16)
    deadline = asyncio.get_running_loop().time() + wait_s
    while not await store.lock(token, int(LOCK_S * 1000)):
        if asyncio.get_running_loop().time() > deadline:
            raise ChangeRefused("another process is changing the registration; try again")
        await asyncio.sleep(_POLL_S)
    try:
        yield
    finally:
        await store.unlock(token)
