"""One worker process: an event loop in a thread of its own, and an RQ worker in the main thread that wakes it.

The loop runs for as long as the process lives. Where isolated handlers are among those of its queue, a second
process runs them (`isolated.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import FrameType
from typing import Any, TypeVar

import structlog
import uvloop
from redis.exceptions import RedisError
from rq.exceptions import StopRequested

from ampeco.shared_budget import SharedBudget
from eventlog import wakeups
from eventlog.call_budget import CallBudget
from eventlog.connection.connect import connect, end_tasks
from eventlog.housekeeping import tick_forever
from eventlog.internal import HANDLER_FAULTY, internal_event
from eventlog.log import EventLog
from eventlog.outages import Outages
from eventlog.readiness import ready_to_drain
from eventlog.registry import Declaration, declared
from eventlog.schedule import recompute
from eventlog.text import bounded
from handlers.declaration import ISOLATED, HandlerError
from handlers.discovery import Discovery, Fault, Found, discover
from workers.config import WorkerConfig
from workers.delivery.runtimes import Runtimes, configured
from workers.drain.dispatcher import Dispatcher
from workers.process.deadline import Deadline, grace_s
from workers.process.prober import asker, probe_forever
from workers.process.rq_loop import Serving, back_off_s
from workers.process.supervisor import Child, ChildThread

RECYCLED = 75  # exit status: restart me: a handler's thread never returned

_IDLE_STOP_S = 8.0  # more than the polite stop needs while Redis hangs and no handler is at work
_MARGIN_S = 7.0  # beyond the grace time; the process of isolated handlers has 5, its fork 3
_END_TASKS_S = 2.0
_DECLARE_S = 60.0
_THREADS = 64
_SOURCE_CHARS = 50  # of a faulty plugin's source, in the key of its event

_log = structlog.get_logger()
R = TypeVar("R")


class WorkerProcess:
    """Discovers handlers, declares them, and works until SIGTERM.

    Args:
        on_ready: called in the loop once it works, with whether it has a handler to run.
    """

    def __init__(self, config: WorkerConfig, *, on_ready: Callable[[bool], None] = lambda _: None) -> None:
        self._config = config
        self._on_ready = on_ready
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=_run_forever, args=(self._loop,), name="loop", daemon=True)
        self._serving = Serving(lambda: wakeups.WakeUpWorker(config.redis_url, config.queue))
        self._stopping = self._serving.stopping
        self._exits = contextlib.AsyncExitStack()
        self._background: list[asyncio.Task[Any]] = []
        self._declarations: list[Declaration] = []
        self._told_queues: dict[str, str] = {}
        self._faults: Sequence[Fault] = ()
        self._dispatcher: Dispatcher | None = None
        self._isolated: ChildThread | None = None
        self._opening: asyncio.Task[Dispatcher] | None = None
        self._grace_s = 0.0
        self._closing_handlers = False
        self.deadline = Deadline(
            idle_s=_IDLE_STOP_S, longest_s=lambda: self._grace_s + _MARGIN_S, at_work=self._is_at_work
        )

    def run(self) -> int:
        """Work until SIGTERM.

        Returns:
            Exit status: 0 after a polite stop, `RECYCLED` when a new process should take over.

        Raises:
            HandlerError: two handlers of one name, or a faulty plugin where that is refused.
            LogMismatch: the log belongs to another tenant or was made with other settings.
        """
        discovery = discover(
            load=self._config.load,
            allow=self._config.allow,
            queue_of=self._config.queue_of,
            error_text=self._config.error_text,
        )
        self._report(discovery)
        self._grace_s = grace_s(discovery.found)
        self._thread.start()
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)
        try:
            with contextlib.suppress(StopRequested):
                dispatcher = self._call(self._opened(discovery.found))
                wakeups.attach(lambda: self._call(dispatcher.work()))
                self._start_isolated(discovery.found)
                self._serving.run()
            if self._dispatcher is not None:
                self._call(self._dispatcher.stop())
        finally:
            wakeups.attach(None)
            self._call(self._close())
            if self._isolated is not None:
                self._isolated.join()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(5.0)
        recycle = self._dispatcher is not None and self._dispatcher.recycling.is_set()
        _log.info("worker.stopped", recycle=recycle)
        return RECYCLED if recycle else 0

    def _report(self, discovery: Discovery) -> None:
        self._faults = discovery.faults
        for fault in discovery.faults:
            _log.error("handler.faulty", source=fault.source, error=fault.message)
        if discovery.faults and self._config.strict:
            raise HandlerError(f"{discovery.faults[0].source}: {discovery.faults[0].message}")

    def _on_signal(self, signum: int, frame: FrameType | None) -> None:
        """Polite stop. A second signal changes nothing: the grace time bounds it, SIGKILL ends it."""
        self._stopping.set()
        self.deadline.start()
        if self._dispatcher is not None:
            self._dispatcher.stop_soon()
        elif self._opening is not None:
            self._loop.call_soon_threadsafe(self._opening.cancel)
        if self._isolated is not None:
            self._isolated.stop_soon()
        self._serving.stop_soon()

    def _start_isolated(self, found: Sequence[Found]) -> None:
        """Start the process for isolated handlers, if this queue has any."""
        queue = self._config.queue + ISOLATED
        if self._config.isolated_command and any(item.handler.served_by == queue for item in found):
            # The worker accepted the same configuration, so a refusal there is one more crash to retry.
            child = Child(
                self._config.isolated_command, self._config.isolated_environ, name="isolated", gives_up=False
            )
            self._isolated = ChildThread(child)
            self._isolated.start()

    def _forks(self, item: Found) -> bool:
        """Return whether our second process runs this handler."""
        return bool(self._config.isolated_command) and item.handler.served_by == self._config.queue + ISOLATED

    def _call(self, work: Awaitable[R]) -> R:
        """Run something on the loop and wait for it, in this (the main) thread."""

        async def awaited() -> R:
            return await work

        future = asyncio.run_coroutine_threadsafe(awaited(), self._loop)
        while True:
            try:
                return future.result()
            except StopRequested:
                if future.done():
                    raise
                # A signal arrived while we waited: what is under way ends by itself, soon.

    def _is_at_work(self) -> bool:
        """Whether a stop has something to wait for: attempts, lifespans that close, or the isolated handlers."""
        at_work = self._dispatcher is not None and self._dispatcher.at_work
        isolated = self._isolated is not None and self._isolated.is_alive
        return at_work or isolated or self._closing_handlers

    # In the loop

    async def _opened(self, found: Sequence[Found]) -> Dispatcher:
        """Open everything, unless a signal comes before that is done."""
        self._opening = asyncio.create_task(self._open(found))
        try:
            if self._stopping.is_set():
                self._opening.cancel()
            return await self._opening
        except asyncio.CancelledError:
            raise StopRequested from None

    async def _open(self, found: Sequence[Found]) -> Dispatcher:
        redis = connect(self._config.redis_url)
        self._exits.push_async_callback(redis.aclose)
        log = self._config.log(redis)
        await self._wait_for(log)
        bucket = CallBudget(log, per_s=self._config.calls_per_s)
        runtimes = Runtimes(self._config, threads=_THREADS, budget=SharedBudget(bucket))
        self._exits.push_async_callback(runtimes.close)
        ours = [item for item in found if item.handler.served_by == self._config.queue]
        await runtimes.open(ours, strict=self._config.strict)
        elsewhere = configured([item for item in found if item not in ours], strict=self._config.strict)
        ready = [item for item in ours if item.handler.name in runtimes.by_name]
        self._declarations = [
            *(_declaration(item, serves=True) for item in ready),
            *(_declaration(item, serves=self._forks(item)) for item in elsewhere),
        ]
        await self._until_reached(lambda: self._declare(log))
        await self._until_reached(lambda: recompute(log))
        await self._until_reached(lambda: _announce(log, self._faults))
        waker = wakeups.Waker(self._config.redis_url)
        self._exits.callback(waker.close)
        dispatcher = Dispatcher(
            log,
            self._config.queue,
            runtimes.by_name,
            watchdog=True,
            catch_up_per_s=self._config.catch_up_per_s,
            loop_depth=self._config.loop_depth,
            faulty=len(self._faults) + len(ours) - len(ready),
        )
        self._dispatcher = dispatcher
        dispatcher.stopping = self._stopping.is_set()
        self._background = [
            asyncio.create_task(tick_forever(log, waker, asyncio.Event(), self._config.keep)),
            asyncio.create_task(dispatcher.watch()),
            asyncio.create_task(dispatcher.look_forever()),
            asyncio.create_task(self._declare_forever(log)),
            asyncio.create_task(runtimes.follow_token()),
            asyncio.create_task(
                probe_forever(log, dispatcher.services, Outages(log), asker(self._config, runtimes.budget))
            ),
            asyncio.create_task(_recycle_when_asked(dispatcher)),
        ]
        waker.wake([self._config.queue])
        serves = any(declaration.serves for declaration in self._declarations)
        if not serves:
            known = {item.handler.name: item.handler.queue for item in found}
            _log.error("worker.no_handlers", queue=self._config.queue, queues=known)
        self._on_ready(serves)
        _log.info("worker.started", queue=self._config.queue, handlers=sorted(runtimes.by_name))
        return dispatcher

    async def _wait_for(self, log: EventLog) -> None:
        await self._until_reached(lambda: self._check(log))
        await self._until_reached(
            lambda: log.claim(self._config.tenant_url or "", self._config.rules_version)
        )

    async def _check(self, log: EventLog) -> None:
        if not await ready_to_drain(log):
            _log.warning("redis.full")

    async def _until_reached(self, ask: Callable[[], Awaitable[object]]) -> None:
        """Ask until Redis answers, and say once per back-off step that it does not."""
        step = 0
        while not self._stopping.is_set():
            try:
                await ask()
            except (RedisError, OSError) as error:
                await asyncio.sleep(back_off_s(step, error))
                step += 1
            else:
                return
        raise StopRequested

    async def _declare(self, log: EventLog) -> None:
        found = await declared(log, self._declarations)
        for name in sorted(found.ignored):
            # Its position went over to another name: it must not begin a second one.
            _log.error("handler.renamed_away", handler=name)
        self._report_queues(found.elsewhere)

    def _report_queues(self, elsewhere: Mapping[str, str]) -> None:
        """Say once of each handler that another deployment of its version declared another queue for it."""
        ours = {declaration.name: declaration.queue for declaration in self._declarations}
        for name, queue in sorted(elsewhere.items()):
            if self._told_queues.get(name) != queue:
                _log.warning("handler.queue_conflict", handler=name, queue=ours[name], declared=queue)
        self._told_queues = dict(elsewhere)

    async def _declare_forever(self, log: EventLog) -> None:
        while True:
            await asyncio.sleep(_DECLARE_S)
            with contextlib.suppress(RedisError, OSError):
                self._report_queues((await declared(log, self._declarations, again=True)).elsewhere)

    async def _close(self) -> None:
        await end_tasks(self._background, within_s=_END_TASKS_S)
        self._closing_handlers = True  # the exits close the lifespans before the connection
        await self._exits.aclose()
        self._closing_handlers = False


def _run_forever(loop: asyncio.AbstractEventLoop) -> None:
    """Run the loop until it is stopped.

    A SystemExit or KeyboardInterrupt of any task ends `run_forever`, too, such as one that a handler started. That
    task has it as its error, and all others go on.
    """
    while True:
        try:
            loop.run_forever()
        except BaseException as error:  # noqa: BLE001
            _log.warning("worker.exit_ignored", error=type(error).__name__)
        else:
            return


async def _announce(log: EventLog, faults: Sequence[Fault]) -> None:
    """Announce plugins that cannot be loaded; housekeeping wakes who wants to know."""
    for fault in faults:
        key = f"plugin:{bounded(fault.source, _SOURCE_CHARS)}"
        fields = {"source": fault.source, "error": fault.message}
        await log.announce(internal_event(HANDLER_FAULTY, key, fields))


async def _recycle_when_asked(dispatcher: Dispatcher) -> None:
    await dispatcher.recycling.wait()
    os.kill(os.getpid(), signal.SIGTERM)


def _declaration(item: Found, *, serves: bool) -> Declaration:
    handler = item.handler
    return Declaration(
        name=handler.name,
        version=item.version,
        types=handler.types,
        queue=handler.served_by,
        order=handler.order,
        start=handler.start,
        isolation=handler.isolation,
        serves=serves,
    )
