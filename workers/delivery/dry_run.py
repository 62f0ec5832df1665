"""A dry run of one attempt: the actions and once-only steps of its handler are noted, and not carried out.

It stops what goes through `ctx.ampeco` and `ctx.once`. It cannot stop what a handler does by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, cast

from ampeco.wire import WireRequest
from eventlog.step_ledger import Scope, Standing, StepLedger
from handlers.context import NOT_GIVEN
from handlers.outcomes import StepUncertain
from workers.delivery.outcomes import DryRunEnded
from workers.once.serialization import unpack
from workers.once.step import Step
from workers.once.steps import Recorded, Steps

Lookup = Callable[[Scope, str], Awaitable[Standing | None]]
"""Looks up a step in the ledger, and changes nothing."""


class DryAction(NamedTuple):
    """A request to AMPECO that was not sent: name of the operation, path, and JSON body (empty without one)."""

    operation: str
    path: str
    body: bytes


async def nothing_recorded(scope: Scope, step: str) -> Standing | None:
    """Find nothing, as for an event that is in no log."""
    return None


class DrySteps(Steps):
    """Replaces the once-only steps of an attempt, and writes nothing.

    A recorded step returns its recorded result. The result of another step is not known: the run goes on with the
    value of `dry=`, or ends there. Reads of AMPECO are made.

    Attributes:
        actions, steps: the noted requests, and the names of the noted once-only steps, in order.
    """

    def __init__(self, lookup: Lookup, event_id: str, key: str | None) -> None:
        # It begins no step, so it has no use for a ledger.
        super().__init__(cast("StepLedger", None), event_id, key, asyncio.get_running_loop())
        self._lookup = lookup
        self.actions: list[DryAction] = []
        self.steps: list[str] = []

    async def once(
        self,
        step: str,
        call: Callable[[], Any],
        *,
        per: Any,
        on_uncertain: Any,
        returns: Any,
        dry: Any = NOT_GIVEN,
    ) -> Any:
        made = self._names.named(step, call, per, on_uncertain, returns)
        if (known := await self._known(made)) is not None:
            return self._remember(made, known)
        self.steps.append(step)
        if dry is NOT_GIVEN:
            raise DryRunEnded(step)
        self.ends[step] = "planned"
        return dry

    async def through(self, request: WireRequest, send: Callable[[], Awaitable[Any]]) -> Any:
        step = self._names.action(request)
        if step is not None and (known := await self._known(step)) is not None:
            return known.value
        operation = request.operation
        self.actions.append(DryAction(operation.name, request.path, request.body))
        if operation.answer is not None:
            raise DryRunEnded(operation.name)
        return None

    def once_in_thread(
        self,
        step: str,
        call: Callable[[], Any],
        *,
        per: Any,
        on_uncertain: Any,
        returns: Any,
        dry: Any = NOT_GIVEN,
    ) -> Any:
        return self._wait(self.once(step, call, per=per, on_uncertain=on_uncertain, returns=returns, dry=dry))

    def through_in_thread(self, request: WireRequest, send: Callable[[], Any]) -> Any:
        return self._wait(self.through(request, send))

    async def settled(self) -> None:
        pass

    async def _known(self, step: Step) -> Recorded | None:
        found = await self._lookup(step.scope, step.name)
        if found is None or (found.state == "uncertain" and step.on_uncertain == "retry"):
            return None
        if found.state == "uncertain":
            raise StepUncertain(f"step {step.name!r} was called, and its outcome is unknown")
        return Recorded(unpack(step.name, found.result, found.fault, step.returns))
