"""One handler run: event and context in, outcome out. It knows nothing of order, leases or Redis.

Catches everything a handler raises; no other module does.
"""

from __future__ import annotations

import asyncio
import random
import types
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import structlog
from pydantic import ValidationError

from ampeco.client import AsyncClient, Client
from ampeco.entity_keys import occurred_at
from ampeco.errors import PayloadError
from ampeco.models.reading import lacks_id, read_payload
from ampeco.notifications import Payload, read
from ampeco.operations import Operation, is_declared
from ampeco.wire import WireRequest
from eventlog.record import StoredEvent
from handlers.context import Context, SyncContext
from handlers.declaration import Handler
from handlers.event import Event, Raw
from handlers.outcomes import CallNotDeclared, GiveUp
from workers.delivery.outcomes import (
    FILTERED,
    NOT_WANTED,
    AttemptTimedOut,
    Outcome,
    PayloadMismatch,
    outcome_of,
)
from workers.delivery.shared_event import SharedEvent
from workers.delivery.timeouts import Timeouts
from workers.once.step import DeliveryRevoked, Stepping, current_step

_KEPT_ACTIONS = 20  # of one attempt, for the history
_NAMED_FIELDS = 5
_CANCEL_S = 3.0  # for a handler that is over its time to let itself be cancelled

_log = structlog.get_logger()


class HandlerEnded(Exception):
    """The handler let something through that would end our task or process instead of its attempt."""


@dataclass
class Runtime:
    """A handler, ready to run in this process.

    Attributes:
        version: of its code, as declared in the log.
        settings, state: what its context carries.
        client, sync_client: AMPECO's API; None where no token is configured.
        threads: where plain `def` handlers run.
        alarms: time limits of attempts that run in the event loop.
        lanes_in_threads: lanes with an event in such a thread. A thread outlives the lease it was started under,
            and until it returns no drain of this process may take that lane of this handler again.
    """

    handler: Handler
    version: str
    settings: Any = None
    state: Any = None
    client: AsyncClient | None = None
    sync_client: Client | None = None
    threads: ThreadPoolExecutor | None = None
    lanes_in_threads: Counter[int] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.alarms = Timeouts(self.handler.timeout_s)


@dataclass(slots=True)  # not frozen: that costs a microsecond for every event
class Attempt:
    """One run of one delivery.

    Attributes:
        number: 1 for the first attempt.
        age_s: seconds since the first attempt began.
        allowed: whether the lease still lives; asked before every call to AMPECO.
        overdue: called once when a handler outlives its time for good: nothing can end a thread, nor a task that
            does not let itself be cancelled.
        steps: makes what stands between the handler and what it does: its once-only steps, or a dry run.
        replayed: an operator asked for this delivery again.
        actions: filled with what is called at AMPECO, each `operation path outcome status`.
        misfits: filled with the fields of the payload that do not fit.
    """

    event: StoredEvent
    number: int
    age_s: float
    allowed: Callable[[], bool]
    overdue: Callable[[], None]
    steps: Callable[[], Stepping]
    replayed: bool = False
    actions: list[str] = field(default_factory=list)
    misfits: tuple[str, ...] = ()


async def run(runtime: Runtime, attempt: Attempt) -> Outcome:
    """Run the handler once.

    Raises:
        DeliveryRevoked: the lease was lost on the way; the attempt counts for nothing.
        asyncio.CancelledError: the attempt counts for nothing, too.
    """
    handler = runtime.handler
    model = handler.model_of(attempt.event.type)
    if model is None:
        return NOT_WANTED
    failure: Exception | None = None
    steps = _Steps(runtime, attempt)
    try:
        event = _event(attempt, model, strict=handler.strict)
        if handler.where is not None and not handler.where(event):
            return FILTERED
        if handler.is_async:
            await _in_loop(runtime, event, attempt, steps)
        else:
            await _in_thread(runtime, event, attempt, steps)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        failure = HandlerEnded("it was cancelled from within")
    except DeliveryRevoked:
        raise
    except Exception as error:  # noqa: BLE001 - handlers may raise anything; outcomes.py knows what it means
        failure = error
    except BaseException as error:  # noqa: BLE001 - SystemExit and others that would end more than this attempt
        failure = HandlerEnded(type(error).__name__)
    outcome = outcome_of(
        failure,
        handler,
        attempt=attempt.number,
        age_s=attempt.age_s,
        uniform=random.uniform,
    )
    if steps.made is not None and outcome.kind in ("done", "skipped"):
        await steps.made.settled()
    return outcome


def _in_loop(runtime: Runtime, event: Event[Any], attempt: Attempt, steps: _Steps) -> Awaitable[None]:
    context: Context[Any, Any] = Context(
        ampeco=lambda: _gated(runtime.client, runtime, attempt, steps.through),
        once=steps.once,
        settings=runtime.settings,
        state=runtime.state,
        attempt=attempt.number,
        max_attempts=runtime.handler.max_attempts,
        log=lambda: _bound_log(runtime, attempt),
    )
    return _time_limited(runtime.handler.function(event, context), runtime.alarms, attempt.overdue)


