"""The contract between this service and a handler: what a handler declares, gets, and may answer.

A handler is a function of an event and a context. Its annotation is its subscription: `Event[A | B]` says which
notifications it gets and what their payload is, so the two cannot disagree. It knows nothing of HTTP, Redis,
retries, order or signatures, and this module knows nothing of how a delivery comes about.
"""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import FrozenInstanceError, dataclass, field
from datetime import datetime
from types import UnionType
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeAlias, overload

import structlog
from pydantic_settings import BaseSettings
from typing_extensions import TypeVar

from ampeco.client import AsyncClient, Client
from ampeco.models.frozen import FreeObject, freeze
from ampeco.models.payload import keep_body
from ampeco.notifications import Payload
from ampeco.operations import OPERATIONS, check_address

Order = Literal["entity", "none", "latest"]
Start = Literal["now", "oldest"]
Per = Literal["event", "entity"]
OnUncertain = Literal["dead", "retry"]
Isolation = Literal["process"]
EVERYTHING = "*"
ISOLATED = ".isolated"  # ends the name of a queue of isolated handlers

NOT_YET_FOR_S = 7 * 86_400.0
_LONGEST_WAIT_S = 30 * 86_400.0

_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,63}")


class HandlerError(Exception):
    """A handler that cannot be used as it is declared; the message names it and says what to change."""

    reason = "handler-faulty"


class Raw:
    """The payload of a notification as plain data, for types without a model and for handlers of everything."""

    __slots__ = ("_data",)
    _data: Mapping[str, Any]

    def __init__(self, data: Mapping[str, Any]) -> None:
        object.__setattr__(self, "_data", data)

    @property
    def data(self) -> Mapping[str, Any]:
        """The JSON object AMPECO sent (an outer `data` wrapper removed), read-only: a `dict` that refuses changes."""
        found = self._data
        if not isinstance(found, FreeObject):  # done when first asked for: not every handler looks at it
            found = freeze(dict(found))
            object.__setattr__(self, "_data", found)
        return found

    def __setattr__(self, name: str, value: object) -> None:
        raise FrozenInstanceError(f"cannot assign to field {name!r}")

    def __delattr__(self, name: str) -> None:
        raise FrozenInstanceError(f"cannot delete field {name!r}")

    def __eq__(self, other: object) -> bool:
        return self.data == other.data if isinstance(other, Raw) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        return Raw, (self.data,)

    def __repr__(self) -> str:
        return f"Raw(data={self.data!r})"


