"""The decorator `@handler`: its keywords, and the declarations that it refuses."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from contextvars import ContextVar
from typing import Any, TypeAlias, TypedDict, overload

from typing_extensions import TypeVar, Unpack

from ampeco.nearest import did_you_mean
from ampeco.notifications import Payload
from handlers import checks
from handlers.annotation import payload_models
from handlers.code_places import place_of
from handlers.context import Context, S, SyncContext, T
from handlers.contradictions import contradictions
from handlers.declaration import NAME, Backoff, Handler, HandlerError, Isolation, Lifespan, Order, Start
from handlers.event import TIMER, Event, Raw
from handlers.gathering import gathering
from handlers.internal import unknown_internal
from handlers.names import CallName, TypeName
from handlers.shown_value import shown
from handlers.throttle import Throttle
from handlers.timer import timer_type

E = TypeVar("E", bound=Event[Any], default=Event[Any])
Function: TypeAlias = Callable[[E, Context[S, T]], Awaitable[None]] | Callable[[E, SyncContext[S, T]], None]
Where: TypeAlias = Callable[[E], bool]
Key: TypeAlias = Callable[[E], str | int | None]

_collected: ContextVar[list[HandlerError] | None] = ContextVar("collected", default=None)
_declared: ContextVar[list[Handler] | None] = ContextVar("declared", default=None)


def collecting() -> AbstractContextManager[list[HandlerError]]:
    """Collect the declarations that are refused in the block instead of raising at the first one.

    So a check shows the faults of each handler of a module. The name of a refused handler then stands for its
    plain function.
    """
    return gathering(_collected)


def noting() -> AbstractContextManager[list[Handler]]:
    """Note each handler that is declared in the block, even one that no name refers to afterwards."""
    return gathering(_declared)


class Options(TypedDict, total=False):
    """The keywords of `@handler` that do not depend on its event, settings and lifespan."""

    on: Sequence[TypeName] | None
    calls: Sequence[CallName]
    order: Order
    start: Start
    max_attempts: int | None
    timeout_s: float
    concurrency: int
    queue: str
    backoff: Backoff
    not_yet_for_s: float
    give_up_after_s: float
    isolation: Isolation | None
    strict: bool
    dry_run: bool
    urgent: bool
    enabled: bool
    error_text: bool
    throttle: str | Throttle | None
    entity_state: Any


# `where` and `key` have to accept the event that their handler accepts.
@overload
def handler(
    name: str, *, where: Where[E] | None = ..., key: Key[E] | None = ..., **options: Unpack[Options]
) -> Callable[[Function[E, None, None]], Handler]: ...
@overload
def handler(
    name: str,
    *,
    settings: type[S],
    where: Where[E] | None = ...,
    key: Key[E] | None = ...,
    **options: Unpack[Options],
) -> Callable[[Function[E, S, None]], Handler]: ...
@overload
def handler(
    name: str,
    *,
    lifespan: Callable[[], AbstractAsyncContextManager[T]],
    where: Where[E] | None = ...,
    key: Key[E] | None = ...,
    **options: Unpack[Options],
) -> Callable[[Function[E, None, T]], Handler]: ...
@overload
def handler(
    name: str,
    *,
    settings: type[S],
    lifespan: Callable[[S], AbstractAsyncContextManager[T]],
    where: Where[E] | None = ...,
    key: Key[E] | None = ...,
    **options: Unpack[Options],
) -> Callable[[Function[E, S, T]], Handler]: ...
def handler(
    name: str,
    *,
    settings: Any = None,
    lifespan: Lifespan | None = None,
    where: Any = None,
    key: Any = None,
    **options: Unpack[Options],
) -> Callable[[Any], Handler]:
    """Declare a handler.

    Args:
        name: lower case letters, digits, dots and dashes, at most 64; never change it later.
        on: notification types for an `Event[Raw]`; `["*"]` for all. A typed event needs none.
        settings: the plugin's pydantic-settings class; its environment prefix is its own, never `AWR_`.
        lifespan: async context manager around the worker process; gets the settings, yields `ctx.state`.
        calls: action operations it may call, by name or by method and path, e.g. `["charge-point.reset",
            "POST /public-api/actions/session/v9.0/{session}/move"]`. Reads are free.
        order: `entity` keeps events of one entity in order, one at a time; `none` does not. `latest` keeps only
            the newest of each type and entity, where several wait.
        start: where a handler that is new to a log begins.
        max_attempts: attempts that count before the event is given up; None for no such limit.
        timeout_s: seconds per attempt.
        concurrency: events at the same time, per worker process.
        queue: name of the RQ queue whose workers run it.
        where: asked before the handler is; an event it is False for is skipped. It must be quick and plain (no
            `async`), and what it raises counts as an attempt that failed. Timers are not asked about.
        key: tells apart what one entity holds, as its EVSEs: a quick plain function of the event that returns text,
            a whole number, or None for the entity itself. Events of one entity with different keys are then apart
            for `order`, `ctx.once(per="entity")`, `throttle`, timers and `entity_state`. Give it a name that stays:
            another function loses what was remembered by the old keys.
        throttle: the most events done for each key in a time, as `1/h`. `Throttle("1/h", over="wait")` waits for
            a free slot where the plain text skips. Only attempts that end as done count.
        backoff: pauses between attempts.
        not_yet_for_s: seconds since the first attempt after which `Retry(counts=False)` is given up.
        give_up_after_s: seconds since the first attempt that failed. One that fails after them is the last.
        isolation: `process` runs each attempt alone in a process of its own, which is killed when over its time.
            It may crash or run out of memory without harm to anything else.
        strict: refuse a payload of which any field does not fit: its delivery is dead (`payload-mismatch`). Else
            only reading a required field that does not fit ends that way.
        dry_run: it looks at `ctx.dry_run` before it changes anything by itself, so that dry runs may call it.
        urgent: all its calls to AMPECO draw on the share of the rate budget that is kept for actions.
        enabled: False leaves the handler out, as if it were not installed: for one that is off until its module
            finds that it is configured.
        error_text: the text of its exceptions holds nothing personal and no secret: it may stand in log lines and
            be kept with the attempt. Else only the class and the place in the code do.
        entity_state: type of `ctx.entity_state`, a small document that is kept for each entity: a pydantic model, or
            another type that pydantic can write as JSON, such as `dict`.

    Raises:
        HandlerError: the declaration contradicts itself.
    """

    if callable(name):
        plain: Callable[[Any], Handler] = _misused(name)
        return plain
    unexpected = [_unexpected(keyword) for keyword in sorted(options.keys() - Options.__annotations__.keys())]
    if unexpected and _collected.get() is None:
        raise TypeError(f"handler({name!r}) got an {unexpected[0]}")
    known: Any = {keyword: value for keyword, value in options.items() if keyword in Options.__annotations__}

    def declare(function: Any) -> Any:
        if not isinstance(name, str) or not NAME.fullmatch(name):
            fault = "a name is lower case letters, digits, dots and dashes, at most 64"
            return _refused(shown(name), [fault, *unexpected], function)
        try:
            made, faults = _made(name, function, settings, lifespan, where, key, known)
        except Exception as error:  # noqa: BLE001 - an argument of which no check knows
            return _refused(repr(name), [*unexpected, " ".join(str(error).split())], function, error)
        if faults or unexpected:
            return _refused(repr(name), [*unexpected, *faults], function)
        if (noted := _declared.get()) is not None:
            noted.append(made)
        return made

    return declare


def _misused(function: Any) -> Any:
    """Refuse `@handler` without a name, which gets the function itself."""
    fix = '@handler needs a name: @handler("acme.mail")'
    if _collected.get() is None:
        raise TypeError(fix)
    return _refused(getattr(function, "__name__", shown(function)), [fix], function)


def _unexpected(keyword: str) -> str:
    known = (*Options.__annotations__, "settings", "lifespan", "where", "key")
    return f"unexpected keyword: {keyword}{did_you_mean(keyword, known)}"


def _refused(name: str, faults: Sequence[str], function: Any, cause: Exception | None = None) -> Any:
    """Raise what is wrong with a declaration, or note it where a check collects all of it."""
    lines = [f"handler {name}: {fault}" for fault in faults]
    error = HandlerError(f"handler {name}: {'; '.join(faults)}", faults=lines, place=place_of(function))
    collected = _collected.get()
    if collected is None:
        raise error from cause
    collected.append(error)
    return function


def _made(
    name: str, function: Any, settings: Any, lifespan: Lifespan | None, where: Any, key: Any, options: Options
) -> tuple[Handler, list[str]]:
    """Return the handler and its faults. A handler with a fault must not be used."""
    chosen: dict[str, Any] = dict(options)
    on, calls = chosen.pop("on", None), chosen.pop("calls", ())
    if isinstance(rate := chosen.get("throttle"), str):
        chosen["throttle"] = Throttle(rate)
    faults = [checks.function(function) or checks.types(on) or unknown_internal(on)]
    models: Mapping[str, type[Payload] | type[Raw]] = {}
    if faults == [None]:
        try:
            models = payload_models(function, on)
        except ValueError as error:
            faults.append(" ".join(str(error).split()))
    faults.append(odd_calls := checks.calls(calls))
    made = Handler(
        name=name,
        function=function,
        models=_own_timers(name, models),
        settings=settings,
        lifespan=lifespan,
        where=where,
        key=key,
        is_async=inspect.iscoroutinefunction(function),
        calls=frozenset() if odd_calls else frozenset(map(str, calls)),
        **chosen,
    )
    return made, [fault for fault in (*faults, *contradictions(made)) if fault]


def _own_timers(name: str, models: Mapping[str, Any]) -> dict[str, Any]:
    """Return the models with the type that the handler's timers have in the log."""
    return {timer_type(name) if each == TIMER else each: model for each, model in models.items()}
