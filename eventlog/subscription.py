"""What the log remembers of our notification subscription at AMPECO, and the lock around changing it.

It stores texts. It knows nothing of AMPECO, of what is wanted, or of when to change what. It also holds whether two
subscriptions of ours exist, which the append script reads: each notification then comes twice, signed with two keys.
"""

from __future__ import annotations

from collections.abc import Mapping

from eventlog.duplicates import TWO_SINCE
from eventlog.log import EventLog
from eventlog.scripts import source


class SubscriptionStore:
    """The `subscription` record of one log."""

    def __init__(self, log: EventLog) -> None:
        self._redis = log.redis
        self._key = log.key("subscription")
        self._lock_key = log.key("lock", "registration")
        self._unlock = log.redis.register_script(source("unlock"))

    async def read(self) -> dict[str, str]:
        """What was remembered, without `two_since`; empty when nothing is."""
        found = await self._redis.hgetall(self._key)
        fields = {name.decode(): value.decode() for name, value in found.items()}
        fields.pop(TWO_SINCE, None)
        return fields

    async def remember(self, fields: Mapping[str, str]) -> None:
        """Replace what is remembered; `two_since` stays as it is. Call it under the lock."""
        stale = (await self.read()).keys() - fields.keys()
        async with self._redis.pipeline(transaction=True) as changes:
            if stale:
                changes.hdel(self._key, *stale)
            changes.hset(self._key, mapping=dict(fields))
            await changes.execute()

    async def forget(self) -> None:
        """Remember nothing, not even that there are two subscriptions."""
        await self._redis.delete(self._key)

    async def set_two(self, now_ms: int) -> None:
        """Record that two subscriptions of ours exist, each with a key of its own; call it before making the second.

        From now on copies are counted per key, and the n-th copy by one key is dropped for the n-th by the other. Has
        no effect while it is recorded already.

        Args:
            now_ms: Unix ms; it names this period, so that each period counts its own copies.
        """
        await self._redis.hsetnx(self._key, TWO_SINCE, str(now_ms))

    async def clear_two(self) -> None:
        """Record that one subscription is left. Late copies by the other key are then judged like any equal body."""
        await self._redis.hdel(self._key, TWO_SINCE)

    async def two_since(self) -> int | None:
        """Since when two subscriptions of ours exist, in Unix ms; None while there is one, or none."""
        found = await self._redis.hget(self._key, TWO_SINCE)
        return int(found) if found else None

    async def lock(self, token: str, ttl_ms: int) -> bool:
        """Become the only one who changes the subscription, for at most `ttl_ms`."""
        return bool(await self._redis.set(self._lock_key, token, nx=True, px=ttl_ms))

    async def unlock(self, token: str) -> None:
        """Give the lock back; without effect when it is another's by now."""
        await self._unlock(args=[self._lock_key, token])
