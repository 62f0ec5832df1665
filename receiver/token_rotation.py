"""Rotates the API token without losing an event: two notification subscriptions for a time, each with its own key.

Each step is written down before the next one begins, so a rotation goes on after any interruption. AMPECO signs with
the token that subscribed. So the new token subscribes first, and the old subscription goes only after an event that
is signed with the new key has been verified. Keys are never stored.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from eventlog.errors import ChangeRefused
from eventlog.log import EventLog
from eventlog.replicas import Replica
from eventlog.rotation import Rotation, end_rotation, rotation, write_rotation
from eventlog.subscription import SubscriptionStore
from receiver.notification_api import NotificationApi
from receiver.reconciler import Reconciler
from receiver.registration import Existing, for_url
from receiver.registration_check import REGISTERED
from receiver.registration_lock import held

POLL_S = 0.5
SETTLE_S = 2.0  # what AMPECO sent before the removal arrives within it
_CLOCKS_MS = 5_000  # by which the clocks of receivers and of Redis may differ


class Say(Protocol):
    """Called at each point that a rotation reaches."""

    def __call__(self, point: str, text: str, /) -> object: ...


@dataclass(frozen=True)
class Patience:
    """How long a rotation waits, in seconds.

    Attributes:
        receivers: until all receivers accept the new key.
        event: until an event that is signed with the new key comes.
        overlap: for which both subscriptions exist at least, so that AMPECO's retries by the old one come to an end.
    """

    receivers: float = 60.0
    event: float = 300.0
    overlap: float = 60.0


class TokenRotation:
    """One rotation.

    Args:
        api: with both tokens, or with the new one alone at the last step.
        new_key: id of the key to rotate to; `old_key`: of the one in use.
    """

    def __init__(
        self,
        log: EventLog,
        reconciler: Reconciler,
        api: NotificationApi,
        *,
        old_key: str,
        new_key: str,
        say: Say,
        patience: Patience,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log = log
        self._store = SubscriptionStore(log)
        self._reconciler = reconciler
        self._api = api
        self.old_key = old_key
        self.new_key = new_key
        self._say = say
        self._patience = patience
        self._clock = clock

    async def begin(self) -> Rotation:
        """Open a rotation.

        Raises:
            ChangeRefused: the subscription was removed on request, or another process is changing it.
        """
        async with self._held(None):
            found = await self._store.registration()
            if found.removed_ms is not None:
                raise ChangeRefused(
                    "the subscription is removed on request; `registration apply` makes it again"
                )
            return await self._reach(Rotation("begun", self.old_key, self.new_key, found.now_ms))

    async def go_on(self, state: Rotation, *, delivered: bool = False) -> Rotation | None:
        """Take all steps that can be taken now. Returns None when the rotation is finished.

        Args:
            delivered: the operator says that the new key delivers, although no event came.

        Raises:
            ChangeRefused: something has to happen first, which its text names.
            ApiError, RedisError, OSError: one of them failed. It is safe to go on later.
        """
        if state.step == "removed":
            await self._finish(state)
            return None
        if state.step == "begun":
            await self._wait_for_receivers()
        if state.step in ("begun", "subscribing"):
            state = await self._subscribe(state)
        if state.step == "subscribed":
            state = await self._wait_for_event(state, delivered)
        return await self._remove_old(state)

    @contextlib.asynccontextmanager
    async def _held(self, state: Rotation | None) -> AsyncIterator[None]:
        """Hold the lock inside the block, in which the rotation is where this process knows it.

        Raises:
            ChangeRefused: another command took it further. Both would make a subscription.
        """
        async with held(self._store):
            if await rotation(self._log) != state:
                raise ChangeRefused(
                    "another command has changed this rotation meanwhile; `registration show` says where it is"
                )
            yield

    async def _reach(self, state: Rotation) -> Rotation:
        await write_rotation(self._log, state)
        self._say(
            state.step, _WORDS[state.step].format(new=state.new_key, old=state.old_key, id=state.new_id)
        )
        return state

    async def _wait_for_receivers(self) -> None:
        deadline = self._clock() + self._patience.receivers
        while missing := await self.receivers_without(self.new_key):
            if self._clock() >= deadline:
                raise ChangeRefused(
                    f"not every receiver accepts the key {self.new_key} yet: {', '.join(missing)}; give them "
                    "AWR_API_TOKEN_NEXT, then `registration rotate-token --continue`"
                )
            await asyncio.sleep(POLL_S)

    async def receivers_without(self, key_id: str) -> list[str]:
        """Return the live receivers that do not accept a key; a note if there is no receiver at all."""
        alive = await self._store.replicas()
        silent = [f"{name} (an earlier release)" for name in await self._store.silent_receivers(alive)]
        if not alive and not silent:
            return ["no receiver is running"]
        return [one.name for one in alive if key_id not in one.accepted] + silent

    async def _subscribe(self, state: Rotation) -> Rotation:
        async with self._held(state):
            ours = await self._ours()
            if state.step == "begun":
                await self._store.set_two((await self._store.registration()).now_ms)
                state = await self._reach(state.at("subscribing", before=tuple(one.id for one in ours)))
            new_id = next((one.id for one in reversed(ours) if one.id not in state.before), None)
            if new_id is None:
                types = await self._types(ours)
                url = self._reconciler.callback_url
                made = await self._api.subscribe(types, callback_url=url, key_id=self.new_key)
                new_id = made.id
                self._say("posted", f"AMPECO made the subscription {new_id}")
            await self._store.note_made(new_id, self.new_key)
            now_ms = (await self._store.registration()).now_ms
            return await self._reach(state.at("subscribed", new_id=new_id, subscribed_ms=now_ms))

    async def _wait_for_event(self, state: Rotation, delivered: bool) -> Rotation:
        deadline = self._clock() + self._patience.event
        seen_by = "operator"
        while not delivered:
            last_ms = (await self._store.heard()).by_key.get(self.new_key, 0)
            if last_ms >= state.subscribed_ms - _CLOCKS_MS:
                seen_by = "event"
                break
            if self._clock() >= deadline:
                raise ChangeRefused(
                    f"no event signed with the key {self.new_key} came yet; wait for one with `registration "
                    "rotate-token --continue`, or add --delivered if you know that it delivers"
                )
            await asyncio.sleep(POLL_S)
        async with self._held(state):
            return await self._reach(state.at("delivering", seen_by=seen_by))

    async def _remove_old(self, state: Rotation) -> Rotation:
        await asyncio.sleep(max(0.0, await self._overlap_left_ms(state)) / 1000)
        async with self._held(state):
            ours = await self._ours()
            new = next((one for one in ours if one.id == state.new_id), None)
            if new is None:
                before = tuple(one.id for one in ours)
                await self._reach(state.at("subscribing", before=before, new_id=""))
                raise ChangeRefused(
                    f"the new subscription {state.new_id} is gone; "
                    "`registration rotate-token --continue` makes it again"
                )
            url, types = self._reconciler.callback_url, await self._types(ours)
            if not set(types) <= set(new.notifications):
                await self._api.update(new.id, types, callback_url=url, key_id=self.new_key)
            for one in await self._old_ones(ours, state):
                await self._api.unsubscribe(one.id, key_id=self.old_key)
                self._say("unsubscribed", f"the subscription {one.id} is removed")
            await asyncio.sleep(SETTLE_S)
            await self._store.confirm(
                {"id": new.id, "callback_url": url, "types": ",".join(types), "key_id": self.new_key},
                state=REGISTERED,
                key_id=self._reconciler.access.key_id,
                covers=types,
            )
            if not [one for one in await self._ours() if one.id != new.id]:
                await self._store.clear_two()
            return await self._reach(state.at("removed"))

    async def _overlap_left_ms(self, state: Rotation) -> float:
        now_ms = (await self._store.registration()).now_ms
        return state.subscribed_ms + self._patience.overlap * 1000 - now_ms

    async def _old_ones(self, ours: Sequence[Existing], state: Rotation) -> list[Existing]:
        """Return the subscriptions that the new one replaces.

        These are the recorded one, and those that the old key is known to sign.
        """
        stored_id, heard = (await self._store.read()).get("id"), (await self._store.heard()).subscriptions
        made = (await self._store.registration()).made
        return [
            one
            for one in ours
            if one.id != state.new_id
            and (
                one.id == stored_id
                or made.get(one.id) == state.old_key
                or heard.get(one.id, {}).keys() == {state.old_key}
            )
        ]

    async def _finish(self, state: Rotation) -> None:
        deadline = self._clock() + self._patience.receivers
        while behind := await self._behind(state):
            if self._clock() >= deadline:
                raise ChangeRefused(
                    f"these receivers do not call AMPECO with the key {state.new_key} yet: {', '.join(behind)}; "
                    "give it to them as AWR_API_TOKEN, then `registration rotate-token --continue`"
                )
            await asyncio.sleep(POLL_S)
        async with self._held(state):
            await self._store.drop_key(state.old_key)
            self._say(
                "dropped", f"receivers stop accepting the key {state.old_key}, unless their settings name it"
            )
            await end_rotation(self._log)

    async def _behind(self, state: Rotation) -> list[str]:
        """Return the receivers that call AMPECO with another token than the new one."""
        return [one.name for one in await self._store.replicas() if one.api_key not in ("", state.new_key)]

    async def abandon(self, state: Rotation) -> None:
        """Remove the new subscription and end the rotation.

        Raises:
            ChangeRefused: the old subscription is gone already.
        """
        if state.step == "removed":
            raise ChangeRefused(
                "the old subscription is removed already, so the rotation can only be finished"
            )
        async with self._held(state):
            ours = await self._ours()
            made = state.new_id or next((one.id for one in ours if one.id not in state.before), "")
            if made and state.step != "begun":
                if not [one for one in ours if one.id != made]:
                    raise ChangeRefused(f"{made} is the only subscription for our URL, so it stays")
                await self._api.unsubscribe(made, key_id=state.new_key)
            await self._store.clear_two()
            await end_rotation(self._log)

    async def _ours(self) -> Sequence[Existing]:
        return for_url(await self._api.list(), self._reconciler.callback_url)

    async def _types(self, ours: Sequence[Existing]) -> list[str]:
        wanted = await self._reconciler.wanted()
        return sorted(wanted.types.union(*(one.notifications for one in ours)))


def still_accepting(replicas: Sequence[Replica], key_id: str) -> list[str]:
    """Return the receivers that accept a key."""
    return [one.name for one in replicas if key_id in one.accepted]


_WORDS = {
    "begun": "the rotation from key {old} to key {new} is open",
    "subscribing": "a second subscription is made with the key {new}",
    "subscribed": "the subscription {id} delivers with the key {new}",
    "delivering": "the key {new} delivers",
    "removed": "the subscription {id} with the key {new} is the only one",
}
