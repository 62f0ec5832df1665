"""The context of a handler: AMPECO's API, its settings and state, a logger, and once-only steps."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Generic, Literal, TypeAlias, overload

import structlog
from typing_extensions import TypeVar

from ampeco.client import AsyncClient, Client
from handlers.entity_notes import EntityNotes

Per = Literal["event", "entity"]
OnUncertain = Literal["dead", "retry"]

C = TypeVar("C", bound=AsyncClient | Client)
S = TypeVar("S", default=None)
T = TypeVar("T", default=None)
D = TypeVar("D", default=Any)
R = TypeVar("R")

NOT_GIVEN: Any = type("NotGiven", (), {"__repr__": lambda self: "NOT_GIVEN"})()

Once: TypeAlias = Callable[..., Any]
"""Runs a step only once, and returns its result; called as `Context.once` is."""

StepEnd = Literal["called", "remembered", "planned"]
"""The source of a step's result: its call, its record, or, in a dry run, `dry=` instead of a call."""


async def _awaited(step: str, call: Callable[[], Any], **_: object) -> Any:
    """A step outside of a worker, where nothing is recorded."""
    result = call()
    return await result if inspect.isawaitable(result) else result


def _called(step: str, call: Callable[[], Any], **_: object) -> Any:
    """The same in a `def` handler."""
    return call()


class _ContextBase(Generic[C, S, T, D]):
    """What both contexts share. Made for every attempt; costly parts are built at their first use.

    Args:
        ampeco: makes the client; called when the handler uses it. In a test: `FakeAmpeco().client`.
        settings: the plugin's own settings object, or None.
        state: what the plugin's lifespan yields, or None.
        attempt: number of the attempt, 1 for the first.
        max_attempts: attempts before the event is given up.
        log: makes the logger.
        once: carries out once-only steps; without it each step is called at once and nothing is recorded.
        steps: how each step of `once` that returned came to its result, by its name.
        entity: notes timers and the state; without it they are forgotten with the context.
    """

    _client: C | None = None
    _log: structlog.typing.FilteringBoundLogger | None = None
    _once_outside: Once  # of a worker
    _called: frozenset[str] = frozenset()  # steps, outside of a worker

    def __init__(
        self,
        *,
        ampeco: Callable[[], C],
        settings: S,
        state: T,
        attempt: int = 1,
        max_attempts: int | None = None,
        log: Callable[[], structlog.typing.FilteringBoundLogger] = structlog.get_logger,
        once: Once | None = None,
        steps: Callable[[], Mapping[str, StepEnd]] | None = None,
        dry_run: bool = False,
        entity: EntityNotes | None = None,
    ) -> None:
        self.settings = settings
        self.state = state
        self.attempt = attempt
        self.max_attempts = max_attempts
        self.dry_run = dry_run
        self._make_client = ampeco
        self._make_log = log
        self._once = once or self._once_outside
        self._steps = steps
        self._entity = entity or EntityNotes("", timers={}, model=Any)

    def remembered(self, step: str) -> bool:
        """Return whether a step of this attempt gave its recorded result, so that its call was not made again.

        Args:
            step: a name that `once` returned for in this attempt.

        Raises:
            KeyError: there was none of that name.
        """
        ends = dict.fromkeys(self._called, "called") if self._steps is None else self._steps()
        if step not in ends:
            raise KeyError(f"no step {step!r} has returned in this attempt")
        return ends[step] == "remembered"

    @property
    def entity_state(self) -> D | None:
        """What the handler has kept of the entity: of the type that `entity_state=` declares, or None.

        Assign another document, or change this one. It is kept when the event is settled as done or skipped, and
        forgotten at any other end. It has at most 4 KiB, and lives for 30 days after its last change.
        """
        state: D | None = self._entity.read()
        return state

    @entity_state.setter
    def entity_state(self, state: D | None) -> None:
        self._entity.write(state)

    def later(self, name: str, delay_s: float, data: Any = None) -> None:
        """Call this handler again for this entity after a delay; `event.payload` is a `Timer` then.

        The timer is set when the event is settled as done or skipped, and not at any other end. One of the same name
        is replaced. Timers fall due to the second, never early.

        Args:
            name: tells the timers of the entity apart: 1 to 100 printable characters.
            delay_s: seconds from now, at most 30 days.
            data: JSON or a pydantic model, at most 1 KiB, for `event.payload.data`. No personal data.

        Raises:
            TimerRefused: the handler's event is not annotated with `Timer`, the event has no entity, 16 timers are
                pending for it, or an argument is out of bounds.
        """
        self._entity.later(name, delay_s, data)

    def cancel_later(self, name: str) -> bool:
        """Cancel a timer of this entity when the event is settled as done or skipped, even if it has fallen due.

        Returns:
            False when no timer of this name is pending.
        """
        return self._entity.cancel(name)

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


class Context(_ContextBase[AsyncClient, S, T, D]):
    """What an `async def` handler may use in addition to the event.

    Attributes:
        settings: the plugin's own settings object, or None.
        state: what the plugin's lifespan yielded, or None.
        attempt: 1 for the first attempt.
        max_attempts: attempts before the event is given up; None where only its age ends it.
        dry_run: nothing may be changed by this run. `ampeco` and `once` see to that for what goes through them; a
            handler that does more by itself looks at this, and declares `dry_run=True`.
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
        dry: R = ...,
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
        dry: R = ...,
    ) -> R: ...
    async def once(
        self,
        step: str,
        call: Callable[[], Any],
        *,
        per: Per = "event",
        on_uncertain: OnUncertain = "dead",
        returns: Any = None,
        dry: Any = NOT_GIVEN,
    ) -> Any:
        """Call something that must not happen twice, or get what it returned when it was called before.

        Args:
            step: names it among the steps of its event or entity, also across deploys. No personal data.
            call: does it; takes nothing, may be async. What it returns has to be JSON, or fit `returns`.
            per: `event` guards against a second attempt; `entity` also against another event about the same.
            on_uncertain: what happens to the event when the outcome of the call is unknown: `dead`, for
                a human, or `retry`, which calls it again.
            returns: type of the result where it is more than plain JSON, e.g. a pydantic model.
            dry: the result in a dry run where none is recorded; without it such a run ends there.

        Returns:
            What `call` returned, as its record gives it back, the first time too. `remembered` says which it was.

        Raises:
            StepUncertain: it was called, and may or may not have happened.
            StepRefused: no name, no entity, or a result that cannot be recorded.
            Retry: another attempt is carrying out the step.
            Exception: what `call` raised, when that means that nothing happened.
        """
        how = {"dry": dry} if self.dry_run else {}
        result = await self._once(step, call, per=per, on_uncertain=on_uncertain, returns=returns, **how)
        if self._steps is None:
            self._called |= {step}
        return result


class SyncContext(_ContextBase[Client, S, T, D]):
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
        dry: R = NOT_GIVEN,
    ) -> R:
        """As `Context.once`, for a `def` handler; `call` runs in the handler's own thread."""
        how = {"dry": dry} if self.dry_run else {}
        result: R = self._once(step, call, per=per, on_uncertain=on_uncertain, returns=returns, **how)
        if self._steps is None:
            self._called |= {step}
        return result