P = TypeVar("P", bound=Payload | Raw, covariant=True)
C = TypeVar("C", bound=AsyncClient | Client)
S = TypeVar("S", default=None)
T = TypeVar("T", default=None)
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long a handler waits between attempts: `base_s`, then twice as long each time, at most `cap_s`.

    Args:
        jitter: wait anything up to that instead, so that what failed together does not come back together.
    """

    base_s: float = 2.0
    cap_s: float = 900.0
    jitter: bool = True


class _Dated:
    """Lets the two times of an event be worked out only when somebody asks: most handlers never do."""

    __slots__ = ("_find_time",)

    if not TYPE_CHECKING:  # a type checker would take every name for an existing one

        def __getattr__(self, name: str) -> Any:  # called only for what is not there (yet)
            if name not in ("received_at", "occurred_at"):
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            found = self._find_time(name)
            object.__setattr__(self, name, found)
            return found


@dataclass(frozen=True, slots=True)
class Event(_Dated, Generic[P]):
    """An accepted notification, as one handler sees it.

    Attributes:
        id: `<lane>-<ms>-<seq>`; the same for every handler and every attempt.
        type: AMPECO's notification type, e.g. `SessionUpdateNotification`.
        key: the entity it is about, e.g. `session:4711`, or None.
        received_at: when it was accepted (UTC).
        occurred_at: the payload's own time (UTC), or None where it carries none.
        payload: typed as declared.
        raw: the bytes that AMPECO signed.
        misfits: fields of the payload that do not fit their type, by dotted wire name, e.g. `session.energy`. An
            optional one is None; reading a required one raises `FieldMisfit`.
        maybe_repeat: an equal body was accepted before, and this may be the same event or another one.
        replayed: delivered again on somebody's request.
        reconstructed: made from the state of a resource instead of received.
    """

    id: str
    type: str
    key: str | None
    received_at: datetime
    occurred_at: datetime | None
    payload: P
    raw: bytes
    maybe_repeat: bool = False
    replayed: bool = False
    reconstructed: bool = False
    misfits: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if isinstance(self.payload, Payload):
            keep_body(self.payload, self.raw)


def event_dated_later(
    find_time: Callable[[str], datetime | None],
    *,
    id: str,
    type: str,
    key: str | None,
    payload: Payload | Raw,
    raw: bytes,
    maybe_repeat: bool,
    replayed: bool,
    misfits: tuple[str, ...] = (),
) -> Event[Any]:
    """An event like any other, for the worker: `find_time` is asked for its two times by name, and when needed."""
    event: Event[Any] = object.__new__(Event)
    put = object.__setattr__
    put(event, "_find_time", find_time)
    put(event, "id", id)
    put(event, "type", type)
    put(event, "key", key)
    put(event, "payload", payload)
    put(event, "raw", raw)
    put(event, "maybe_repeat", maybe_repeat)
    put(event, "replayed", replayed)
    put(event, "reconstructed", False)
    put(event, "misfits", misfits)
    if not isinstance(payload, Raw):
        keep_body(payload, raw)
    return event


class Skip(Exception):
    """This event is not for me; nothing went wrong and nothing is left to do.

    Args:
        reason: a few words for whoever asks what became of the event. No personal data: it is logged.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = str(reason)


class Retry(Exception):
    """Not now; try again later.

    Args:
        reason: a few words, no personal data.
        after_s: seconds to wait; None leaves it to the retry policy.
        counts: False when nothing failed and it is only too early: no attempt is spent.
    """

    def __init__(self, reason: str, *, after_s: float | None = None, counts: bool = True) -> None:
        super().__init__(reason)
        if after_s is not None and not 0 <= after_s <= _LONGEST_WAIT_S:
            raise ValueError(f"after_s must be between 0 and {_LONGEST_WAIT_S:.0f} seconds")
        self.reason = str(reason)
        self.after_s = after_s
        self.counts = counts


class GiveUp(Exception):
    """It will never work; keep the event as dead for a human.

    Args:
        reason: a few words, no personal data.

    Attributes:
        slug: the reason in one stable word.
    """

    slug = "gave-up"

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = str(reason)


class CallNotDeclared(GiveUp):
    """The handler called an action that its declaration does not name in `calls`."""

    slug = "call-not-declared"


class StepUncertain(GiveUp):
    """A once-only step was called, and nobody knows whether it did what it says."""

    slug = "step-uncertain"


class StepRefused(GiveUp):
    """A once-only step that cannot be used as the handler uses it.

    Args:
        slug: `step-name`, `step-repeated`, `step-without-key` or `step-result`.
    """

    def __init__(self, slug: str, reason: str) -> None:
        super().__init__(reason)
        self.slug = slug


class Once(Protocol):
    """Who sees to it that a step runs only once; gives back its result."""

    def __call__(
        self,
        step: str,
        call: Callable[[], Any],
        *,
        per: Per,
        on_uncertain: OnUncertain,
        returns: Any,
    ) -> Any: ...


async def _awaited(step: str, call: Callable[[], Any], **_: object) -> Any:
    """A step outside of a worker, where nothing is recorded."""
    result = call()
    return await result if inspect.isawaitable(result) else result


def _called(step: str, call: Callable[[], Any], **_: object) -> Any:
    """The same in a `def` handler."""
    return call()


