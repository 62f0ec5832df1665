"""Finds the once-only step that a call of a handler is: its name and scope, and whether it may be used."""

from __future__ import annotations

import hashlib
import inspect
from typing import Any, get_args

from ampeco.wire import WireRequest
from eventlog.step_ledger import Scope
from handlers.context import OnUncertain, Per
from handlers.outcomes import StepRefused
from workers.once.serialization import check_returns
from workers.once.step import Step, current_step

MAX_NAME_CHARS = 200


class StepNames:
    """The steps of one attempt, each of which is used once.

    Args:
        key: the handler's key of the event, the scope of steps per entity.
    """

    def __init__(self, event_id: str, key: str | None) -> None:
        self._event_id = event_id
        self._key = key
        self._automatic: set[str] = set()
        self._called: set[tuple[str, str]] = set()  # scope and name of each named step of this run

    def named(self, name: str, call: object, per: Per, on_uncertain: OnUncertain, returns: Any) -> Step:
        """Return a step that a handler named.

        Raises:
            StepRefused: the name cannot be used, or not with these options, or its call is not a function.
        """
        if not issubclass(type(name), str) or not 0 < len(name) <= MAX_NAME_CHARS or not _is_text(name):
            raise StepRefused("step-name", f"the name of a step is text of 1 to {MAX_NAME_CHARS} characters")
        if per not in get_args(Per) or on_uncertain not in get_args(OnUncertain):
            raise StepRefused(
                "step-options", f'step {name!r}: per is "event" or "entity", on_uncertain "dead" or "retry"'
            )
        if not callable(call):
            if inspect.iscoroutine(call):
                call.close()  # it was never begun, so nothing of it runs
            raise StepRefused(
                "step-options",
                f"step {name!r}: its call must be a function that once calls, as lambda: send()",
            )
        check_returns(name, returns)
        if per == "event":
            scope = Scope(self._event_id)
        elif self._key is not None:
            scope = Scope(self._key, lasting=True)
        else:
            raise StepRefused("step-without-key", f'step {name!r} is per="entity", and this event has none')
        if (scope.name, name) in self._called:
            raise StepRefused(
                "step-repeated",
                f"step {name!r} is used a second time in one run, and would get the result of the first; "
                "give each call a name of its own",
            )
        self._called.add((scope.name, name))
        return Step(name, scope, on_uncertain, returns, automatic=False)

    def action(self, request: WireRequest) -> Step | None:
        """Return a step for a request that must not be sent twice; None for any other request.

        Raises:
            StepRefused: an equal request was made before.
        """
        if request.operation.idempotent or current_step() is not None:
            return None
        arguments = repr((request.path, request.query, request.body)).encode()
        name = f"{request.operation.name}#{hashlib.sha256(arguments).hexdigest()[:12]}"
        if name in self._automatic:
            raise StepRefused(
                "step-repeated",
                f"{request.operation.name} is called a second time with equal arguments; "
                "if that is meant, name both calls with ctx.once",
            )
        self._automatic.add(name)
        return Step(name, Scope(self._event_id), "dead", None, automatic=True)

    def free(self, step: Step) -> None:
        """Let a step be used again: its call had no effect."""
        self._automatic.discard(step.name)
        self._called.discard((step.scope.name, step.name))


def _is_text(name: str) -> bool:
    """Return whether a name can be stored: one half of a character cannot."""
    return name.encode("utf-8", "ignore").decode() == name
