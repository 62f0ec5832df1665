"""Store our notification subscription at AMPECO, what AMPECO last confirmed of it, and the lock around changes.

`subscription` holds the subscription itself, as releases before this one wrote it, and whether two of ours exist. The
append script reads the latter, since each notification then comes twice, signed with two keys. `registration` holds
the result of the last check. Earlier releases never touch it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from eventlog.clock import now_ms, redis_ms
from eventlog.duplicates import TWO_SINCE
from eventlog.gap_records import Gaps, Reason
from eventlog.internal import (
    REGISTRATION,
    REGISTRATION_CHANGED,
    REGISTRATION_FAILED,
    announce,
    internal_event,
)
from eventlog.log import EventLog
from eventlog.reading import whole
from eventlog.registration_record import Missing, Registration, packed, registration_of, texts
from eventlog.replicas import Heard, Replica, heard, replicas, silent_receivers
from eventlog.rotation import Rotation, rotation
from eventlog.text import bounded

_MADE = 20  # subscriptions of ours whose key is remembered
_DROPPED = 20
_DETAIL_CHARS = 300
_MOST_LOCKED_MS = 60_000


class ClosedGap(NamedTuple):
    """A gap that ended with a confirmation."""

    event_id: str
    reason: Reason
    duration_ms: int
    types: frozenset[str]


class Closed(NamedTuple):
    """The gaps that a confirmation closed, and the queues whose workers to wake."""

    gaps: tuple[ClosedGap, ...] = ()
    wake: tuple[str, ...] = ()


class SubscriptionStore:
    """The `subscription` and `registration` records of one log."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._gaps = Gaps(log)
        self._redis = log.redis
        self._key = log.key("subscription")
        self._registration = log.key("registration")
        self._left_key = log.key("left")
        self._lock_key = log.key("lock", "registration")
        self._unlock = log.scripts.unlock

    async def read(self) -> dict[str, str]:
        """Return the stored fields of the subscription, without `two_since`; empty when there are none."""
        fields = texts(await self._redis.hgetall(self._key))
        fields.pop(TWO_SINCE, None)
        return fields

    async def registration(self) -> Registration:
        """Return what the last check found."""
        async with self._redis.pipeline(transaction=False) as asked:
            asked.hgetall(self._registration)
            asked.time()
            found, at = await asked.execute()
        return registration_of(found, redis_ms(at))

    async def replicas(self) -> list[Replica]:
        """Return the live receivers of this log."""
        return await replicas(self._log)

    async def silent_receivers(self, alive: Iterable[Replica]) -> list[str]:
        """Return the live receivers that do not publish what they accept."""
        return await silent_receivers(self._log, alive)

    async def heard(self) -> Heard:
        """Return when events came last, by key."""
        return await heard(self._log)

    async def rotation(self) -> Rotation | None:
        """Return the rotation of the API token that is under way."""
        return await rotation(self._log)

    async def remember(self, fields: Mapping[str, str]) -> None:
        """Replace the stored fields of the subscription, except `two_since`. Call it under the lock."""
        before = await self.read()
        stale = before.keys() - fields.keys()
        async with self._redis.pipeline(transaction=True) as changes:
            if stale:
                changes.hdel(self._key, *stale)
            changes.hset(self._key, mapping=dict(fields))
            self._note_types(changes, _types(before), _types(fields))
            await changes.execute()

    async def forget(self) -> None:
        """Delete the subscription, including `two_since`, and what AMPECO confirmed of it."""
        before = await self.read()
        async with self._redis.pipeline(transaction=True) as changes:
            changes.delete(self._key)
            self._note_types(changes, _types(before), frozenset())
            changes.hdel(self._registration, "confirmed_ms", "covers", "lost", "state", "detail")
            await changes.execute()

    async def confirm(
        self, subscription: Mapping[str, str], *, state: str, key_id: str, covers: Iterable[str]
    ) -> Closed:
        """Record that AMPECO has our subscription, and close the gaps of types that were missing until now.

        A gap is recorded once, however often this is repeated after an interruption. Call it under the lock.

        Args:
            subscription: `id`, `callback_url`, `types` and `key_id`.
            key_id: of the API token with which it was found.
        """
        before, stored, types = await self.registration(), await self.read(), frozenset(covers)
        at = str(before.now_ms)
        facts = {"state": state, "detail": "", "by": key_id, "covers": ",".join(sorted(types))}
        async with self._redis.pipeline(transaction=True) as changes:
            changes.hset(self._key, mapping=dict(subscription))
            changes.hset(self._registration, mapping={**facts, "confirmed_ms": at, "looked_ms": at})
            changes.hdel(self._registration, "retry_ms")
            self._note_types(changes, _types(stored), types)
            await changes.execute()
        closed: list[ClosedGap] = []
        wake: set[str] = set()
        for reason, found in before.missing.items():
            until_ms = max(before.now_ms, found.since_ms)
            noted = await self._gaps.note(
                reason,
                found.since_ms,
                until_ms,
                sorted(found.types),
                callback_url=subscription["callback_url"],
            )
            if noted is not None:
                closed.append(ClosedGap(noted[0], reason, until_ms - found.since_ms, found.types))
                wake.update(noted[1])
        if before.missing:
            await self._redis.hdel(self._registration, "lost")
        return Closed(tuple(closed), tuple(wake))

    async def note_missing(self, reason: Reason, types: Iterable[str], since_ms: int) -> None:
        """Note that types are not delivered; `confirm` closes the gap. Call it under the lock.

        What was noted before stays: the earliest moment, and all types.
        """
        before = (await self.registration()).missing
        old = before.get(reason, Missing(since_ms, frozenset()))
        now: dict[Reason, Missing] = {
            **before,
            reason: Missing(min(old.since_ms, since_ms), old.types.union(types)),
        }
        text = packed(now)
        await self._redis.hset(self._registration, "lost", text)

    async def note_state(
        self, state: str, *, key_id: str, detail: str = "", retry_in_ms: int | None = None
    ) -> None:
        """Record the outcome of a check that confirmed nothing, so that no other replica has to check."""
        now_ms = (await self.registration()).now_ms
        fields = {
            "state": state,
            "detail": bounded(detail, _DETAIL_CHARS),
            "by": key_id,
            "looked_ms": str(now_ms),
        }
        async with self._redis.pipeline(transaction=True) as changes:
            if retry_in_ms is None:
                changes.hdel(self._registration, "retry_ms")
            else:
                fields["retry_ms"] = str(now_ms + retry_in_ms)
            changes.hset(self._registration, mapping=fields)
            await changes.execute()

    async def note_made(self, subscription_id: str, key_id: str) -> None:
        """Remember that we made a subscription, and the key that it signs with."""
        made = {**(await self.registration()).made, subscription_id: key_id}
        text = json.dumps(dict([*made.items()][-_MADE:]))
        await self._redis.hset(self._registration, "made", text)

    async def set_removed(self) -> None:
        """Record that the subscription was removed on request. Only `lift_removed` ends this."""
        now_ms = (await self.registration()).now_ms
        async with self._redis.pipeline(transaction=True) as changes:
            changes.hdel(self._registration, "confirmed_ms", "covers", "lost", "retry_ms")
            changes.hset(
                self._registration,
                mapping={
                    "removed_ms": str(now_ms),
                    "looked_ms": str(now_ms),
                    "state": "removed",
                    "detail": "",
                },
            )
            await changes.execute()

    async def lift_removed(self) -> None:
        """Allow the subscription to be created again."""
        await self._redis.hdel(self._registration, "removed_ms", "looked_ms", "state")

    async def drop_key(self, key_id: str) -> None:
        """Note that receivers need no longer accept a key that was rotated away, unless their settings name it."""
        raw = await self._redis.hget(self._registration, "dropped")
        before = [name for name in (raw.decode() if raw else "").split(",") if name and name != key_id]
        await self._redis.hset(self._registration, "dropped", ",".join([*before, key_id][-_DROPPED:]))

    async def announce_change(
        self, action: str, subscription_id: str | None, types: Iterable[str], reason: str
    ) -> list[str]:
        """Append `receiver.registration.changed` if a handler wants it; return the queues to wake."""
        fields = {
            "action": action,
            "subscriptionId": subscription_id,
            "types": sorted(types),
            "reason": reason,
        }
        return await announce(self._log, internal_event(REGISTRATION_CHANGED, REGISTRATION, fields))

    async def announce_failure(self, reason: str, status: int | None, detail: str) -> list[str]:
        """Append `receiver.registration.failed` if a handler wants it; return the queues to wake."""
        fields = {"reason": reason, "status": status, "detail": detail}
        return await announce(self._log, internal_event(REGISTRATION_FAILED, REGISTRATION, fields))

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
        return whole(await self._redis.hget(self._key, TWO_SINCE))

    async def lock(self, token: str, ttl_ms: int) -> bool:
        """Take the lock around changes of the subscription, for at most `ttl_ms`; False when it is held."""
        taken = bool(await self._redis.set(self._lock_key, token, nx=True, px=ttl_ms))
        if not taken and await self._redis.pttl(self._lock_key) > (most_ms := max(ttl_ms, _MOST_LOCKED_MS)):
            await self._redis.pexpire(self._lock_key, most_ms)  # the clock of Redis went back
        return taken

    async def renew(self, token: str, ttl_ms: int) -> None:
        """Hold the lock for longer, unless another process holds it by now."""
        if await self._redis.get(self._lock_key) == token.encode():
            await self._redis.pexpire(self._lock_key, ttl_ms)

    async def unlock(self, token: str) -> None:
        """Release the lock, unless another process holds it by now."""
        await self._unlock(args=[self._lock_key, token])


async def left_types(log: EventLog) -> dict[str, int]:
    """Return the types that were subscribed and are no longer, and since when (Unix ms)."""
    found = await log.redis.hgetall(log.key("left"))
    return {name.decode("utf-8", "replace"): whole(since) or 0 for name, since in found.items()}


def _types(fields: Mapping[str, str]) -> frozenset[str]:
    return frozenset(fields["types"].split(",")) if fields.get("types") else frozenset()
