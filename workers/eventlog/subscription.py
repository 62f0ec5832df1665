"""What the log remembers of our notification subscription at AMPECO, and the lock around changing it.

It stores texts. It knows nothing of AMPECO, of what is wanted, or of when to change what.
"""

from __future__ import annotations

from collections.abc import Mapping

from workers.eventlog.log import EventLog
from workers.eventlog.scripts import source


class SubscriptionStore:
    """The `subscription` record of one log."""

    def __init__(self, log: EventLog) -> None:
        self._redis = log.redis
        self._key = log.key("subscription")
        self._lock_key = log.key("lock", "registration")
        self._unlock = log.redis.register_script(source("unlock"))

    async def read(self) -> dict[str, str]:
        """What was remembered; empty when nothing is."""
        found = await self._redis.hgetall(self._key)
        return {name.decode(): value.decode() for name, value in found.items()}

    async def remember(self, fields: Mapping[str, str]) -> None:
        """Replace what is remembered."""
        async with self._redis.pipeline(transaction=True) as changes:
            changes.delete(self._key)
            changes.hset(self._key, mapping=dict(fields))
            await changes.execute()

    async def forget(self) -> None:
        """Remember nothing."""
        await self._redis.delete(self._key)

    async def lock(self, token: str, ttl_ms: int) -> bool:
        """Become the only one who changes the subscription, for at most `ttl_ms`."""
        return bool(await self._redis.set(self._lock_key, token, nx=True, px=ttl_ms))

    async def unlock(self, token: str) -> None:
        """Give the lock back; without effect when it is another's by now."""
        await self._unlock(args=[self._lock_key, token])
