"""Opens the settings and the lifespan of one handler, and closes the lifespan in the same task.

A lifespan that fails is opened again, with growing pauses. It knows nothing of other handlers, clients or drains.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Callable
from types import FrameType

import structlog
from pydantic_settings import BaseSettings

from eventlog import clock
from eventlog.handler_faults import Fault
from handlers.declaration import Handler
from handlers.discovery import Found
from workers.delivery.attempt import Runtime
from workers.delivery.loop_holding import LoopHolding
from workers.delivery.opening_faults import (
    LifespanHangs,
    SettingsFailed,
    are_settings_wrong,
    error_text,
    line_of,
    reason_of,
)
from workers.delivery.raised import name_of

LIFESPAN_S = 30.0  # for the lifespan of one handler to begin

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 300.0
_BLOCKS_S = 1.0  # a lifespan that held the event loop for so long is not opened while events are at work
_CANCEL_S = 1.0  # for a lifespan that is over its time to let itself be cancelled

_log = structlog.get_logger()


class Opening:
    """The opening of one handler, from its first try until it is closed.

    Attributes:
        fault: why the handler is not ready; None while it is ready, and before the first try has ended.
        tried: set when the first try has ended.

    Args:
        ready: called with the runtime each time that the handler is ready.
        faulty: called with each fault that is not like the one before it.
        again: whether a failed lifespan is opened again.
        before: the fault that an earlier process found in this handler.
    """

    def __init__(
        self,
        item: Found,
        ready: Callable[[Runtime], None],
        faulty: Callable[[Fault], None],
        *,
        again: bool = True,
        before: Fault | None = None,
    ) -> None:
        self.item = item
        self.fault = before
        self.tried = asyncio.Event()
        self._ready = ready
        self._faulty = faulty
        self._again = again
        self._closing = asyncio.Event()
        self._is_open = False
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Leave the lifespan; give up one that does not begin and cannot be cancelled."""
        self._closing.set()
        if not self._is_open:
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=_CANCEL_S)
            return
        await asyncio.wait({self._task})

    async def _run(self) -> None:
        while not self._closing.is_set():
            held, pause_s = LoopHolding(), None
            try:
                async with self._opened(held) as runtime:
                    self._is_open, self.fault = True, None
                    self._ready(runtime)
                    self.tried.set()
                    await self._closing.wait()
            except BaseException as error:  # noqa: BLE001 - the author's code
                if self._closing.is_set():
                    if self._is_open:
                        self._report_end(error)
                elif self._is_open:
                    # Something that the lifespan started cancelled us, such as a task group of which a task failed.
                    self._fail("lifespan-ended", error, None)
                else:
                    pause_s = self._pause_s(error, held)
                    self._fail(reason_of(error), error, pause_s)
            finally:
                self.tried.set()
            if pause_s is None or not self._again:
                return
            await asyncio.sleep(pause_s)

    @contextlib.asynccontextmanager
    async def _opened(self, held: LoopHolding) -> AsyncIterator[Runtime]:
        own = contextlib.AsyncExitStack()
        late = asyncio.get_running_loop().call_later(LIFESPAN_S + _CANCEL_S, self._hangs)
        began_s = time.monotonic()
        try:
            try:
                settings = read_settings(self.item)
            finally:
                held.ended(began_s)
            runtime = await _with_lifespan(self.item, settings, own, held)
        finally:
            late.cancel()
        async with own:
            yield runtime

    def _pause_s(self, error: BaseException, held: LoopHolding) -> float | None:
        """Return the seconds until the next try; None when this process makes none.

        A pause is as long as the fault has lasted, so pauses double, and no count of tries has to be kept.
        """
        if are_settings_wrong(error) or held.longest_s >= _BLOCKS_S:
            return None
        lasted_s = 0.0 if self.fault is None else (clock.now_ms() - self.fault.since_ms) / 1000
        pause_s = min(_LONGEST_PAUSE_S, max(_FIRST_PAUSE_S, lasted_s))
        return pause_s * random.uniform(0.75, 1.25)  # noqa: S311 - no secret

    def _hangs(self) -> None:
        """Report a lifespan that exceeds its time and ignores its cancellation."""
        self._fail("lifespan-hangs", LifespanHangs(_hangs()), None)
        self.tried.set()

    def _fail(self, reason: str, error: BaseException, again_s: float | None) -> None:
        now_ms, before = clock.now_ms(), self.fault
        next_ms = None if again_s is None else now_ms + round(again_s * 1000)
        fault = Fault(self.item.handler.name, reason, error_text(error), line_of(error, self.item.handler))
        is_new = not fault.is_like(before)
        since_ms = now_ms if before is None else before.since_ms
        self.fault = fault._replace(since_ms=since_ms, next_ms=next_ms)
        if is_new:
            self._faulty(self.fault)

    def _report_end(self, error: BaseException) -> None:
        name = self.item.handler.name
        _log.error(
            "handler.faulty",
            source=name,
            reason="lifespan-ended",
            error=f"{name_of(type(error))} at the end of its lifespan",
        )


async def without_clients(item: Found, exits: contextlib.AsyncExitStack) -> Runtime:
    """Return a handler with its settings and, until `exits` end, with its lifespan.

    Raises:
        LifespanHangs: the lifespan does not begin in time.
        BaseException: as the author's code fails.
    """
    settings = None if item.handler.settings is None else item.handler.settings()
    return await _with_lifespan(item, settings, exits, LoopHolding())


async def _with_lifespan(
    item: Found, settings: BaseSettings | None, exits: contextlib.AsyncExitStack, held: LoopHolding
) -> Runtime:
    handler, state = item.handler, None
    if handler.lifespan is not None:
        arguments = () if handler.settings is None else (settings,)
        try:
            async with asyncio.timeout(LIFESPAN_S) as limit:
                state = await held.during(exits.enter_async_context(handler.lifespan(*arguments)))
        except TimeoutError as error:
            if not limit.expired():
                raise  # one of its own
            raise LifespanHangs(_hangs()) from error
    return Runtime(handler, item.version, settings, state)


def read_settings(item: Found) -> BaseSettings | None:
    """Read the settings of a handler from the environment.

    Raises:
        SettingsFailed: they are missing or invalid, or their class raises something.
    """
    if item.handler.settings is None:
        return None
    try:
        return item.handler.settings()
    except BaseException as error:
        raise SettingsFailed from error


def settings_fault(item: Found) -> Fault | None:
    """Return what is wrong with the settings of a handler that another process runs."""
    try:
        read_settings(item)
    except SettingsFailed as error:
        name, text = item.handler.name, error_text(error)
        return Fault(name, reason_of(error), text, line_of(error, item.handler), clock.now_ms())
    return None


def _hangs() -> str:
    return f"its lifespan did not begin within {LIFESPAN_S:g} s"


def handler_opened_in(frame: FrameType) -> Handler | None:
    """Return the handler whose settings or lifespan are opened in a frame; None for any other frame."""
    if frame.f_code not in (_with_lifespan.__code__, read_settings.__code__):
        return None
    item: Found = frame.f_locals["item"]
    return item.handler
