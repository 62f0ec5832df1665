"""A run that changes nothing: what a handler would have done is written down instead of done.

Reading from AMPECO goes on as ever. A once-only step is not called, and what it would have returned is unknown: None.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from ampeco.wire import WireRequest


class DryAction(NamedTuple):
    """A request to AMPECO that was not sent.

    Attributes:
        operation: its name, e.g. `charge-point.reset`.
        body: JSON; empty when there is none.
    """

    operation: str
    path: str
    body: bytes


class DryRun:
    """Stands where the once-only steps of an attempt would.

    Attributes:
        actions: what would have been called, in order.
        steps: names of the once-only steps that would have been called, in order.
    """

    def __init__(self) -> None:
        self.actions: list[DryAction] = []
        self.steps: list[str] = []

    async def once(self, step: str, call: Callable[[], Any], **_: Any) -> None:
        """Note the step."""
        self.steps.append(step)

    async def through(self, request: WireRequest, send: Callable[[], Awaitable[Any]]) -> None:
        """Note the request."""
        self.through_in_thread(request, send)

    def once_in_thread(self, step: str, call: Callable[[], Any], **_: Any) -> None:
        """Note the step."""
        self.steps.append(step)

    def through_in_thread(self, request: WireRequest, send: Callable[[], Any]) -> None:
        """Note the request."""
        self.actions.append(DryAction(request.operation.name, request.path, request.body))

    async def settled(self) -> None:
        """Nothing was written, so nothing has to be kept."""
