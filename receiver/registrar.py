"""Keeps the notification subscription at AMPECO right while the receiver runs.

It decides when to reconcile, lets one replica do it at a time, and stores the outcome in the log.
`registration.py` decides what to change. The registrar never raises: an unreachable tenant or an unexpected answer
must not stop the endpoint.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from redis.exceptions import RedisError

from ampeco.errors import ApiError, Invalid, RateLimited
from eventlog.subscription import SubscriptionStore
from receiver.logging import get_logger
from receiver.metrics import Metrics
from receiver.registration import (
    Notifications,
    Plan,
    apply,
    one_spelling,
    other_spellings,
    reconcile,
    refused,
    subscribable,
)

POLL_S = 2.0
RECONCILE_S = 300.0
MAX_BACKOFF_S = 60.0
LOCK_S = 60.0
WORK_S = 45.0  # shorter than the lock, so that two replicas never work at the same time
CLOSE_S = 10.0

_log = get_logger(__name__)


@dataclass(frozen=True)
class Access:
    """How to reach AMPECO, and the id of the key that AMPECO will sign with."""

    notifications: Notifications
    key_id: str


class Registrar:
    """Reconciles at start, when the wanted types change, and every few minutes."""

    def __init__(
        self,
        access: Access,
        store: SubscriptionStore,
        wants: Callable[[], Awaitable[Sequence[frozenset[str]]]],
        callback_url: str,
        *,
        metrics: Metrics,
        accepted_key_ids: Callable[[], Sequence[str]],
        is_open: Callable[[], bool],
        mode: Literal["auto", "ephemeral"] = "auto",
        pinned: Sequence[str] | None = None,
        released_types: Callable[[], Awaitable[frozenset[str]]] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            wants: returns the types that each registered handler wants now.
            callback_url: the URL that AMPECO delivers to.
            accepted_key_ids: returns the ids of the keys that the endpoint accepts now.
            is_open: returns whether the log is known to be ours. Until then the registrar does nothing.
            mode: `ephemeral` removes the notification subscription on shutdown.
            pinned: types to subscribe instead of those that the handlers want.
            released_types: returns the types that only retired handlers wanted.
        """
        self._access = access
        self._store = store
        self._wants = wants
        self._callback_url = callback_url
        self._metrics = metrics
        self._accepted_key_ids = accepted_key_ids
        self._is_open = is_open
        self._mode = mode
        self._pinned = frozenset(pinned) if pinned is not None else None
        self._released_types = released_types
        self._clock = clock
        self._done_for: frozenset[str] | None = None
        self._due_at = 0.0
        self._failures = 0
        self._subscription_id: str | None = None
        self._asked: Sequence[frozenset[str]] = ()
        self._refused: frozenset[str] = frozenset()
        self.settled = False
        self.state = "pending"

    def use(self, access: Access) -> None:
        """Call AMPECO with another token from now on."""
        self._access = access
        self._due_at = 0.0

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            await self.check()
            await asyncio.sleep(POLL_S)

    async def check(self) -> None:
        """Reconcile if it is due."""
        if not self._is_open():
            return
        try:
            # Pinned types count as one handler each: a user who names both spellings gets both.
            pinned = self._pinned
            self._asked = await self._wants() if pinned is None else [frozenset((name,)) for name in pinned]
            wanted = one_spelling(self._asked, self._refused)
            if self._clock() < self._due_at and (wanted == self._done_for or self._failures):
                return
            async with asyncio.timeout(WORK_S):
                await self._reconcile(wanted)
        except ApiError as error:
            await self._failed(error.reason, error)
        except TimeoutError as error:
            await self._failed("too-slow", error)
        except (RedisError, OSError) as error:
            _log.debug("notification_subscription.postponed", error=type(error).__name__)
        except Exception as error:  # noqa: BLE001 - no answer of AMPECO may stop the endpoint
            await self._failed("unexpected", error)

    async def _reconcile(self, wanted: frozenset[str]) -> None:
        if not wanted:
            self._done(wanted, "nothing-wanted")
            return
        token = secrets.token_hex(16)
        if not await self._store.lock(token, int(LOCK_S * 1000)):
            return  # another replica reconciles; the next check looks again
        try:
            await self._reconcile_alone(wanted)
        finally:
            await self._store.unlock(token)

    async def _reconcile_alone(self, wanted: frozenset[str]) -> None:
        api, url = self._access.notifications, self._callback_url
        remembered = await self._store.read()
        released = subscribable(await self._released_types()) if self._released_types else frozenset()
        released |= self._refused | other_spellings(wanted)
        plan = reconcile(await api.list(), wanted, url, known_id=remembered.get("id"), released=released)
        try:
            kept = await apply(plan, api, url)
        except Invalid as error:
            self._leave_out(plan, error)
            raise
        assert kept is not None  # noqa: S101 - something is wanted
        key_id = self._access.key_id
        if plan.keep is not None:
            key_id = remembered.get("key_id", "") if remembered.get("id") == kept else ""
        fresh = {"id": kept, "callback_url": url, "types": ",".join(plan.types), "key_id": key_id}
        if fresh != remembered:
            await self._store.remember(fresh)
        self._subscription_id = kept
        if plan.change or plan.extras or self._done_for is None:
            _log.info(
                "notification_subscription.reconciled",
                action=plan.action,
                subscription_id=kept,
                types=len(plan.types),
                removed=len(plan.extras),
                unwanted=list(plan.unwanted),
            )
        if key_id and key_id not in self._accepted_key_ids():
            _log.warning("notification_subscription.key_not_accepted", subscription_id=kept, key_id=key_id)
        self._done(wanted, "registered")

    def _leave_out(self, plan: Plan, error: Invalid) -> None:
        """Leave out the types that AMPECO refused, so that the others are still delivered.

        They stay out until the next start; an update of the tenant may add them.
        """
        replaceable = frozenset(
            name for name in plan.types if one_spelling(self._asked, self._refused | {name}) - {*plan.types}
        )
        unknown = refused(plan.types, error, replaceable=replaceable)
        if unknown and one_spelling(self._asked, self._refused | unknown):
            self._refused |= unknown
            _log.error("notification_subscription.types_refused", types=sorted(unknown))

    def _done(self, wanted: frozenset[str], state: str) -> None:
        self.state, self.settled, self._failures = state, True, 0
        self._done_for = wanted
        self._due_at = self._clock() + RECONCILE_S
        self._metrics.registered.set(state == "registered")

    async def _failed(self, reason: str, error: Exception) -> None:
        self._failures += 1
        pause_s = min(2.0**self._failures, MAX_BACKOFF_S)
        if isinstance(error, RateLimited) and error.retry_after_s:
            pause_s = max(pause_s, min(error.retry_after_s, RECONCILE_S))
        self._due_at = self._clock() + pause_s
        self.state = f"failed:{reason}"
        self._metrics.registered.set(0)
        _log.warning(
            "notification_subscription.failed",
            reason=reason,
            error=str(error) if isinstance(error, ApiError) else type(error).__name__,
            fields=sorted(error.errors) if isinstance(error, Invalid) else None,
            retry_s=pause_s,
        )
        await self._trust_what_was()

    async def _trust_what_was(self) -> None:
        """Count as settled if an earlier process registered this URL: that registration still delivers."""
        try:
            remembered = await self._store.read()
        except (RedisError, OSError):
            return
        if remembered.get("callback_url") == self._callback_url:
            self.settled = True

    async def close(self) -> None:
        """On clean shutdown, remove an ephemeral notification subscription."""
        if self._mode != "ephemeral" or self._subscription_id is None:
            return
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._access.notifications.unsubscribe(self._subscription_id)
                await self._store.forget()
            _log.info("notification_subscription.removed", subscription_id=self._subscription_id)
        except (ApiError, RedisError, OSError) as error:
            _log.warning("notification_subscription.not_removed", error=type(error).__name__)