class _ContextBase(Generic[C, S, T]):
    """What both contexts share. Made anew for every attempt; costly parts are built when first asked for."""

    _client: C | None = None
    _log: structlog.typing.FilteringBoundLogger | None = None
    _once_outside: Once  # of a worker

    def __init__(
        self,
        *,
        ampeco: Callable[[], C],
        settings: S,
        state: T,
        attempt: int,
        max_attempts: int,
        log: Callable[[], structlog.typing.FilteringBoundLogger],
        once: Once | None = None,
    ) -> None:
        self.settings = settings
        self.state = state
        self.attempt = attempt
        self.max_attempts = max_attempts
        self._make_client = ampeco
        self._make_log = log
        self._once = once or self._once_outside

    @property
    def ampeco(self) -> C:
        """AMPECO's API; actions are limited to those the handler declares in `calls`."""
        if self._client is None:
            self._client = self._make_client()
        return self._client

    @property
    def log(self) -> structlog.typing.FilteringBoundLogger:
        """A logger that already knows the event, the handler and the attempt."""
        if self._log is None:
            self._log = self._make_log()
        return self._log


class Context(_ContextBase[AsyncClient, S, T]):
    """What an `async def` handler may use besides the event.

    Attributes:
        settings: the plugin's own settings object, or None.
        state: what the plugin's lifespan yielded, or None.
        attempt: 1 for the first attempt.
        max_attempts: attempts before the event is given up.
    """

    _once_outside = staticmethod(_awaited)

    @overload
    async def once(
        self,
        step: str,
        call: Callable[[], Awaitable[R]],
        *,
        per: Per = ...,
        on_uncertain: OnUncertain = ...,
        returns: type[R] | None = ...,
    ) -> R: ...
    @overload
    async def once(
        self,
        step: str,
        call: Callable[[], R],
        *,
        per: Per = ...,
        on_uncertain: OnUncertain = ...,
        returns: type[R] | None = ...,
    ) -> R: ...
    async def once(
        self,
        step: str,
        call: Callable[[], Any],
        *,
        per: Per = "event",
        on_uncertain: OnUncertain = "dead",
        returns: Any = None,
    ) -> Any:
        """Call something that must not happen twice, or get what it returned when it was called before.

        Args:
            step: names it among the steps of its event or entity, also across deploys. No personal data.
            call: does it; takes nothing, may be async. What it returns has to be JSON, or fit `returns`.
            per: `event` guards against a second attempt; `entity` also against another event about the same.
            on_uncertain: what becomes of the event when it was called and nobody knows how it ended: `dead`, for
                a human, or `retry`, which calls it again.
            returns: type of the result where it is more than plain JSON, e.g. a pydantic model.

        Returns:
            What `call` returned, as its record gives it back, the first time too.

        Raises:
            StepUncertain: it was called, and may or may not have happened.
            StepRefused: no name, no entity, or a result that cannot be recorded.
            Retry: somebody else is at it.
            Exception: whatever `call` raised, when that means that nothing happened.
        """
        return await self._once(step, call, per=per, on_uncertain=on_uncertain, returns=returns)


class SyncContext(_ContextBase[Client, S, T]):
    """The same for a plain `def` handler, which runs in a thread."""

    _once_outside = staticmethod(_called)

    def once(
        self,
        step: str,
        call: Callable[[], R],
        *,
        per: Per = "event",
        on_uncertain: OnUncertain = "dead",
        returns: type[R] | None = None,
    ) -> R:
        """As `Context.once`, for a `def` handler; `call` runs in the handler's own thread."""
        result: R = self._once(step, call, per=per, on_uncertain=on_uncertain, returns=returns)
        return result


Function: TypeAlias = (
    Callable[[Event[Any], Context[S, T]], Awaitable[None]] | Callable[[Event[Any], SyncContext[S, T]], None]
)
Lifespan: TypeAlias = Callable[..., AbstractAsyncContextManager[Any]]


