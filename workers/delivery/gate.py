"""The gate between a handler and AMPECO: it checks `calls` and the lease, makes the steps, and records actions."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

import structlog

from ampeco.connection import CANCELLED, CallTrace
from ampeco.errors import NotSent
from ampeco.operations import Operation, is_declared
from ampeco.wire import WireRequest
from eventlog.called import Call
from eventlog.outages import AMPECO
from handlers.context import StepEnd
from handlers.declaration import Handler
from handlers.outcomes import CallNotDeclared, GiveUp
from workers.delivery.attempt_lines import HandlerLines
from workers.delivery.call_counts import CallCounts, label_of
from workers.delivery.service import Watch, failure_of
from workers.once.step import DeliveryRevoked, Stepping, current_step

if TYPE_CHECKING:
    from workers.delivery.attempt import Attempt

_KEPT_ACTIONS = 20  # of one attempt, for the history
_KEPT_READS = 5  # the last ones: an attempt fails on what it called last

_log = structlog.get_logger()


def bound_log(handler: Handler, attempt: Attempt) -> Any:
    """Return a logger that knows the event, the handler and the attempt."""
    event = attempt.event
    return _log.bind(
        event_id=event.event_id,
        notification=event.type,
        key=event.key,
        handler=handler.name,
        attempt=attempt.number,
    )


def gated(
    client: Any, handler: Handler, attempt: Attempt, through: Callable[..., Any], lines: HandlerLines
) -> Any:
    """Return the client with the gate before its calls; raise GiveUp if no API token is configured."""
    if client is None:
        raise GiveUp("no API token is configured, so AMPECO cannot be called (AWR_API_TOKEN)")
    return client.gated(_Gate(handler, attempt, lines), through=through)


def _check_declared(handler: Handler, attempt: Attempt, operation: Operation, path: str) -> None:
    if operation.kind != "read" and not is_declared(handler.calls, operation, path):
        _note(attempt, Call(operation.name, path, CallNotDeclared.slug, None))  # the handler may catch it
        raise CallNotDeclared(f"{operation.name} is not in this handler's calls=[...]")


def _note(attempt: Attempt, call: Call) -> None:
    if len(attempt.actions) < _KEPT_ACTIONS:
        attempt.actions.append(call.line())
    else:
        attempt.more_actions += 1


class LazySteps:
    """The once-only steps of an attempt. `made` stays None until the handler needs them: most never do."""

    __slots__ = ("_attempt", "_handler", "made")

    def __init__(self, handler: Handler, attempt: Attempt) -> None:
        self._attempt = attempt
        self._handler = handler
        self.made: Stepping | None = None

    def _get(self) -> Stepping:
        if self.made is None:
            self.made = self._attempt.steps()
        return self.made

    def ends(self) -> Mapping[str, StepEnd]:
        """How each named step of the attempt that returned came to its result."""
        return {} if self.made is None else self.made.ends

    async def once(self, step: str, call: Callable[[], Any], **how: Any) -> Any:
        return await self._get().once(step, call, **how)

    def once_in_thread(self, step: str, call: Callable[[], Any], **how: Any) -> Any:
        return self._get().once_in_thread(step, call, **how)

    async def through(self, request: WireRequest, send: Callable[[], Awaitable[Any]]) -> Any:
        _check_declared(self._handler, self._attempt, request.operation, request.path)
        return await self._get().through(request, send)

    def through_in_thread(self, request: WireRequest, send: Callable[[], Any]) -> Any:
        _check_declared(self._handler, self._attempt, request.operation, request.path)
        return self._get().through_in_thread(request, send)


class _Gate:
    """Checks every call that a handler makes to AMPECO, and records every action."""

    def __init__(self, handler: Handler, attempt: Attempt, lines: HandlerLines) -> None:
        self._handler = handler
        self._attempt = attempt
        self._lines = lines

    def admit(self, operation: Operation, path: str) -> CallTrace | None:
        if not self._attempt.allowed():
            raise DeliveryRevoked
        _check_declared(self._handler, self._attempt, operation, path)
        watch = self._attempt.watch
        if watch is not None and (why := watch.refusal()) is not None:
            self._attempt.failed, self._attempt.refused = AMPECO, True
            raise NotSent(operation.name, None, why)
        if operation.kind != "read" and (step := current_step()) is not None:
            step.sent = True
        trace = self._attempt.trace
        if trace is None:
            return None
        return trace.call(operation, label_of(self._handler.calls, operation, path))

    def called(
        self, operation: Operation, path: str, outcome: str, status: int | None, seconds: float
    ) -> None:
        attempt = self._attempt
        if attempt.watch is not None:
            self._tell(attempt.watch, outcome, status)
        if attempt.calls is None:
            attempt.calls = CallCounts()
        attempt.calls.add(label_of(self._handler.calls, operation, path), outcome, status, seconds)
        call = Call(operation.name, path, outcome, status, round(seconds * 1000))
        if operation.kind == "read":
            attempt.reads = (*attempt.reads[1 - _KEPT_READS :], call.line())
            return
        _note(attempt, call)
        self._log_action(call)

    def _log_action(self, call: Call) -> None:
        log = bound_log(self._handler, self._attempt)
        self._lines.tell(
            logging.INFO,
            lambda **fields: log.info("action.called", **fields),
            ("action", call.operation, call.outcome, call.status),
            counted="calls",
            each=True,
            operation=call.operation,
            path=call.path,
            outcome=call.outcome,
            status=call.status,
            duration_ms=call.ms,
        )

    def _tell(self, watch: Watch, outcome: str, status: int | None) -> None:
        """Report to `watch` whether AMPECO answered."""
        attempt = self._attempt
        if outcome == CANCELLED:
            attempt.cut = True
        elif (why := failure_of(outcome, status)) is not None:
            attempt.failed = AMPECO
            watch.failed(AMPECO, attempt.event.key or attempt.event.event_id, why)
        else:
            attempt.failed, attempt.answered = "", True
            watch.answered()
