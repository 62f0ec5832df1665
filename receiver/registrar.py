"""Keeps the notification subscription at AMPECO right while the receiver runs.

It decides when to check, lets one replica do it for all, and stores the outcome in the log. `reconciler.py` makes a
check, `registration.py` decides what to change. The registrar never raises: an unreachable tenant or an unexpected
answer must not stop the endpoint.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence
from typing import Literal

from redis.exceptions import RedisError

from ampeco.errors import ApiError, Invalid, KeyRefused, NotFound, RateLimited, ServerFault
from eventlog.clock import rfc3339
from eventlog.registration_record import Registration
from eventlog.subscription import SubscriptionStore
from receiver.growing_pause import pause_after
from receiver.logging import get_logger
from receiver.metrics import Metrics
from receiver.reconciler import Reconciler
from receiver.registration import same_url
from receiver.registration_check import NOTHING_WANTED, REGISTERED, REMOVED, Access, Done, Look, Wanted
from receiver.registration_report import RegistrationReport

POLL_S = 2.0
CHECK_S = 60.0
MAX_BACKOFF_S = 60.0
MAX_PAUSE_S = 300.0
LOCK_S = 60.0
WORK_S = 45.0  # shorter than the lock, so that two replicas never work at the same time
CLOSE_S = 10.0
FAILED = "failed:"

_WAITS_LONG = (KeyRefused, NotFound)  # a person has to change something first

_log = get_logger(__name__)


class Registrar:
    """Checks at start, when the wanted types change, and once in `check_s` per deployment.

    Attributes:
        settled: whether AMPECO delivers to us, as far as is known, or is not supposed to.
        state: `pending`, `registered`, `nothing-wanted`, `removed`, `two-urls`, or `failed:` and a reason.
        detail: what a person has to know about the state.
        confirmed_ms: when AMPECO last confirmed it (Unix ms); None if it never did.
    """

    def __init__(
        self,
        reconciler: Reconciler,
        store: SubscriptionStore,
        *,
        metrics: Metrics,
        accepted_key_ids: Callable[[], Sequence[str]],
        is_open: Callable[[], bool],
        wake: Callable[[Sequence[str]], None] = lambda _: None,
        mode: Literal["auto", "ephemeral"] = "auto",
        check_s: float = CHECK_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            accepted_key_ids: returns the ids of the keys that the endpoint accepts now.
            is_open: returns whether the log is known to be ours. Until then the registrar does nothing.
            wake: called with the queues to wake; must not block.
            mode: `ephemeral` removes the notification subscription on shutdown.
            check_s: time between two checks of the deployment.
            clock: monotonic seconds.
        """
        self._reconciler = reconciler
        self._store = store
        self._metrics = metrics
        self._report = RegistrationReport(metrics, reconciler.callback_url, accepted_key_ids)
        self._is_open = is_open
        self._wake = wake
        self._mode = mode
        self._check_s = check_s
        self._clock = clock
        self._done_for: frozenset[str] | None = None
        self._due_at = 0.0
        self._failures = 0
        self._started_ms: int | None = None
        self._subscription_id: str | None = None
        self.settled = False
        self.state = "pending"
        self.detail = ""
        self.confirmed_ms: int | None = None

    def use(self, access: Access) -> None:
        """Call AMPECO with another token from now on."""
        self._reconciler.access = access
        self._due_at, self._failures = 0.0, 0

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            await self.check()
            await asyncio.sleep(POLL_S)

    async def check(self) -> None:
        """Check the registration if it is due."""
        if not self._is_open():
            return
        try:
            types = await self._reconciler.wanted_types()
            self._metrics.registration_wanted.set(bool(types))
            if self._clock() < self._due_at and (types == self._done_for or self._failures):
                return
            wanted = await self._reconciler.wanted()
            if self._adopt(await self._store.registration(), wanted, await self._store.read()):
                return
            async with asyncio.timeout(WORK_S):
                await self._reconcile(wanted)
        except ApiError as error:
            await self._failed(_reason_of(error), error)
        except TimeoutError as error:
            await self._failed("too-slow", error)
        except (RedisError, OSError) as error:
            _log.debug("notification_subscription.postponed", error=type(error).__name__)
        except Exception as error:  # noqa: BLE001 - no answer of AMPECO may stop the endpoint
            await self._failed("unexpected", error)

    def _adopt(self, found: Registration, wanted: Wanted, stored: dict[str, str]) -> bool:
        """Adopt what another replica found a moment ago. Return False if this one has to check."""
        if found.removed_ms is not None and found.state == REMOVED:
            self._is(REMOVED, wanted, found, left_s=POLL_S)
            return True
        # Of replicas that start together, the first one checks for all. One that starts later checks by itself.
        self._started_ms = self._started_ms or found.now_ms
        if found.looked_ms is None or found.key_id != self._reconciler.access.key_id:
            return False
        is_ours = same_url(stored.get("callback_url"), self._reconciler.callback_url)
        if found.state.startswith(FAILED) and (is_ours or not stored):
            if found.retry_ms is None or found.retry_ms <= found.now_ms or self._failures:
                return False
            self.state, self.detail, self.confirmed_ms = found.state, found.detail, found.confirmed_ms
            self.settled = self.settled or is_ours
            self._metrics.confirmed(found.is_confirmed, found.confirmed_ms)
            self._due_at = self._clock() + (found.retry_ms - found.now_ms) / 1000
            return True
        age_s = abs(found.now_ms - found.looked_ms) / 1000
        is_first = self._done_for is None
        if (
            not is_ours
            or found.state != REGISTERED
            or age_s >= self._check_s
            or (is_first and found.looked_ms < self._started_ms)
            or not wanted.types <= found.covers
            or not wanted.types
        ):
            return False
        self._subscription_id = stored.get("id")
        self._is(found.state, wanted, found, left_s=self._check_s - age_s)
        return True

    async def _reconcile(self, wanted: Wanted) -> None:
        token = secrets.token_hex(16)
        if not await self._store.lock(token, int(LOCK_S * 1000)):
            return  # another replica or a command works on it; the next check looks again
        try:
            if not wanted.types and (await self._store.registration()).removed_ms is None:
                await self._store.note_state(NOTHING_WANTED, key_id=self._reconciler.access.key_id)
                self._is(NOTHING_WANTED, wanted, await self._store.registration())
                return
            look = await self._reconciler.look(wanted)
            self._report.found(look)
            before = self._reconciler.refused_types
            try:
                done = await self._reconciler.carry_out(look)
            finally:
                self._report.refused(self._reconciler.refused_types - before)
            self._subscription_id = done.kept
            self._report.done(look, done)
            if done.closed.wake:
                self._wake(done.closed.wake)
            await self._announce(look, done)
            self._is(done.state, wanted, await self._store.registration())
        finally:
            await self._store.unlock(token)

    async def _announce(self, look: Look, done: Done) -> None:
        plan = look.plan
        if done.kept is None or not plan.changes:
            return
        action, reason = plan.action, "it differed from what the handlers want"
        if plan.lost:
            action, reason = "restore", f"AMPECO had no subscription of ours for {len(plan.lost)} types"
        if queues := await self._store.announce_change(action, done.kept, plan.types, reason):
            self._wake(queues)

    def _is(self, state: str, wanted: Wanted, found: Registration, *, left_s: float | None = None) -> None:
        if state == REMOVED != self.state and found.removed_ms is not None:
            removed_at = rfc3339(found.removed_ms)
            _log.warning(
                "notification_subscription.stays_removed", since=removed_at, fix="registration apply"
            )
        self.state, self.settled, self._failures = state, True, 0
        self.detail, self.confirmed_ms = found.detail, found.confirmed_ms
        self._done_for = wanted.types
        self._due_at = self._clock() + (self._check_s if left_s is None else max(0.0, left_s))
        self._metrics.confirmed(state == REGISTERED, found.confirmed_ms)

    async def _failed(self, reason: str, error: Exception) -> None:
        pause_s = pause_after(self._failures, first=2.0, longest=MAX_BACKOFF_S)
        self._failures += 1
        if isinstance(error, _WAITS_LONG):
            pause_s = max(pause_s, self._check_s)
        if isinstance(error, RateLimited) and error.retry_after_s:
            pause_s = max(pause_s, min(error.retry_after_s, MAX_PAUSE_S))
        self._due_at = self._clock() + pause_s
        self.state = f"{FAILED}{reason}"
        self.detail = str(error) if isinstance(error, ApiError) else type(error).__name__
        self._metrics.registration_failed.labels(reason).inc()
        _log.warning(
            "notification_subscription.failed",
            reason=reason,
            error=self.detail,
            fields=sorted(error.errors) if isinstance(error, Invalid) else None,
            retry_s=pause_s,
        )
        try:
            await self._store.note_state(
                self.state,
                key_id=self._reconciler.access.key_id,
                detail=self.detail,
                retry_in_ms=int(pause_s * 1000),
            )
            await self._trust_what_was()
            status = error.status if isinstance(error, ApiError) else None
            if queues := await self._store.announce_failure(reason, status, self.detail):
                self._wake(queues)
        except (RedisError, OSError, KeyError, TypeError, ValueError):  # also records that cannot be read
            return

    async def _trust_what_was(self) -> None:
        """Count as settled if an earlier process registered this URL: that registration still delivers."""
        stored, found = await self._store.read(), await self._store.registration()
        self.confirmed_ms = found.confirmed_ms
        self._metrics.confirmed(found.is_confirmed, found.confirmed_ms)
        if same_url(stored.get("callback_url"), self._reconciler.callback_url):
            self.settled = True

    async def close(self) -> None:
        """On clean shutdown, remove an ephemeral notification subscription."""
        if self._mode != "ephemeral" or self._subscription_id is None:
            return
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._reconciler.access.notifications.unsubscribe(self._subscription_id)
                await self._store.forget()
            _log.info("notification_subscription.removed", subscription_id=self._subscription_id)
        except (ApiError, RedisError, OSError) as error:
            _log.warning("notification_subscription.not_removed", error=type(error).__name__)


def _reason_of(error: ApiError) -> str:
    """Return one word for each state that an operator has to tell apart."""
    if isinstance(error, ServerFault) and (error.status is None or error.status < 500):
        return "answer-unreadable"
    return error.reason
