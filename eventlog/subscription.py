"""Store our notification subscription at AMPECO, and lock changes to it.

It also records whether two subscriptions of ours exist. The append script reads that: each notification then comes
twice, signed with two keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eventlog.clock import now_ms
from eventlog.duplicates import TWO_SINCE
from eventlog.log import EventLog


class SubscriptionStore:
    """The `subscription` record of one log."""

    def __init__(self, log: EventLog) -> None:
        self._redis = log.redis
        self._key = log.key("subscription")
        self._left_key = log.key("left")
        self._lock_key = log.key("lock", "registration")
        self._unlock = log.scripts.unlock

    async def read(self) -> dict[str, str]:
        """Return the stored fields, without `two_since`; empty when there are none."""
        found = await self._redis.hgetall(self._key)
        fields = {name.decode(): value.decode() for name, value in found.items()}
        fields.pop(TWO_SINCE, None)
        return fields

    async def remember(self, fields: Mapping[str, str]) -> None:
        """Replace the stored fields, except `two_since`. Call it under the lock."""
        before = await self.read()
        stale = before.keys() - fields.keys()
        async with self._redis.pipeline(transaction=True) as changes:
            if stale:
                changes.hdel(self._key, *stale)
            changes.hset(self._key, mapping=dict(fields))
            self._note_types(changes, _types(before), _types(fields))
            await changes.execute()

    async def forget(self) -> None:
        """Delete all fields, including `two_since`."""
        before = await self.read()
        async with self._redis.pipeline(transaction=True) as changes:
            changes.delete(self._key)
            self._note_types(changes, _types(before), frozenset())
            await changes.execute()

    def _note_types(self, changes: Any, before: frozenset[str], now: frozenset[str]) -> None:
        """Note since when a type is not subscribed any more."""
        if gone := before - now:
            changes.hset(self._left_key, mapping=dict.fromkeys(gone, now_ms()))
        if now:
            changes.hdel(self._left_key, *now)

    async def set_two(self, now_ms: int) -> None:
        """Record that two subscriptions of ours exist, each with its own key. Call it before creating the second.

        From now on copies are counted per key, and the n-th copy by one key pairs with the n-th by the other. A
        second call has no effect.

        Args:
            now_ms: Unix ms; it names this period, so that each period counts its own copies.
        """
        await self._redis.hsetnx(self._key, TWO_SINCE, str(now_ms))

    async def clear_two(self) -> None:
        """Record that one subscription remains. Late copies by the other key then count as any equal body."""
        await self._redis.hdel(self._key, TWO_SINCE)

    async def two_since(self) -> int | None:
        """Return since when two subscriptions of ours exist, in Unix ms; None if there are not two."""
        found = await self._redis.hget(self._key, TWO_SINCE)
        return int(found) if found else None

    async def lock(self, token: str, ttl_ms: int) -> bool:
        """Take the lock around changes of the subscription, for at most `ttl_ms`; False when it is held."""
        taken = bool(await self._redis.set(self._lock_key, token, nx=True, px=ttl_ms))
        if not taken and await self._redis.pttl(self._lock_key) > ttl_ms:
            await self._redis.pexpire(self._lock_key, ttl_ms)  # the clock of Redis went back
        return taken

    async def unlock(self, token: str) -> None:
        """Release the lock, unless another process holds it by now."""
        await self._unlock(args=[self._lock_key, token])


async def left_types(log: EventLog) -> dict[str, int]:
    """Return the types that were subscribed and are no longer, and since when (Unix ms)."""
    found = await log.redis.hgetall(log.key("left"))
    return {name.decode(): int(since) for name, since in found.items()}


def _types(fields: Mapping[str, str]) -> frozenset[str]:
    return frozenset(fields["types"].split(",")) if fields.get("types") else frozenset()
