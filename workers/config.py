"""The settings of a worker process, the same for every kind of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import redis.asyncio

from eventlog.log import EventLog
from eventlog.retention import Keep
from workers.tracing import Tracing


@dataclass(frozen=True)
class WorkerConfig:
    """What a worker process needs to know.

    Attributes:
        queue: the RQ queue whose handlers it runs; isolated handlers run in a process of their own.
        api_token: called from time to time, so that a rotated token takes effect; None when there is none.
        rules_version: of the entity key rules, which belong to the log.
        load: further modules or files with handlers.
        allow: names of the handlers to run; None for all.
        strict: refuse the start when a plugin is faulty.
        may_evict: whether a Redis that may delete events is accepted.
        ledger_days: how long once-only steps are known after their event was settled.
        keep: how much of the log retention keeps.
        isolated_command: starts the process for isolated handlers.
        isolated_environ: the complete environment of that process.
        queue_of: handler -> queue, where it is not the declared one.
        error_text: show the text of all exceptions, as if each handler declared it safe.
        catch_up_per_s: most deliveries per second of old events, for each handler; None for no bound.
        calls_per_s: most calls to AMPECO per second of all processes together; None for what AMPECO's answers say.
        loop_depth: most actions of a chain of actions and their echoes, for one entity, within ten minutes.
        tracing: makes the tracer of a process; called once, in that process. None where traces are off.
        isolated_memory_mb: how much memory an isolated handler may take on top of what its process begins with.
    """

    redis_url: str
    prefix: str
    lanes: int
    queue: str
    tenant_url: str | None
    api_token: Callable[[], str | None]
    rules_version: str
    load: Sequence[str] = ()
    allow: Sequence[str] | None = None
    strict: bool = False
    may_evict: bool = False
    ledger_days: int = 30
    keep: Keep = field(default_factory=Keep)
    isolated_command: Sequence[str] = ()
    isolated_environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    queue_of: Mapping[str, str] = field(default_factory=dict)
    error_text: bool = False
    catch_up_per_s: float | None = None
    calls_per_s: float | None = None
    loop_depth: int = 5
    isolated_memory_mb: int = 256
    tracing: Callable[[], Tracing | None] | None = None

    def log(self, redis: redis.asyncio.Redis) -> EventLog:
        """Return the log that the process works on, over the caller's connection."""
        return EventLog(
            redis,
            prefix=self.prefix,
            lanes=self.lanes,
            ledger_days=self.ledger_days,
            may_evict=self.may_evict,
        )
