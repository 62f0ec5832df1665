"""What a handler's annotations say: `Event[A | B]` names the wanted notifications and the type of their payload."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Sequence
from types import UnionType
from typing import Any, get_args

from ampeco.catalogue import KNOWN_TYPES
from ampeco.notifications import Payload
from handlers.context import Context, SyncContext
from handlers.event import TIMER, Event, Raw
from handlers.names import Other


def payload_models(
    function: Callable[..., Any], on: Sequence[str] | None
) -> dict[str, type[Payload] | type[Raw]]:
    """Return the wanted notification types, and the model for each. `on` are the types of an `Event[Raw]`.

    Raises:
        ValueError: the annotations name no types, or contradict `on`.
    """
    models = _annotated_models(function)
    if models == [Raw]:
        if not on:
            raise ValueError('Event[Raw] needs on=["..."], or on=["*"] for everything')
        # `other(...)` stays as it is: it means that the author knows that the type is newer than this release.
        return dict.fromkeys((name if isinstance(name, Other) else str(name) for name in on), Raw)
    typed: dict[str, type[Payload] | type[Raw]] = {}
    for model in models:
        if not (isinstance(model, type) and issubclass(model, Payload)):
            named = getattr(model, "__name__", model)
            raise ValueError(
                f"Event[...] takes classes of ampeco.notifications, or Raw alone; {named} is neither"
            )
        if not model.notification_types:
            raise ValueError(f"{model.__name__} names no notification types")
        if twice := [typed[name] for name in model.notification_types if name in typed]:
            is_timer = TIMER in model.notification_types
            fix = "one class has all timers, as `data: A | B`" if is_timer else "name one of both"
            raise ValueError(f"{twice[0].__name__} and {model.__name__} are payloads of one type: {fix}")
        typed |= dict.fromkeys(model.notification_types, model)
    if on is not None and set(on) != set(typed):
        raise ValueError("on= contradicts the event's annotation; leave it out")
    return typed


def _annotated_models(function: Callable[..., Any]) -> list[Any]:
    parameters = list(inspect.signature(function).parameters)
    if len(parameters) != 2:
        raise ValueError("it takes an event and a context")
    try:
        hints = typing.get_type_hints(function)
    except NameError as error:
        fix = "import or define it in the module itself, not in a function or under `if TYPE_CHECKING`"
        if (known := KNOWN_TYPES.get(error.name or "")) is not None:
            fix = f"the class of its payload is {known.model.rpartition('.')[2]}, without quotes"
        raise ValueError(f"its annotations cannot be read: {error}; {fix}") from error
    annotation = hints.get(parameters[0])
    if typing.get_origin(annotation) is not Event:
        right = "Event[...] of what it handles, such as Event[SessionUpdate]"
        if isinstance(annotation, type) and issubclass(annotation, Payload):
            right = f"Event[{annotation.__name__}]"
        raise ValueError(f"annotate its first parameter as {right}")
    context = hints.get(parameters[1])
    wanted = Context if inspect.iscoroutinefunction(function) else SyncContext
    if context is not None and (typing.get_origin(context) or context) is not wanted:
        raise ValueError(f"its context must be {wanted.__name__}")
    (argument,) = get_args(annotation)
    return (
        list(get_args(argument)) if typing.get_origin(argument) in (UnionType, typing.Union) else [argument]
    )