@types.coroutine
def _time_limited(
    handling: Coroutine[Any, Any, None], alarms: Timeouts, overdue: Callable[[], None]
) -> Generator[Any, Any, None]:
    """Run a handler up to its time limit, which begins to count when it waits for the first time.

    Until then nothing else can run in this loop, so no limit could end it; and most events never get that far.
    For the rest of its way this does what `await` does, and what asyncio.timeout does at many times the price.
    """
    try:
        awaited = handling.send(None)
    except StopIteration:
        return
    limit = _TimeLimit(overdue)
    alarms.set(limit, limit.loop)
    try:
        while True:
            thrown: BaseException | None = None
            try:
                sent = yield awaited
            except GeneratorExit:
                handling.close()
                raise
            except BaseException as error:  # noqa: BLE001 - thrown on into the handler
                thrown = error
            # Outside of that clause, or all that the handler raises from here on would count as caused by it.
            awaited = handling.send(sent) if thrown is None else handling.throw(thrown)
    except StopIteration:
        return
    except asyncio.CancelledError:
        if limit.alone_cancelled:
            raise AttemptTimedOut from None
        raise
    finally:
        thrown = None  # it holds this frame
        alarms.drop(limit)
        limit.end()


class _TimeLimit:
    """Cancels the current task when its alarm rings.

    Attributes:
        alone_cancelled: nothing else cancelled the task since.
    """

    def __init__(self, overdue: Callable[[], None]) -> None:
        self.loop = asyncio.get_running_loop()
        task = asyncio.current_task(self.loop)
        assert task is not None  # noqa: S101
        self._task = task
        self._before = task.cancelling()
        self._overdue = overdue
        self._rang = False
        self._last_call: asyncio.TimerHandle | None = None

    @property
    def alone_cancelled(self) -> bool:
        return self._rang and self._task.cancelling() == self._before + 1

    def ring(self) -> None:
        self._rang = True
        self._task.cancel()
        self._last_call = self.loop.call_later(_CANCEL_S, self._overdue)

    def end(self) -> None:
        if self._last_call is not None:
            self._last_call.cancel()
        if self._rang:
            self._task.uncancel()  # also where the handler answered the time-out in its own way


async def _in_thread(runtime: Runtime, event: Event[Any], attempt: Attempt, steps: _Steps) -> None:
    context: SyncContext[Any, Any] = SyncContext(
        ampeco=lambda: _gated(runtime.sync_client, runtime, attempt, steps.through_in_thread),
        once=steps.once_in_thread,
        settings=runtime.settings,
        state=runtime.state,
        attempt=attempt.number,
        max_attempts=runtime.handler.max_attempts,
        log=lambda: _bound_log(runtime, attempt),
    )
    loop = asyncio.get_running_loop()
    running = loop.run_in_executor(runtime.threads, _caught, runtime.handler.function, event, context)
    lane = attempt.event.lane
    runtime.lanes_in_threads[lane] += 1
    running.add_done_callback(lambda _: runtime.lanes_in_threads.subtract((lane,)))
    done, _ = await asyncio.wait({running}, timeout=runtime.handler.timeout_s)
    if not done:
        # The thread cannot be ended, so its entity must wait until it returns; what it returns then, counts.
        attempt.overdue()
    raised = await running
    if raised is not None:
        raise raised


def _caught(function: Callable[..., Any], *arguments: Any) -> BaseException | None:
    """Call it and return what it raised: a StopIteration, for one, cannot be set on a future."""
    try:
        function(*arguments)
    except BaseException as error:  # noqa: BLE001 - raised again in the event loop
        return error
    return None


def _event(attempt: Attempt, model: type[Payload] | type[Raw], *, strict: bool) -> Event[Any]:
    """The event as its handler sees it.

    Raises:
        PayloadMismatch: the body is no notification, its identity does not fit, or a field does not and the handler
            is strict.
    """
    stored = attempt.event
    if type(stored) is SharedEvent and not attempt.replayed:
        made = stored.made
        event = made.get(model)
        if event is None:
            event = _made(attempt, model, strict=strict)
            if issubclass(model, Raw) or model.model_config.get("frozen"):  # an author's own model may not be
                made[model] = event
        if event.misfits:
            attempt.misfits = event.misfits
            if strict:
                raise _mismatch(type(event.payload), event.misfits)
        return event
    return _made(attempt, model, strict=strict)


