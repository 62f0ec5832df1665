"""The slots of a throttle in Redis: how many events of one key a handler may have done within a time.

A slot is reserved under a live lease before an attempt starts, by the clock of Redis and with the id of the event. It
is given back by the nonce of the attempt, lease or not. Slots lie with the ledger of the handler, so they move and go
with it. This module does not know which end of an attempt counts.
"""

from __future__ import annotations

import asyncio
from typing import Any, Literal, NamedTuple

from redis.exceptions import RedisError

from eventlog.errors import LeaseLost
from eventlog.lease import clock_s
from eventlog.log import EventLog
from eventlog.step_ledger import Hold

SCOPE = "throttle|"
"""What the scope of slots begins with in `ledger:<handler>:<scope>`. No entity and no event has such a name."""

_ASK_S, _GIVE_BACK_S = 30.0, 5.0
_PAUSE_S = 0.1


class Limit(NamedTuple):
    """The most slots of one key within a span of time."""

    slots: int
    window_ms: int


class Slot(NamedTuple):
    """The answer to an attempt that asks for a slot.

    Attributes:
        state: `reserved` for this attempt. `kept`: an earlier attempt of the event had it and may have acted, so it
            stays taken however this one ends. `over`: none is free.
        wait_s: seconds until one is free, when over.
    """

    state: Literal["reserved", "kept", "over"]
    wait_s: float = 0.0


class ThrottleSlots:
    """The slots of one handler under one lease."""

    def __init__(self, log: EventLog, hold: Hold) -> None:
        self._log = log
        self._hold = hold

    async def reserve(self, key: str, limit: Limit, event_id: str, nonce: str) -> Slot:
        """Reserve a slot for an attempt of an event. The same nonce gets the same answer again.

        Raises:
            LeaseLost: nothing may start.
            redis.RedisError: Redis refused the call for half a minute.
        """
        log, hold = self._log, self._hold
        arguments = [
            log.prefix, "reserve", hold.handler, SCOPE + key, event_id, nonce, hold.lane, hold.token, *limit,
        ]  # fmt: skip
        end_s = clock_s() + _ASK_S
        while True:
            try:
                reply = await log.channel.call(log.scripts.throttle, arguments)
                break
            except (RedisError, OSError) as error:
                if not hold.alive:
                    raise LeaseLost(f"{hold.handler}: Redis did not answer") from error
                if clock_s() > end_s:
                    raise
                await asyncio.sleep(_PAUSE_S)
        state = reply[0].decode()
        if state == "lost":
            raise LeaseLost(f"{hold.handler}, lane {hold.lane}: no slot was reserved")
        return Slot(state, reply[1] / 1000 if state == "over" else 0.0)

    async def give_back(self, key: str, event_id: str, nonce: str) -> None:
        """Free the slot that an attempt reserved. Where Redis does not answer, it stays taken for its time."""
        log = self._log
        arguments: list[Any] = [log.prefix, "return", self._hold.handler, SCOPE + key, event_id, nonce]
        end_s = clock_s() + _GIVE_BACK_S
        while clock_s() < end_s:
            try:
                await log.channel.call(log.scripts.throttle, arguments)
                return
            except (RedisError, OSError):
                await asyncio.sleep(_PAUSE_S)