@dataclass(frozen=True, eq=False)
class Handler:
    """A declared handler. Calling it calls the function, so that plugins can be tested directly.

    Attributes:
        name: its durable identity: position, retries and dead letters hang on it.
        models: notification type -> model of its payload; a handler of everything has `*` -> Raw.
        calls: names of the action operations it may call, or their methods and paths.
        concurrency: events it works on at the same time, per worker process.
        where: whether it wants an event of its types; None for all of them.
        not_yet_for_s: how long it may say `Retry(counts=False)` of an event.
        isolation: `process` to run each attempt alone in a process that may die of it.
        strict: whether any field that does not fit makes a delivery dead.
    """

    name: str
    function: Callable[..., Any]
    models: Mapping[str, type[Payload] | type[Raw]]
    calls: frozenset[str] = frozenset()
    order: Order = "entity"
    start: Start = "now"
    max_attempts: int = 8
    timeout_s: float = 30.0
    concurrency: int = 32
    queue: str = "default"
    settings: type[BaseSettings] | None = None
    lifespan: Lifespan | None = None
    is_async: bool = field(default=True)
    where: Callable[[Event[Any]], bool] | None = None
    backoff: Backoff = Backoff()
    not_yet_for_s: float = NOT_YET_FOR_S
    isolation: Isolation | None = None
    strict: bool = False

    @property
    def types(self) -> tuple[str, ...]:
        return tuple(sorted(self.models))

    @property
    def served_by(self) -> str:
        """The RQ queue that wakes its workers; isolated handlers have one of their own beside `queue`."""
        return self.queue if self.isolation is None else self.queue + ISOLATED

    def model_of(self, notification_type: str) -> type[Payload] | type[Raw] | None:
        """The declared payload of a type; None when the handler does not want it."""
        return self.models.get(notification_type) or self.models.get(EVERYTHING)

    def __call__(self, event: Event[Any], ctx: Any) -> Any:
        return self.function(event, ctx)


_BACKOFF = Backoff()


