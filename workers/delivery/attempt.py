"""One handler run: event and context in, outcome out. It knows nothing of order, leases or Redis.

Catches everything a handler raises. Apart from that, only `key=` (handler_key.py) and the thread of a `def` handler
(handler_call.py) have a broad catch.
"""

from __future__ import annotations

import asyncio
import inspect
import random
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from ampeco.client import AsyncClient, Client
from eventlog.called import more
from eventlog.record import AttemptNote, StoredEvent
from handlers.declaration import Handler
from handlers.entity_notes import UNDECLARED, EntityNotes
from handlers.event import Echo, is_timer
from handlers.outcomes import StateRefused
from workers.delivery.attempt_lines import EACH, HandlerLines
from workers.delivery.call_counts import CallCounts
from workers.delivery.gate import LazySteps
from workers.delivery.handler_call import in_loop, in_thread
from workers.delivery.handler_key import HandlerKey, HandlerKeys
from workers.delivery.outcomes import (
    DONE,
    FILTERED,
    NOT_WANTED,
    THROTTLED,
    HandlerEnded,
    Outcome,
    outcome_of,
)
from workers.delivery.service import Watch, judged
from workers.delivery.throttling import Throttling
from workers.delivery.timeouts import Timeouts
from workers.delivery.typed_event import typed_event
from workers.once.step import DeliveryRevoked, Stepping
from workers.tracing import AttemptTrace, Tracing


@dataclass
class Runtime:
    """A handler, ready to run in this process.

    Attributes:
        version: of its code, as declared in the log.
        settings, state: what its context carries.
        client, sync_client: AMPECO's API; None where no token is configured.
        threads: where plain `def` handlers run.
        tracing: follows its attempts; None where traces are off.
        lines: bounds the log lines about its attempts.
        lanes_in_threads: lanes with an event in such a thread. The thread may outlive its lease. Until it
            returns, no drain of this process may take that lane of this handler again.
    """

    handler: Handler
    version: str
    settings: Any = None
    state: Any = None
    client: AsyncClient | None = None
    sync_client: Client | None = None
    threads: ThreadPoolExecutor | None = None
    tracing: Tracing | None = None
    lines: HandlerLines = EACH
    lanes_in_threads: Counter[int] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.alarms = Timeouts(self.handler.timeout_s)
        self.key_of: Callable[[StoredEvent], HandlerKey] | None = None
        if self.handler.key is not None:
            self.key_of = HandlerKeys(self.handler).of


class _Rare:
    """Attributes that few attempts set. Their defaults belong to the class, so that other attempts pay nothing.

    Attributes:
        earlier: the last attempts before it, oldest first.
        began_ms: when it began, Unix time in milliseconds; known where there are earlier ones.
        failing_s: seconds since the first attempt that counted; 0 if this may be the first.
        dry_run: what the handler calls is noted and not done.
        failed: the service on which the attempt last failed, unless that has answered since.
        refused: whether AMPECO was not called, because it is away.
        answered: whether AMPECO answered the attempt.
        cut: whether a call of the attempt was cancelled on the way.
        unkeyed: the end of the delivery if `key=` read a field that does not fit.
        throttling: takes a slot of `throttle=` for the attempt; None where there is no limit.
        entity: notes timers and the state of the entity.
        calls: counts of the attempt's calls to AMPECO; None without any.
        reads: the last calls that change nothing, as `actions` has the others.
        more_actions: how many calls are left out of `actions`.
        trace: follows the attempt; None where traces are off.
    """

    earlier: Sequence[AttemptNote] = ()
    began_ms = 0
    failing_s = 0.0
    dry_run = False
    failed = ""
    refused = False
    answered = False
    cut = False
    unkeyed: Outcome | None = None
    throttling: Throttling | None = None
    entity: EntityNotes = UNDECLARED
    calls: CallCounts | None = None
    reads: tuple[str, ...] = ()
    more_actions = 0
    trace: AttemptTrace | None = None


