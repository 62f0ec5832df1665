"""The slots of a throttle in memory: the rules of `throttle.lua` without Redis.

A test tells the same stories to both and compares the answers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from eventlog.throttle import Limit, Slot


@dataclass
class _Taken:
    at_ms: int
    nonce: str
    state: Literal["reserved", "kept"]


Slots = dict[str, dict[str, _Taken]]
"""Taken slots by the handler's key, and there by event id."""


class MemorySlots:
    """The slots of one handler.

    Args:
        slots: what all attempts of the handler share.
        now_ms: Unix time in milliseconds.
    """

    def __init__(self, slots: Slots, now_ms: Callable[[], int]) -> None:
        self._slots = slots
        self._now_ms = now_ms

    async def reserve(self, key: str, limit: Limit, event_id: str, nonce: str) -> Slot:
        """Reserve a slot for an attempt of an event."""
        now, taken = self._now_ms(), self._slots.setdefault(key, {})
        for slot in taken.values():
            slot.at_ms = min(slot.at_ms, now)
        for event in [event for event, slot in taken.items() if slot.at_ms <= now - limit.window_ms]:
            del taken[event]
        others = sorted(slot.at_ms for event, slot in taken.items() if event != event_id)
        if len(others) >= limit.slots:
            return Slot("over", (others[-limit.slots] + limit.window_ms - now) / 1000)
        own = taken.get(event_id)
        state: Literal["reserved", "kept"] = "reserved"
        if own is not None:
            state = own.state if own.nonce == nonce else "kept"
        taken[event_id] = _Taken(now, nonce, state)
        return Slot(state)

    async def give_back(self, key: str, event_id: str, nonce: str) -> None:
        """Free the slot that an attempt reserved."""
        own = self._slots.get(key, {}).get(event_id)
        if own is not None and (own.nonce, own.state) == (nonce, "reserved"):
            del self._slots[key][event_id]