@overload
def handler(
    name: str,
    *,
    on: Sequence[str] | None = ...,
    calls: Sequence[str] = ...,
    order: Order = ...,
    start: Start = ...,
    max_attempts: int = ...,
    timeout_s: float = ...,
    concurrency: int = ...,
    queue: str = ...,
    where: Callable[[Event[Any]], bool] | None = ...,
    backoff: Backoff = ...,
    not_yet_for_s: float = ...,
    isolation: Isolation | None = ...,
    strict: bool = ...,
) -> Callable[[Function[None, None]], Handler]: ...
@overload
def handler(
    name: str,
    *,
    settings: type[S],
    on: Sequence[str] | None = ...,
    calls: Sequence[str] = ...,
    order: Order = ...,
    start: Start = ...,
    max_attempts: int = ...,
    timeout_s: float = ...,
    concurrency: int = ...,
    queue: str = ...,
    where: Callable[[Event[Any]], bool] | None = ...,
    backoff: Backoff = ...,
    not_yet_for_s: float = ...,
    isolation: Isolation | None = ...,
    strict: bool = ...,
) -> Callable[[Function[S, None]], Handler]: ...
@overload
def handler(
    name: str,
    *,
    lifespan: Callable[[], AbstractAsyncContextManager[T]],
    on: Sequence[str] | None = ...,
    calls: Sequence[str] = ...,
    order: Order = ...,
    start: Start = ...,
    max_attempts: int = ...,
    timeout_s: float = ...,
    concurrency: int = ...,
    queue: str = ...,
    where: Callable[[Event[Any]], bool] | None = ...,
    backoff: Backoff = ...,
    not_yet_for_s: float = ...,
    isolation: Isolation | None = ...,
    strict: bool = ...,
) -> Callable[[Function[None, T]], Handler]: ...
@overload
def handler(
    name: str,
    *,
    settings: type[S],
    lifespan: Callable[[S], AbstractAsyncContextManager[T]],
    on: Sequence[str] | None = ...,
    calls: Sequence[str] = ...,
    order: Order = ...,
    start: Start = ...,
    max_attempts: int = ...,
    timeout_s: float = ...,
    concurrency: int = ...,
    queue: str = ...,
    where: Callable[[Event[Any]], bool] | None = ...,
    backoff: Backoff = ...,
    not_yet_for_s: float = ...,
    isolation: Isolation | None = ...,
    strict: bool = ...,
) -> Callable[[Function[S, T]], Handler]: ...
def handler(
    name: str,
    *,
    on: Sequence[str] | None = None,
    settings: Any = None,
    lifespan: Lifespan | None = None,
    calls: Sequence[str] = (),
    order: Order = "entity",
    start: Start = "now",
    max_attempts: int = 8,
    timeout_s: float = 30.0,
    concurrency: int = 32,
    queue: str = "default",
    where: Callable[[Event[Any]], bool] | None = None,
    backoff: Backoff = _BACKOFF,
    not_yet_for_s: float = NOT_YET_FOR_S,
    isolation: Isolation | None = None,
    strict: bool = False,
) -> Callable[[Any], Handler]:
    """Declare a handler.

    Args:
        name: lower case letters, digits, dots and dashes, at most 64; never change it later.
        on: notification types for an `Event[Raw]`; `["*"]` for all. A typed event needs none.
        settings: the plugin's pydantic-settings class; its environment prefix is its own, never `AWR_`.
        lifespan: async context manager around the worker process; gets the settings, yields `ctx.state`.
        calls: action operations it may call, by name or by method and path, e.g. `["charge-point.reset",
            "POST /public-api/actions/session/v9.0/{session}/move"]`. Reads are free.
        order: `entity` keeps events of one entity in order, one at a time; `none` does not; `latest` keeps only
            the newest of each type and entity, where several wait.
        start: where a handler that is new to a log begins.
        max_attempts: attempts that count before the event is given up.
        timeout_s: seconds per attempt.
        concurrency: events at the same time, per worker process.
        queue: name of the RQ queue whose workers run it.
        where: asked before the handler is; an event it is False for is skipped. It must be quick and plain (no
            `async`), and what it raises counts as an attempt that failed.
        backoff: pauses between attempts.
        not_yet_for_s: seconds since the first attempt after which `Retry(counts=False)` is given up.
        isolation: `process` runs each attempt alone in a process beside the worker, which is killed when over its
            time, and may crash or run out of memory without harm to anything else.
        strict: refuse a payload of which any field does not fit: its delivery is dead (`payload-mismatch`). Else
            only reading a required field that does not fit ends that way.

    Raises:
        HandlerError: the declaration contradicts itself.
    """

    def declare(function: Any) -> Handler:
        if not _NAME.fullmatch(name):
            raise HandlerError(
                f"handler {name!r}: a name is lower case letters, digits, dots and dashes, at most 64"
            )
        if order not in typing.get_args(Order):
            raise HandlerError(f"handler {name!r}: order must be one of {', '.join(typing.get_args(Order))}")
        if start not in typing.get_args(Start):
            raise HandlerError(f"handler {name!r}: start must be one of {', '.join(typing.get_args(Start))}")
        if max_attempts < 1 or timeout_s <= 0 or concurrency < 1:
            raise HandlerError(f"handler {name!r}: max_attempts, timeout_s and concurrency must be positive")
        if where is not None and (not callable(where) or inspect.iscoroutinefunction(where)):
            raise HandlerError(f"handler {name!r}: where must be a plain function of the event")
        if not isinstance(backoff, Backoff) or not 0 < backoff.base_s <= backoff.cap_s <= _LONGEST_WAIT_S:
            raise HandlerError(
                f"handler {name!r}: backoff must be a Backoff with 0 < base_s <= cap_s <= {_LONGEST_WAIT_S:.0f}"
            )
        if not_yet_for_s <= 0:
            raise HandlerError(f"handler {name!r}: not_yet_for_s must be positive")
        if isolation not in (None, *typing.get_args(Isolation)):
            raise HandlerError(f"handler {name!r}: isolation must be None or 'process'")
        if not isinstance(strict, bool):
            raise HandlerError(f"handler {name!r}: strict must be True or False")
        if queue.endswith(ISOLATED):
            raise HandlerError(
                f"handler {name!r}: queue must not end with {ISOLATED!r}; use isolation='process'"
            )
        for address in [entry for entry in calls if " " in entry]:
            try:
                check_address(address)
            except ValueError as error:
                raise HandlerError(f"handler {name!r}: calls has {address!r}: {error}") from error
        if unknown := sorted({entry for entry in calls if " " not in entry} - _callable_operations()):
            raise HandlerError(f"handler {name!r}: calls names unknown operations: {', '.join(unknown)}")
        if settings is not None and str(settings.model_config.get("env_prefix", "")).upper().startswith(
            "AWR_"
        ):
            raise HandlerError(f"handler {name!r}: its settings need a prefix of their own, not AWR_")
        return Handler(
            name=name,
            function=function,
            models=_subscription(name, function, on),
            calls=frozenset(calls),
            order=order,
            start=start,
            max_attempts=max_attempts,
            timeout_s=timeout_s,
            concurrency=concurrency,
            queue=queue,
            settings=settings,
            lifespan=lifespan,
            is_async=inspect.iscoroutinefunction(function),
            where=where,
            backoff=backoff,
            not_yet_for_s=not_yet_for_s,
            isolation=isolation,
            strict=strict,
        )

    return declare