@dataclass(slots=True)  # not frozen: that costs a microsecond for every event
class Attempt(_Rare):
    """One run of one delivery.

    Attributes:
        number: 1 for the first attempt.
        age_s: seconds since the first attempt began.
        allowed: whether the lease still lives; asked before every call to AMPECO.
        overdue: called once when a handler exceeds its time and cannot be ended: it is a thread, or a task that
            ignores its cancellation.
        steps: makes the once-only steps of the attempt, or those of a dry run.
        replayed: whether an operator asked for this delivery again.
        echo_of: the call that the event echoes, where a test states it; else it is looked up.
        watch: follows the services that the handler needs; None in a run by hand.
        actions: filled with what is called at AMPECO and changes something, each a line of `eventlog.called`.
        misfits: filled with the fields of the payload that do not fit the model.
    """

    event: StoredEvent
    number: int
    age_s: float
    allowed: Callable[[], bool]
    overdue: Callable[[], None]
    steps: Callable[[], Stepping]
    replayed: bool = False
    echo_of: Echo | None = None
    watch: Watch | None = None
    actions: list[str] = field(default_factory=list)
    misfits: tuple[str, ...] = ()

    def called(self, *, reads: bool) -> list[str]:
        """Return the attempt's calls for the log, one line each; calls that change nothing only with `reads`."""
        lines = [*self.actions, *((more(self.more_actions),) if self.more_actions else ())]
        return [*lines, *self.reads] if reads else lines


async def run(runtime: Runtime, attempt: Attempt) -> Outcome:
    """Run the handler once.

    Raises:
        DeliveryRevoked: the lease was lost on the way; the attempt counts for nothing.
        asyncio.CancelledError: the attempt counts for nothing, too.
    """
    handler = runtime.handler
    model = handler.model_of(attempt.event.type)
    if model is None:
        return NOT_WANTED
    said: object
    steps = LazySteps(handler, attempt)
    try:
        event = typed_event(attempt, model, strict=handler.strict)
        if handler.where is not None and not is_timer(event.type) and not _is_wanted(handler.where(event)):
            return FILTERED
        if attempt.unkeyed is not None:
            return attempt.unkeyed
        if attempt.throttling is not None and await attempt.throttling.is_over():
            return THROTTLED
        if handler.is_async:
            said = await in_loop(runtime, event, attempt, steps)
        else:
            said = await in_thread(runtime, event, attempt, steps)
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        said = HandlerEnded("it was cancelled from within").with_traceback(error.__traceback__)
    except DeliveryRevoked as error:
        if not attempt.allowed():
            raise
        said = error  # of another attempt: handlers may share what they wait for
    except BaseException as error:  # noqa: BLE001 - handlers may raise anything; outcomes.py knows what it means
        said = error
    outcome = DONE if said is None else outcome_after(said, handler, attempt)
    if attempt.entity is not UNDECLARED and outcome.kind in ("done", "skipped"):
        try:
            attempt.entity.close()
        except StateRefused as refused:
            outcome = outcome_after(refused, handler, attempt)
    watch = attempt.watch
    if watch is not None:
        if attempt.failed or attempt.cut or outcome.dependency:
            outcome = await judged(watch, attempt, outcome)
        elif watch.alert and outcome.kind == "done":
            watch.went_well()
    if attempt.throttling is not None:
        await attempt.throttling.conclude(outcome)
    if steps.made is not None and outcome.kind in ("done", "skipped"):
        await steps.made.settled()
    return outcome


def outcome_after(said: object, handler: Handler, attempt: Attempt) -> Outcome:
    """Decide what becomes of a delivery, as `outcome_of` does, by what its attempt knows."""
    return outcome_of(
        said,
        handler,
        attempt=attempt.number,
        age_s=attempt.age_s,
        failing_s=attempt.failing_s,
        uniform=random.uniform,
        earlier=attempt.earlier,
        began_ms=attempt.began_ms,
    )


async def traced(tracing: Tracing, runtime: Runtime, attempt: Attempt) -> Outcome:
    """Run the handler once as `run` does, and follow it. `run` itself costs nothing where traces are off."""
    with tracing.attempt(runtime.handler.name, attempt.number, attempt.event) as attempt.trace:
        outcome = await run(runtime, attempt)
        attempt.trace.ended(outcome.kind, outcome.reason)
    return outcome


def _is_wanted(answer: object) -> bool:
    """Return whether the answer of a `where=` is true. A coroutine, which always counts as true, is not."""
    if answer is True or answer is False:
        return answer
    if inspect.isawaitable(answer):
        if inspect.iscoroutine(answer):
            answer.close()  # it was never begun, so nothing of it runs
        raise TypeError("where= must not be async")
    return bool(answer)
