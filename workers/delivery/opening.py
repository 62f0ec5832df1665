"""Opens what one handler needs, its settings and its lifespan, and closes it again in the same task.

A lifespan that fails is opened again, with growing pauses. It knows nothing of other handlers, clients or drains.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import random
import time
import types
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from types import FrameType
from typing import Any, TypeVar

import structlog
from pydantic import ValidationError
from pydantic_settings import BaseSettings

from eventlog import clock
from eventlog.handler_faults import Fault
from handlers.declaration import Handler
from handlers.discovery import Found, missing_settings
from workers.delivery.attempt import Runtime
from workers.delivery.said import first_behind, is_a, name_of, where

LIFESPAN_S = 30.0  # for the lifespan of one handler to begin

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 300.0
_BLOCKS_S = 1.0  # a lifespan that held the event loop for so long is not opened while events are at work
_CANCEL_S = 1.0  # for a lifespan that is over its time to let itself be cancelled

_log = structlog.get_logger()
T = TypeVar("T")


class LifespanHangs(Exception):
    """A lifespan that does not begin."""


class SettingsFailed(Exception):
    """The settings of a handler cannot be read. The cause says why."""


class Opening:
    """One handler on its way to be ready, until it is closed.

    Attributes:
        fault: why it is not ready; None while it is, and before the first try ever came to an end.
        tried: set when the first try came to its end.

    Args:
        ready: called each time that the handler is ready, with what runs it.
        faulty: called with each fault that is not like the one before it.
        again: whether a failed lifespan is opened again.
        before: the fault that an earlier process had with it.
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
            steps, pause_s = Steps(), None
            try:
                async with self._opened(steps) as runtime:
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
                    pause_s = self._pause_s(error, steps)
                    self._fail(reason_of(error), error, pause_s)
            finally:
                self.tried.set()
            if pause_s is None or not self._again:
                return
            await asyncio.sleep(pause_s)

    @contextlib.asynccontextmanager
    async def _opened(self, steps: Steps) -> AsyncIterator[Runtime]:
        own = contextlib.AsyncExitStack()
        late = asyncio.get_running_loop().call_later(LIFESPAN_S + _CANCEL_S, self._hangs)
        began_s = time.monotonic()
        try:
            try:
                settings = read_settings(self.item)
            finally:
                steps.ended(began_s)
            runtime = await _with_lifespan(self.item, settings, own, steps)
        finally:
            late.cancel()
        async with own:
            yield runtime

    def _pause_s(self, error: BaseException, steps: Steps) -> float | None:
        """Return the seconds until the next try; None when this process makes none.

        A pause is as long as the fault has lasted, so pauses double, and no count of tries has to be kept.
        """
        if _are_settings_wrong(error) or steps.longest_s >= _BLOCKS_S:
            return None
        lasted_s = 0.0 if self.fault is None else (clock.now_ms() - self.fault.since_ms) / 1000
        pause_s = min(_LONGEST_PAUSE_S, max(_FIRST_PAUSE_S, lasted_s))
        return pause_s * random.uniform(0.75, 1.25)  # noqa: S311 - no secret

    def _hangs(self) -> None:
        """The lifespan is over its time, and does not let itself be cancelled."""
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


class Steps:
    """How long a coroutine held the event loop at a time.

    Attributes:
        longest_s: the longest time without a turn for others.
    """

    def __init__(self) -> None:
        self.longest_s = 0.0

    def ended(self, began_s: float) -> None:
        """Take in a turn that began at this time of `time.monotonic`."""
        self.longest_s = max(self.longest_s, time.monotonic() - began_s)

    @types.coroutine
    def of(self, work: Coroutine[Any, Any, T]) -> Generator[Any, Any, T]:
        """Do what `await work` does, and measure each of its turns."""
        thrown: BaseException | None = None
        while True:
            began_s = time.monotonic()
            try:
                awaited = work.send(None) if thrown is None else work.throw(thrown)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            finally:
                self.ended(began_s)
            thrown = None
            try:
                yield awaited
            except GeneratorExit:
                work.close()
                raise
            except BaseException as error:  # noqa: BLE001 - thrown on into the lifespan
                thrown = error


async def without_clients(item: Found, exits: contextlib.AsyncExitStack) -> Runtime:
    """Return a handler with its settings and, until `exits` end, with its lifespan.

    Raises:
        LifespanHangs: the lifespan does not begin in time.
        BaseException: as the author's code fails.
    """
    settings = None if item.handler.settings is None else item.handler.settings()
    return await _with_lifespan(item, settings, exits, Steps())


async def _with_lifespan(
    item: Found, settings: BaseSettings | None, exits: contextlib.AsyncExitStack, steps: Steps
) -> Runtime:
    handler, state = item.handler, None
    if handler.lifespan is not None:
        arguments = () if handler.settings is None else (settings,)
        try:
            async with asyncio.timeout(LIFESPAN_S) as limit:
                state = await steps.of(exits.enter_async_context(handler.lifespan(*arguments)))
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


def reason_of(error: BaseException) -> str:
    """Return the slug of what keeps a handler from being ready."""
    if is_a(error, SettingsFailed):
        cause = error.__cause__
        if not isinstance(cause, ValidationError):
            return "settings-failed"
        kinds = {found["type"] for found in cause.errors(include_input=False, include_context=False)}
        return "settings-missing" if kinds == {"missing"} else "settings-invalid"
    return "lifespan-hangs" if is_a(error, LifespanHangs) else "lifespan-failed"


def error_text(error: BaseException) -> str:
    """Say what is wrong, without values: the settings that are missing, or the class of the error."""
    if is_a(error, LifespanHangs):
        return str(error)
    if is_a(error, SettingsFailed) and error.__cause__ is not None:
        error = error.__cause__
    found = first_behind(error, ValidationError)
    if isinstance(found, ValidationError):
        return missing_settings(found)
    return where(error).partition("\n")[0]


def line_of(error: BaseException, handler: Handler) -> str:
    """Return the innermost line in the handler's own file that an error passed; else the innermost of all."""
    if is_a(error, SettingsFailed):
        if isinstance(error.__cause__, ValidationError):
            return ""
        error = error.__cause__ or error
    if is_a(error, LifespanHangs):
        error = first_behind(error, asyncio.CancelledError) or error  # its lines lead to where it waited
    own = {_file_of(handler.lifespan), _file_of(handler.function), _file_of(handler.settings)} - {""}
    lines = where(error).splitlines()[1:]
    ours = [line for line in lines if any(line.startswith(f"{file}:") for file in own)]
    return (ours or lines or [""])[-1]


def _are_settings_wrong(error: BaseException) -> bool:
    """Return whether the environment lacks something: it does not change while a process runs."""
    return is_a(error, SettingsFailed) and isinstance(error.__cause__, ValidationError)


def _hangs() -> str:
    return f"its lifespan did not begin within {LIFESPAN_S:g} s"


def _file_of(made: Any) -> str:
    code = getattr(inspect.unwrap(made), "__code__", None) if callable(made) else None
    return code.co_filename[-300:] if code is not None else ""


def handler_opened_in(frame: FrameType) -> Handler | None:
    """Return the handler whose settings or lifespan are opened in a frame; None for any other frame."""
    if frame.f_code not in (_with_lifespan.__code__, read_settings.__code__):
        return None
    item: Found = frame.f_locals["item"]
    return item.handler
