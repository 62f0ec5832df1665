"""One once-only step during its call: which code is inside it, what it did, and what an error shows about that."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Protocol

from ampeco.errors import (
    ActionRefused,
    ApiError,
    ChargePointRefused,
    FieldMisfit,
    KeyRefused,
    NotSent,
    NotSupported,
    RateLimited,
    RequestRefused,
    ServerFault,
)
from ampeco.operations import operation_named
from ampeco.wire import WireRequest
from eventlog.step_ledger import Scope
from handlers.context import OnUncertain, Per, StepEnd
from handlers.outcomes import GiveUp, Retry, Skip, Unavailable


class DeliveryRevoked(BaseException):
    """The lease is lost: another worker may already do what the handler is about to call.

    Not an Exception, so that a handler's own `except Exception` does not swallow it.
    """


NOTHING_HAPPENED = (
    NotSent,
    KeyRefused,
    RequestRefused,
    ChargePointRefused,
    RateLimited,
    NotSupported,
    ActionRefused,
    FieldMisfit,  # arguments are read before the call
    Skip,
    Retry,
    Unavailable,
    GiveUp,
    DeliveryRevoked,
)
"""Errors that say that a call had no effect."""

_NOT_NOW = 503  # with a pause to wait, AMPECO says that it did not carry the request out


@dataclass(eq=False, slots=True)
class Step:
    """A step that was begun and has to be called.

    Attributes:
        automatic: an action that goes through the ledger by itself.
        open: its call is under way.
        sent: a request of it left, or was about to.
        happened: whether something that must not happen twice did, or may have.
    """

    name: str
    scope: Scope
    on_uncertain: OnUncertain
    returns: Any
    automatic: bool
    nonce: str = field(default_factory=lambda: secrets.token_hex(8))
    open: bool = False
    sent: bool = False
    happened: bool = False

    def may_have_happened(self, error: BaseException) -> bool:
        """Return what an error that ended the call shows about its effect."""
        if self.automatic and not self.sent:
            return False
        return self.happened or not _says_nothing_happened(error)


class Stepping(Protocol):
    """Carries out the steps of a handler, for `async def` handlers and for `def` handlers in threads.

    Attributes:
        ends: how each named step that returned came to its result.
    """

    @property
    def ends(self) -> Mapping[str, StepEnd]: ...

    async def once(
        self, step: str, call: Callable[[], Any], *, per: Per, on_uncertain: OnUncertain, returns: Any
    ) -> Any:
        """As `Context.once`."""

    async def through(self, request: WireRequest, send: Callable[[], Awaitable[Any]]) -> Any:
        """As `ampeco.client.AsyncThrough`."""

    def once_in_thread(
        self, step: str, call: Callable[[], Any], *, per: Per, on_uncertain: OnUncertain, returns: Any
    ) -> Any:
        """As `SyncContext.once`."""

    def through_in_thread(self, request: WireRequest, send: Callable[[], Any]) -> Any:
        """As `ampeco.client.Through`."""

    async def settled(self) -> None:
        """Note that the event is settled, and nothing of it will be called again."""


_current: ContextVar[Step | None] = ContextVar("step", default=None)


def current_step() -> Step | None:
    """The step within whose call we are, in this task or thread."""
    step = _current.get()
    return step if step is not None and step.open else None


@contextlib.contextmanager
def within(step: Step) -> Iterator[None]:
    """Mark the code in this block as the call of a step."""
    token = _current.set(step)
    step.open = True
    try:
        yield
    finally:
        step.open = False
        _current.reset(token)


@contextlib.contextmanager
def noted() -> Iterator[None]:
    """Follow a request in the call of a step: once one was carried out, no later error can mean that nothing was."""
    step = current_step()
    if step is None:
        yield
        return
    before, step.happened = step.happened, True
    try:
        yield
    except BaseException as error:
        if is_certain(error):
            step.happened = before
        raise


def _says_nothing_happened(error: BaseException) -> bool:
    kind = type(error)  # not isinstance, which also asks the object: it may be of an author's class
    if issubclass(kind, ApiError):
        try:
            operation = operation_named(error.operation)  # type: ignore[attr-defined]
        except BaseException:  # noqa: BLE001 - a class of the author's that has none, or raises
            operation = None
        if operation is not None and operation.kind == "read":
            return True
    return is_certain(error)


def is_certain(error: BaseException) -> bool:
    """Return whether an error of a request says that the request was not carried out."""
    kind = type(error)
    if issubclass(kind, ServerFault):
        try:
            return error.status == _NOT_NOW and error.retry_after_s is not None  # type: ignore[attr-defined]
        except BaseException:  # noqa: BLE001 - a class of the author's that has none, or raises
            return False
    return issubclass(kind, NOTHING_HAPPENED)