def _made(attempt: Attempt, model: type[Payload] | type[Raw], *, strict: bool) -> Event[Any]:
    """Read the payload of an event; raises as `_event` does."""
    stored = attempt.event
    misfits: tuple[str, ...] = ()
    try:
        data = read(stored.body)
    except PayloadError as error:
        raise PayloadMismatch(error.reason) from None
    payload: Payload | Raw
    if issubclass(model, Raw):
        payload = model(data)
    else:
        try:
            # What model_validate does, without its checks of arguments: a microsecond for every event.
            payload = model.__pydantic_validator__.validate_python(data)
        except ValidationError:
            payload, misfits = _read_in_part(stored, model, data)
            attempt.misfits = misfits
            if strict or (stored.key is None and lacks_id(payload)):
                raise _mismatch(model, misfits) from None
    received_at = stored.received_at
    # Older code stored no time. Remove this search when no log holds its records any more.
    searched = stored.occurred_at_us is None
    return Event(
        received_at=received_at,
        occurred_at=occurred_at(stored.type, data, received_at) if searched else stored.occurred_at,
        id=stored.event_id,
        type=stored.type,
        key=stored.key,
        payload=payload,
        raw=stored.body,
        maybe_repeat="maybe_repeat" in stored.marks,
        replayed=attempt.replayed,
        misfits=misfits,
    )


def _read_in_part(
    stored: StoredEvent, model: type[Payload], data: dict[str, Any]
) -> tuple[Payload, tuple[str, ...]]:
    """A payload of which some fields do not fit, and their names. A key that was found says what it is about."""
    try:
        payload, misfits = read_payload(model, data)
    except ValidationError as error:  # no field alone is at fault
        places = {".".join(map(str, fault["loc"])) for fault in error.errors(include_input=False)}
        raise _mismatch(model, sorted(places)) from None
    _log.debug(
        "payload.misfit",
        event_id=stored.event_id,
        notification=stored.type,
        key=stored.key,
        fields=misfits[:_NAMED_FIELDS],
        count=len(misfits),
    )
    return payload, misfits


def _mismatch(model: type[Payload | Raw], fields: Sequence[str]) -> PayloadMismatch:
    more = len(fields) - _NAMED_FIELDS
    named = ", ".join(fields[:_NAMED_FIELDS]) + (f" and {more} more" if more > 0 else "")
    return PayloadMismatch(f"does not fit {model.__name__}: {named}")


def _bound_log(runtime: Runtime, attempt: Attempt) -> Any:
    event = attempt.event
    return _log.bind(
        event_id=event.event_id,
        notification=event.type,
        key=event.key,
        handler=runtime.handler.name,
        attempt=attempt.number,
    )


def _gated(client: Any, runtime: Runtime, attempt: Attempt, through: Callable[..., Any]) -> Any:
    if client is None:
        raise GiveUp("no API token is configured, so AMPECO cannot be called (AWR_API_TOKEN)")
    return client.gated(_Gate(runtime, attempt), through=through)


def _check_declared(handler: Handler, operation: Operation, path: str) -> None:
    if operation.kind != "read" and not is_declared(handler.calls, operation, path):
        raise CallNotDeclared(f"{operation.name} is not in this handler's calls=[...]")


class _Steps:
    """The once-only steps of an attempt, made when the handler first needs them: most never do.

    Attributes:
        made: None as long as they were not needed.
    """

    __slots__ = ("_handler", "_make", "made")

    def __init__(self, runtime: Runtime, attempt: Attempt) -> None:
        self._handler = runtime.handler
        self._make = attempt.steps
        self.made: Stepping | None = None

    def _get(self) -> Stepping:
        if self.made is None:
            self.made = self._make()
        return self.made

    async def once(self, step: str, call: Callable[[], Any], **how: Any) -> Any:
        return await self._get().once(step, call, **how)

    def once_in_thread(self, step: str, call: Callable[[], Any], **how: Any) -> Any:
        return self._get().once_in_thread(step, call, **how)

    async def through(self, request: WireRequest, send: Callable[[], Awaitable[Any]]) -> Any:
        _check_declared(self._handler, request.operation, request.path)
        return await self._get().through(request, send)

    def through_in_thread(self, request: WireRequest, send: Callable[[], Any]) -> Any:
        _check_declared(self._handler, request.operation, request.path)
        return self._get().through_in_thread(request, send)


class _Gate:
    """Stands before every call a handler makes to AMPECO, and writes down every action."""

    def __init__(self, runtime: Runtime, attempt: Attempt) -> None:
        self._runtime = runtime
        self._attempt = attempt

    def admit(self, operation: Operation, path: str) -> None:
        if not self._attempt.allowed():
            raise DeliveryRevoked
        _check_declared(self._runtime.handler, operation, path)
        if operation.kind != "read" and (step := current_step()) is not None:
            step.sent = True

    def called(self, operation: Operation, path: str, outcome: str, status: int | None) -> None:
        if operation.kind != "read":
            if len(self._attempt.actions) < _KEPT_ACTIONS:
                self._attempt.actions.append(f"{operation.name} {path} {outcome} {status}")
            log = _bound_log(self._runtime, self._attempt)
            log.info("action.called", operation=operation.name, path=path, outcome=outcome, status=status)
