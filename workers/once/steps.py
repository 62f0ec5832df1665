"""Once-only steps: return the recorded result instead of calling again, and never guess an outcome.

A step is begun in Redis, called, and finished in Redis. How the call ends decides:
an error that means "nothing happened" clears the step, a result finishes it, anything else leaves it uncertain.
Actions of AMPECO that are not idempotent go through here by themselves. Knows nothing of Redis's keys or of leases.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeVar

from redis.exceptions import RedisError

from ampeco.wire import WireRequest
from eventlog.errors import LeaseLost
from eventlog.step_ledger import Scope, Standing
from handlers.context import OnUncertain, Per, StepEnd
from handlers.outcomes import Retry, StepRefused, StepUncertain
from workers.once.serialization import pack, unpack
from workers.once.step import DeliveryRevoked, Step, is_certain, noted, within
from workers.once.step_names import StepNames

_LOOP_LOOK_S = 1.0
R = TypeVar("R")


class Ledger(Protocol):
    """Records steps; `eventlog.step_ledger.StepLedger` does so in Redis."""

    @property
    def alive(self) -> bool: ...
    async def begin(self, scope: Scope, step: str, nonce: str, *, again: bool) -> Standing: ...
    async def finish(self, scope: Scope, step: str, nonce: str, result: str, fault: str) -> bool: ...
    async def doubt(self, scope: Scope, step: str, nonce: str) -> bool: ...
    async def clear(self, scope: Scope, step: str, nonce: str) -> bool: ...
    async def keep(self, event_id: str) -> None: ...


class Recorded(NamedTuple):
    """The result of a step that was done before."""

    value: Any


class Guard(Protocol):
    """Admits an action before it leaves, and revokes it when it certainly did nothing."""

    async def admit(self, request: WireRequest) -> None: ...
    async def revoke(self, request: WireRequest) -> None: ...


class Steps:
    """The once-only steps of one attempt. The ledger lives in `loop`; `def` handlers call from other threads.

    Attributes:
        ends: how each named step that returned came to its result.

    Args:
        key: the handler's key of the event, the scope of steps per entity.
    """

    def __init__(
        self,
        ledger: Ledger,
        event_id: str,
        key: str | None,
        loop: asyncio.AbstractEventLoop,
        guard: Guard | None = None,
    ) -> None:
        self.ends: dict[str, StepEnd] = {}
        self._ledger = ledger
        self._event_id = event_id
        self._names = StepNames(event_id, key)
        self._loop = loop
        self._guard = guard
        self._used = False

    # In the event loop

    async def once(
        self, step: str, call: Callable[[], Any], *, per: Per, on_uncertain: OnUncertain, returns: Any
    ) -> Any:
        return await self._run(self._names.named(step, call, per, on_uncertain, returns), call)

    async def through(self, request: WireRequest, send: Callable[[], Awaitable[Any]]) -> Any:
        step, send = self._names.action(request), partial(self._guarded, request, send)
        if step is not None:
            return await self._run(step, send)
        with noted():
            return await send()

    async def _guarded(self, request: WireRequest, send: Callable[[], Awaitable[Any]]) -> Any:
        if self._guard is None:
            return await send()
        await self._guard.admit(request)
        try:
            return await send()
        except BaseException as error:
            if is_certain(error):
                await self._guard.revoke(request)
            raise

    async def _run(self, step: Step, call: Callable[[], Any]) -> Any:
        known = await self._begin(step)
        if known is not None:
            return self._remember(step, known)
        try:
            with within(step):
                result = call()
                if inspect.isawaitable(result):
                    result = await result
        except BaseException as error:
            if await self._failed(step, error):
                raise _uncertain(step) from error
            raise
        return await self._done(step, result)

    async def settled(self) -> None:
        if self._used:
            with contextlib.suppress(RedisError, OSError):  # it goes in a year then
                await self._ledger.keep(self._event_id)

    # In the thread of a `def` handler

    def once_in_thread(
        self, step: str, call: Callable[[], Any], *, per: Per, on_uncertain: OnUncertain, returns: Any
    ) -> Any:
        return self._run_in_thread(self._names.named(step, call, per, on_uncertain, returns), call)

    def through_in_thread(self, request: WireRequest, send: Callable[[], Any]) -> Any:
        step, send = self._names.action(request), partial(self._guarded_in_thread, request, send)
        if step is not None:
            return self._run_in_thread(step, send)
        with noted():
            return send()

    def _guarded_in_thread(self, request: WireRequest, send: Callable[[], Any]) -> Any:
        if self._guard is None:
            return send()
        self._wait(self._guard.admit(request))
        try:
            return send()
        except BaseException as error:
            if is_certain(error):
                self._wait(self._guard.revoke(request))
            raise

    def _run_in_thread(self, step: Step, call: Callable[[], Any]) -> Any:
        known = self._wait(self._begin(step))
        if known is not None:
            return self._remember(step, known)
        try:
            with within(step):
                result = call()
                if inspect.iscoroutine(result):
                    result.close()  # it was never begun
                    raise StepRefused(
                        "step-result",
                        f"step {step.name!r} was not called: its call is async, and its handler is not",
                    )
        except BaseException as error:
            if self._wait(self._failed(step, error)):
                raise _uncertain(step) from error
            raise
        return self._wait(self._done(step, result))

    def _wait(self, work: Coroutine[Any, Any, R]) -> R:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        while True:
            try:
                return future.result(_LOOP_LOOK_S)
            except TimeoutError:
                if future.done():  # it may have ended just after the wait
                    return future.result()
                if not self._loop.is_running():
                    raise DeliveryRevoked from None

    # What both say to the ledger

    async def _begin(self, step: Step) -> Recorded | None:
        self._used = True
        try:
            known = await self._ledger.begin(
                step.scope, step.name, step.nonce, again=step.on_uncertain == "retry"
            )
        except LeaseLost as error:
            raise DeliveryRevoked from error
        match known.state:
            case "done":
                return Recorded(unpack(step.name, known.result, known.fault, step.returns))
            case "uncertain":
                raise _uncertain(step)
            case "held":
                raise Retry(f"step {step.name!r} is being called", after_s=known.wait_s, counts=False)
        if not self._ledger.alive:
            await self._ledger.clear(step.scope, step.name, step.nonce)
            raise DeliveryRevoked
        return None

    async def _failed(self, step: Step, error: BaseException) -> bool:
        """Record what an error means; True when the delivery ends because the outcome is unknown."""
        if not step.may_have_happened(error):
            self._names.free(step)
            await self._ledger.clear(step.scope, step.name, step.nonce)
            return False
        await self._ledger.doubt(step.scope, step.name, step.nonce)
        return step.on_uncertain == "dead" and issubclass(type(error), Exception)

    async def _done(self, step: Step, result: Any) -> Any:
        text, fault = pack(result, step.returns)
        await self._ledger.finish(step.scope, step.name, step.nonce, text, fault)
        value = unpack(step.name, text, fault, step.returns)
        if not step.automatic:
            self.ends[step.name] = "called"
        return value

    def _remember(self, step: Step, known: Recorded) -> Any:
        if not step.automatic:
            self.ends[step.name] = "remembered"
        return known.value


def _uncertain(step: Step) -> StepUncertain:
    return StepUncertain(f"step {step.name!r} was called, and its outcome is unknown")
