"""The ledger of once-only steps, as it lies in Redis: begin, finish, doubt, clear, keep.

One hash per handler and scope (an event, or an entity), one record per step. Beginning needs a live lease and
leaves a nonce; whoever has the nonce may say how it ended, even when the lease is gone by then. It knows nothing
of what a step does or returns.
"""

from __future__ import annotations

import asyncio
from typing import Any, Literal, NamedTuple, Protocol

from redis.exceptions import RedisError

from eventlog.errors import LeaseLost
from eventlog.lease import clock_s
from eventlog.log import EventLog

GRACE_MS = 2_000
"""How long a step whose holder lost the lease waits for that holder's report: Redis may have been away."""

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
    """What a step is done once for.

    Attributes:
        name: an event's id, or an entity key.
        lasting: an entity, which is never settled.
    """

    name: str
    lasting: bool = False


class Standing(NamedTuple):
    """What is known of a step.

    Attributes:
        state: `begun`: by the caller, who has to call it now; `done`; `held`: somebody is at it, or was a moment
            ago; `uncertain`: it was begun and nobody can tell how it ended.
        result: JSON text, when done.
        fault: why the result cannot be given back, when done; else empty.
        wait_s: after which more is known, when held.
    """

    state: Literal["begun", "done", "held", "uncertain"]
    result: str = ""
    fault: str = ""
    wait_s: float = 0.0


class StepLedger:
    """The once-only steps of one handler under one lease.

    Args:
        hold_s: within it an attempt has come to an end, whatever it did.
    """

    def __init__(self, log: EventLog, hold: Hold, *, hold_s: float) -> None:
        self._log = log
        self._hold = hold
        self._hold_ms = int(hold_s * 1000)

    @property
    def alive(self) -> bool:
        """Whether a step may still be called under this lease."""
        return self._hold.alive

    async def begin(self, scope: Scope, step: str, nonce: str, *, again: bool) -> Standing:
        """Begin a step, or learn what became of it.

        Args:
            nonce: names this call of the step.
            again: an uncertain step is begun once more.

        Raises:
            LeaseLost: nothing was begun.
            redis.RedisError: Redis refuses; nothing is known.
        """
        hold, log = self._hold, self._log
        step_ttl_ms = log.ledger_ms if scope.lasting else 0
        arguments = [
            log.prefix, hold.handler, hold.lane, hold.token, scope.name, step, nonce,
            self._ttl_ms(scope), step_ttl_ms, self._hold_ms, GRACE_MS, int(again),
        ]  # fmt: skip
        reply = await self._ask_under_lease(log.scripts.ledger_begin, arguments)
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
        """Record that a step was done; False when it is somebody else's by now.

        Goes on in the background when the caller is cancelled: what happened should be known.

        Raises:
            redis.RedisError: it could not be recorded within half a minute.
        """
        arguments = [*self._names(scope, step, nonce), self._ttl_ms(scope), "done", result, fault]
        return await _report(self._log.scripts.ledger_finish, arguments)

    async def doubt(self, scope: Scope, step: str, nonce: str) -> bool:
        """Record that nobody knows whether a step was done; otherwise as `finish`."""
        arguments = [*self._names(scope, step, nonce), self._ttl_ms(scope), "uncertain", "", ""]
        return await _report(self._log.scripts.ledger_finish, arguments)

    async def clear(self, scope: Scope, step: str, nonce: str) -> bool:
        """Forget a step that certainly did nothing; otherwise as `finish`."""
        return await _report(self._log.scripts.ledger_clear, self._names(scope, step, nonce))

    async def keep(self, event_id: str) -> None:
        """An event is settled: from now on its ledger has its time to live."""
        key = self._log.key("ledger", self._hold.handler, event_id)
        await self._log.redis.pexpire(key, self._log.ledger_ms)

    def _names(self, scope: Scope, step: str, nonce: str) -> list[Any]:
        return [self._log.prefix, self._hold.handler, scope.name, step, nonce]

    def _ttl_ms(self, scope: Scope) -> int:
        """An event may stay unsettled for long (paused, retried, dead): until then its ledger is not given up."""
        return self._log.ledger_ms + (0 if scope.lasting else _UNSETTLED_MS)

    async def _ask_under_lease(self, script: Any, arguments: list[Any]) -> Any:
        end_s = clock_s() + _ASK_S
        while True:
            try:
                return await script(args=arguments)
            except (RedisError, OSError) as error:
                if not self._hold.alive:
                    raise LeaseLost(f"{self._hold.handler}: Redis did not answer") from error
                if clock_s() > end_s:
                    raise
                await asyncio.sleep(_PAUSE_S)


async def _report(script: Any, arguments: list[Any]) -> bool:
    task = asyncio.create_task(_told(script, arguments))
    _reports.add(task)
    task.add_done_callback(_reported)
    return await asyncio.shield(task)


def _reported(task: asyncio.Task[bool]) -> None:
    _reports.discard(task)
    if not task.cancelled():
        task.exception()  # whoever waited for it has seen it


async def _told(script: Any, arguments: list[Any]) -> bool:
    end_s = clock_s() + _ASK_S
    while True:
        try:
            return bool(await script(args=arguments))
        except (RedisError, OSError):
            if clock_s() > end_s:
                raise
            await asyncio.sleep(_PAUSE_S)
