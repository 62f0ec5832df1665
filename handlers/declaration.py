"""A declared handler: its name, its function, and its options. The decorator `@handler` is in `decorator.py`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from pydantic_settings import BaseSettings

from ampeco.notifications import Payload
from handlers.code_places import place_of
from handlers.event import INTERNAL, Event, Raw, is_timer
from handlers.throttle import Throttle
from handlers.timer import timer_type

Order = Literal["entity", "none", "latest"]
Start = Literal["now", "oldest"]
Isolation = Literal["process"]
Lifespan: TypeAlias = Callable[..., AbstractAsyncContextManager[Any]]

EVERYTHING = "*"
ISOLATED = ".isolated"  # ends the name of a queue of isolated handlers

NOT_YET_FOR_S = 7 * 86_400.0
GIVE_UP_AFTER_S = 86_400.0

NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,63}")
_MOST_KEY_NAME = 200


class HandlerError(Exception):
    """A handler that cannot be used as it is declared; the message names it and says what to change.

    Attributes:
        faults: what is wrong, each as a line that names the handler.
        place: file and line of its function; empty where they are not known.
    """

    reason = "handler-faulty"

    def __init__(self, message: str, *, faults: Sequence[str] = (), place: str = "") -> None:
        super().__init__(message)
        self.faults = tuple(faults) or (message,)
        self.place = place


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long a handler waits between attempts: `base_s`, then twice as long each time, at most `cap_s`.

    Args:
        jitter: wait between half of that and all of it, so that what failed together does not come back together.
    """

    base_s: float = 1.0
    cap_s: float = 1_800.0
    jitter: bool = True


@dataclass(frozen=True, eq=False)
class Handler:
    """A declared handler. Calling it calls the function, so that plugins can be tested directly.

    Attributes:
        name: its durable identity: position, retries and dead letters belong to it.
        models: notification type -> model of its payload; a handler of everything has `*` -> Raw.

    The options are described at `handler` (`decorator.py`).
    """

    name: str
    function: Callable[..., Any]
    models: Mapping[str, type[Payload] | type[Raw]]
    calls: frozenset[str] = frozenset()
    order: Order = "entity"
    start: Start = "now"
    max_attempts: int | None = None
    timeout_s: float = 30.0
    concurrency: int = 32
    queue: str = "default"
    settings: type[BaseSettings] | None = None
    lifespan: Lifespan | None = None
    is_async: bool = field(default=True)
    where: Callable[[Event[Any]], bool] | None = None
    backoff: Backoff = Backoff()
    not_yet_for_s: float = NOT_YET_FOR_S
    give_up_after_s: float = GIVE_UP_AFTER_S
    isolation: Isolation | None = None
    strict: bool = False
    dry_run: bool = False
    urgent: bool = False
    enabled: bool = True
    error_text: bool = False
    key: Callable[[Event[Any]], str | int | None] | None = None
    throttle: Throttle | None = None
    entity_state: Any = None

    @property
    def timers(self) -> type[Payload] | type[Raw] | None:
        """The declared payload of its timers; None when it gets no timers."""
        return self.models.get(timer_type(self.name))

    @property
    def types(self) -> tuple[str, ...]:
        return tuple(sorted(self.models))

    @property
    def place(self) -> str:
        """File and line of its function, as `file:line`; empty where they are not known."""
        return place_of(self.function)

    @property
    def served_by(self) -> str:
        """The RQ queue that wakes its workers; isolated handlers have one of their own."""
        return self.queue if self.isolation is None else self.queue + ISOLATED

    @property
    def key_name(self) -> str | None:
        """The name of the `key=` function, which identifies it in the log. None without `key=`."""
        if self.key is None:
            return None
        kind = type(self.key)
        module = getattr(self.key, "__module__", kind.__module__)
        return f"{module}.{getattr(self.key, '__qualname__', kind.__qualname__)}"[:_MOST_KEY_NAME]

    def model_of(self, notification_type: str) -> type[Payload] | type[Raw] | None:
        """The declared payload of a type; None when the handler does not want it. `*` leaves internal types out."""
        found = self.models.get(notification_type)
        if found is None:
            if not notification_type.startswith(INTERNAL):
                found = self.models.get(EVERYTHING)
            elif is_timer(notification_type):
                found = self.timers  # the log gives a handler no timers but its own; this has an earlier name
        return found

    def __call__(self, event: Event[Any], ctx: Any) -> Any:
        return self.function(event, ctx)
