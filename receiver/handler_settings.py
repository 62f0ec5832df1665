"""Settings about handlers: which of them run, in which queues, and within which limits."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from ampeco.names import fault_of_queue
from eventlog.ids import HANDLER_NAME
from receiver.setting_types import Names, Section


def _queues(values: tuple[str, ...]) -> tuple[str, ...]:
    named: set[str] = set()
    for number, entry in enumerate(values, 1):
        handler, equals, queue = entry.partition("=")
        if not equals or not HANDLER_NAME.fullmatch(handler):
            raise ValueError(f"entry {number} is not HANDLER=QUEUE")
        if fault := fault_of_queue(queue):
            raise ValueError(f"the queue of entry {number} {fault}")
        if queue.endswith(".isolated"):
            raise ValueError(f"the queue of entry {number} ends with .isolated; name the queue before it")
        if handler in named:
            raise ValueError(f"entry {number} names {handler} again")
        named.add(handler)
    return values


class HandlerSettings(Section):
    """What workers may run, and how much of it."""

    handlers_allow: Names | None = Field(None, description="the only handlers that may run (unset: all)")
    queue_of: Annotated[Names, AfterValidator(_queues)] | None = Field(
        None,
        description="`handler=queue,...`: queues of handlers in this deployment, where not the declared ones; "
        "the same for all workers",
    )
    plugins_strict: bool = Field(False, description="whether a faulty plugin prevents the start")
    catch_up_per_s: float | None = Field(
        None,
        gt=0,
        le=1_000_000,
        description="most deliveries per second, for each handler, of events older than 60 s (unset: no bound)",
    )
    api_calls_per_s: float | None = Field(
        None,
        gt=0,
        le=10_000,
        description="most calls to AMPECO per second, of all processes together (unset: what AMPECO's answers say)",
    )
    loop_depth: int = Field(
        5,
        ge=1,
        le=100,
        description="most actions on one entity within ten minutes that answer the echo of an action of ours",
    )
    isolated_memory_mb: int = Field(
        256, ge=16, le=1 << 20, description="memory limit of an isolated handler's attempt, in MiB"
    )

    @property
    def queues(self) -> dict[str, str]:
        """The queues of `AWR_QUEUE_OF`, by the name of the handler."""
        return dict(entry.split("=", 1) for entry in self.queue_of or ())