def _callable_operations() -> set[str]:
    return {operation.name for operation in OPERATIONS.values() if operation.kind != "read"}


def _subscription(
    name: str, function: Callable[..., Any], on: Sequence[str] | None
) -> dict[str, type[Payload] | type[Raw]]:
    """Read the event's annotation: which types, and which model for each."""
    models = _annotated_models(name, function)
    if models == [Raw]:
        if not on:
            raise HandlerError(f'handler {name!r}: Event[Raw] needs on=["..."], or on=["*"] for everything')
        return dict.fromkeys(on, Raw)
    typed: dict[str, type[Payload] | type[Raw]] = {}
    for model in models:
        if not (isinstance(model, type) and issubclass(model, Payload)):
            raise HandlerError(f"handler {name!r}: Event[...] takes payload models, or Raw alone")
        if not model.notification_types:
            raise HandlerError(f"handler {name!r}: {model.__name__} names no notification types")
        for notification_type in model.notification_types:
            typed[notification_type] = model
    if on is not None and set(on) != set(typed):
        raise HandlerError(f"handler {name!r}: on= contradicts the event's annotation; leave it out")
    return typed


def _annotated_models(name: str, function: Callable[..., Any]) -> list[Any]:
    parameters = list(inspect.signature(function).parameters)
    if len(parameters) != 2:
        raise HandlerError(f"handler {name!r}: it takes an event and a context")
    try:
        hints = typing.get_type_hints(function)
    except NameError as error:
        raise HandlerError(f"handler {name!r}: its annotations cannot be read: {error}") from error
    annotation = hints.get(parameters[0])
    if typing.get_origin(annotation) is not Event:
        raise HandlerError(f"handler {name!r}: annotate its first parameter as Event[...]")
    context = hints.get(parameters[1])
    wanted = Context if inspect.iscoroutinefunction(function) else SyncContext
    if context is not None and (typing.get_origin(context) or context) is not wanted:
        raise HandlerError(f"handler {name!r}: its context must be {wanted.__name__}")
    (argument,) = typing.get_args(annotation)
    if typing.get_origin(argument) in (UnionType, typing.Union):
        return list(typing.get_args(argument))
    return [argument]
