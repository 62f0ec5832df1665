"""The throttle of one attempt: takes a slot before the call, and gives it back unless the event is done."""

from __future__ import annotations

import secrets
from typing import Protocol

from eventlog.errors import LeaseLost
from eventlog.throttle import Limit, Slot
from handlers.outcomes import GiveUp, Throttled
from handlers.throttle import Throttle
from workers.delivery.outcomes import Outcome
from workers.once.step import DeliveryRevoked

_MARGIN_S = 0.05  # so that a wait does not end a moment before the slot is free


class SlotStore(Protocol):
    """Stores slots; `eventlog.throttle.ThrottleSlots` does so in Redis."""

    async def reserve(self, key: str, limit: Limit, event_id: str, nonce: str) -> Slot: ...
    async def give_back(self, key: str, event_id: str, nonce: str) -> None: ...


class ThrottleWithoutKey(GiveUp):
    """A handler with a throttle got an event without an entity."""

    slug = "throttle-without-key"


class Throttling:
    """The throttle of one attempt.

    Args:
        key: the handler's key of the event.
    """

    def __init__(self, store: SlotStore, throttle: Throttle, key: str | None, event_id: str) -> None:
        self._store = store
        self._throttle = throttle
        self._key = key
        self._event_id = event_id
        self._nonce = secrets.token_hex(8)
        self._reserved = False

    async def is_over(self) -> bool:
        """Take a slot; return True when none is free and the event is to be skipped.

        Raises:
            Throttled: none is free, and the event waits for one.
            ThrottleWithoutKey: the event is about no entity.
            DeliveryRevoked: the lease was lost.
        """
        throttle = self._throttle
        if self._key is None:
            raise ThrottleWithoutKey("it has a throttle, and this event is about no entity")
        limit = Limit(throttle.limit, throttle.window_s * 1000)
        try:
            slot = await self._store.reserve(self._key, limit, self._event_id, self._nonce)
        except LeaseLost as error:
            raise DeliveryRevoked from error
        if slot.state != "over":
            self._reserved = slot.state == "reserved"
            return False
        if throttle.over == "wait":
            raise Throttled(f"over {throttle.rate}", after_s=slot.wait_s + _MARGIN_S)
        return True

    async def conclude(self, outcome: Outcome) -> None:
        """Give the slot back unless the attempt ended as done."""
        if self._reserved and self._key is not None and outcome.kind != "done":
            await self._store.give_back(self._key, self._event_id, self._nonce)
