"""Calls the function of a handler with its context: in the event loop, or in a thread for a plain `def`."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from types import FrameType
from typing import TYPE_CHECKING, Any

from handlers.context import Context, SyncContext
from handlers.declaration import Handler
from handlers.event import Event
from workers.delivery.gate import LazySteps, bound_log, gated
from workers.delivery.stacks import frames_of_thread
from workers.delivery.timeouts import time_limited
from workers.once.step import DeliveryRevoked

if TYPE_CHECKING:
    from workers.delivery.attempt import Attempt, Runtime


def in_loop(runtime: Runtime, event: Event[Any], attempt: Attempt, steps: LazySteps) -> Awaitable[object]:
    """Call an `async def` handler, within its time limit."""
    context: Context[Any, Any] = Context(
        ampeco=lambda: gated(runtime.client, runtime.handler, attempt, steps.through, runtime.lines),
        once=steps.once,
        steps=steps.ends,
        **_shared(runtime, attempt),
    )
    return time_limited(runtime.handler.function(event, context), runtime.alarms, attempt.overdue)


async def in_thread(runtime: Runtime, event: Event[Any], attempt: Attempt, steps: LazySteps) -> object:
    """Call a `def` handler in a thread; return what it returned or raised.

    Raises:
        DeliveryRevoked: the lease was lost on the way.
    """
    context: SyncContext[Any, Any] = SyncContext(
        ampeco=lambda: gated(
            runtime.sync_client, runtime.handler, attempt, steps.through_in_thread, runtime.lines
        ),
        once=steps.once_in_thread,
        steps=steps.ends,
        **_shared(runtime, attempt),
    )
    loop = asyncio.get_running_loop()
    # With traces on, the thread knows the current span, for plugins that make spans of their own.
    call = _caught if attempt.trace is None else _in_context(contextvars.copy_context())
    running = loop.run_in_executor(runtime.threads, call, runtime.handler.function, event, context)
    lane = attempt.event.lane
    runtime.lanes_in_threads[lane] += 1
    running.add_done_callback(lambda _: runtime.lanes_in_threads.subtract((lane,)))
    done, _ = await asyncio.wait({running}, timeout=runtime.handler.timeout_s)
    if not done:
        # The thread cannot be ended, so its entity must wait until it returns; what it returns then, counts.
        attempt.overdue()
    said = await running
    if type(said) is DeliveryRevoked:
        raise said
    return said


def frames_in_thread(handler: Handler, event_id: str) -> list[FrameType]:
    """Return where a `def` handler stands that runs on an event, innermost frame first."""
    return frames_of_thread(_caught.__code__, handler, event_id)


def _in_context(context: contextvars.Context) -> Callable[..., object]:
    return lambda *call: context.run(_caught, *call)


def _caught(function: Callable[..., Any], *arguments: Any) -> object:
    """Call a function and return what it returned or raised: a StopIteration, for one, cannot be set on a future."""
    try:
        return function(*arguments)
    except BaseException as error:  # noqa: BLE001 - outcomes.py knows what it means
        return error


def _shared(runtime: Runtime, attempt: Attempt) -> dict[str, Any]:
    """Return the arguments that both kinds of context share."""
    return {
        "settings": runtime.settings,
        "state": runtime.state,
        "attempt": attempt.number,
        "max_attempts": runtime.handler.max_attempts,
        "log": lambda: bound_log(runtime.handler, attempt),
        "dry_run": attempt.dry_run,
        "entity": attempt.entity,
    }
