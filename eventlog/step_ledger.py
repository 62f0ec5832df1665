"""The ledger of once-only steps in Redis.

It has one hash per handler and scope (an event, or an entity), and one record per step. Beginning a step needs a live
lease and stores a nonce. The holder of the nonce may report the end even after the lease is lost.
"""

from __future__ import annotations

import asyncio
from typing import Any, Literal, NamedTuple, Protocol

from redis.exceptions import RedisError

from eventlog.errors import LeaseLost
from eventlog.lease import clock_s
from eventlog.log import EventLog
from eventlog.reading import object_of

GRACE_MS = 2_000
"""How long a step whose holder lost the lease waits for its report, since Redis may have been unreachable."""

_UNSETTLED_MS = 365 * 86_400_000
_ASK_S = 30.0
_PAUSE_S = 0.1

_reports: set[asyncio.Task[bool]] = set()


class Hold(Protocol):
    """The lease under which steps begin."""

    @property
    def handler(self) -> str: ...
    @property
    def lane(self) -> int: ...
    @property
    def token(self) -> str: ...
    @property
    def alive(self) -> bool: ...


class Scope(NamedTuple):
    """The scope within which a step runs once.

    Attributes:
        name: an event's id, or an entity key.
        lasting: whether it is an entity, which is never settled.
    """

    name: str
    lasting: bool = False


class Standing(NamedTuple):
    """What the ledger knows about a step.

    Attributes:
        state: `begun`: the caller has begun it and has to call it now. `done`. `held`: another attempt runs it, or
            did a moment ago. `uncertain`: it was begun and its end is unknown.
        result: JSON text, when done.
        fault: why the result cannot be returned, when done; else empty.
        wait_s: seconds after which more is known, when held.
    """

    state: Literal["begun", "done", "held", "uncertain"]
    result: str = ""
    fault: str = ""
    wait_s: float = 0.0


class StepLedger:
    """The once-only steps of one handler under one lease.

    Args:
        hold_s: seconds within which every attempt ends.
    """

    def __init__(self, log: EventLog, hold: Hold, *, hold_s: float) -> None:
        self._log = log
        self._hold = hold
        self._hold_ms = int(hold_s * 1000)

    @property
    def alive(self) -> bool:
        """Return whether a step may still be called under this lease."""
        return self._hold.alive

    async def begin(self, scope: Scope, step: str, nonce: str, *, again: bool) -> Standing:
        """Begin a step, or return what became of it. One whose answer nothing waits for is taken back.

        Args:
            nonce: identifies this call of the step.
            again: begin an uncertain step a second time.

        Raises:
            LeaseLost: nothing was begun.
            redis.RedisError: Redis refused the call; the outcome is unknown.
        """
        hold, log = self._hold, self._log
        step_ttl_ms = log.ledger_ms if scope.lasting else 0
        arguments = [
            log.prefix, hold.handler, hold.lane, hold.token, scope.name, step, nonce,
            self._ttl_ms(scope), step_ttl_ms, self._hold_ms, GRACE_MS, int(again),
        ]  # fmt: skip
        try:
            reply = await self._ask_under_lease(log.scripts.ledger_begin, arguments)
        except BaseException:  # cancelled, for example: it may be begun, and nothing will call it
            _report(log, log.scripts.ledger_clear, self._names(scope, step, nonce))
            raise
        match reply[0]:
            case b"lost":
                raise LeaseLost(f"{hold.handler}, lane {hold.lane}: a step was not begun")
            case b"done":
                return Standing("done", reply[1].decode(), reply[2].decode())
            case b"held":
                return Standing("held", wait_s=reply[1] / 1000)
            case b"uncertain":
                return Standing("uncertain")
        return Standing("begun")

    async def finish(self, scope: Scope, step: str, nonce: str, result: str, fault: str) -> bool:
        """Record that a step was done; False when another call has begun it since.

        The report continues in the background when the caller is cancelled, so that the result is not lost.

        Raises:
            redis.RedisError: it could not be recorded within half a minute.
        """
        arguments = [*self._names(scope, step, nonce), self._ttl_ms(scope), "done", result, fault]
        return await asyncio.shield(_report(self._log, self._log.scripts.ledger_finish, arguments))

    async def doubt(self, scope: Scope, step: str, nonce: str) -> bool:
        """Record that the end of a step is unknown; otherwise like `finish`."""
        arguments = [*self._names(scope, step, nonce), self._ttl_ms(scope), "uncertain", "", ""]
        return await asyncio.shield(_report(self._log, self._log.scripts.ledger_finish, arguments))

    async def clear(self, scope: Scope, step: str, nonce: str) -> bool:
        """Remove a step that certainly had no effect; otherwise like `finish`."""
        names = self._names(scope, step, nonce)
        return await asyncio.shield(_report(self._log, self._log.scripts.ledger_clear, names))

    async def keep(self, event_id: str) -> None:
        """Start the time to live of a ledger, because its event is settled."""
        key = self._log.key("ledger", self._hold.handler, event_id)
        await self._log.redis.pexpire(key, self._log.ledger_ms)

    def _names(self, scope: Scope, step: str, nonce: str) -> list[Any]:
        return [self._log.prefix, self._hold.handler, scope.name, step, nonce]

    def _ttl_ms(self, scope: Scope) -> int:
        """Return the time to live in ms. An event may stay unsettled for long (paused, retried, dead)."""
        return self._log.ledger_ms + (0 if scope.lasting else _UNSETTLED_MS)

    async def _ask_under_lease(self, script: Any, arguments: list[Any]) -> Any:
        end_s = clock_s() + _ASK_S
        while True:
            try:
                return await self._log.channel.call(script, arguments)
            except (RedisError, OSError) as error:
                if not self._hold.alive:
                    raise LeaseLost(f"{self._hold.handler}: Redis did not answer") from error
                if clock_s() > end_s:
                    raise
                await asyncio.sleep(_PAUSE_S)


async def recorded(log: EventLog, handler: str, scope: Scope, step: str) -> Standing | None:
    """Return what the ledger knows of a step whose call came to an end; it changes nothing."""
    found = await log.redis.hget(log.key("ledger", handler, scope.name), step)
    record = object_of(found)
    match record.get("state"):
        case "done":
            return Standing("done", record.get("result", ""), record.get("fault", ""))
        case "uncertain":
            return Standing("uncertain")
    return None


def _report(log: EventLog, script: Any, arguments: list[Any]) -> asyncio.Task[bool]:
    """Report in the background."""
    task = asyncio.create_task(_ask(log, script, arguments))
    _reports.add(task)
    task.add_done_callback(_reported)
    return task


def _reported(task: asyncio.Task[bool]) -> None:
    _reports.discard(task)
    if not task.cancelled():
        task.exception()  # the waiting caller has seen it


async def _ask(log: EventLog, script: Any, arguments: list[Any]) -> bool:
    end_s = clock_s() + _ASK_S
    while True:
        try:
            return bool(await log.channel.call(script, arguments))
        except (RedisError, OSError):
            if clock_s() > end_s:
                raise
            await asyncio.sleep(_PAUSE_S)
