"""The work of a worker process in its event loop: it opens its handlers, declares them, and runs due events."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import structlog
from rq.exceptions import StopRequested

from ampeco.shared_budget import SharedBudget
from eventlog.blocked_notes import NOTE_S, note_writer
from eventlog.call_budget import CallBudget
from eventlog.chores import Chores
from eventlog.connection.connect import connect, end_tasks
from eventlog.handler_faults import Fault
from eventlog.housekeeping import tick_forever
from eventlog.log import EventLog
from eventlog.readiness import ready_to_drain
from eventlog.registry import declared
from eventlog.schedule import recompute
from eventlog.waker import Waker
from handlers.declaration import ISOLATED
from handlers.discovery import Found
from workers.config import WorkerConfig
from workers.delivery.runtimes import Runtimes
from workers.drain.dispatcher import Dispatcher
from workers.process.declarations import Declarations
from workers.process.fault_news import announce
from workers.process.prober import asker, probe_forever
from workers.process.rq_loop import Stopping, until_reached

_END_TASKS_S = 2.0
_THREADS = 64
_OPEN_S = 2.0  # for lifespans to begin before the handlers that are ready start without the others

_log = structlog.get_logger()


class LoopWork:
    """The work of one process. Its coroutines run in the loop, all else in the main thread.

    Args:
        stopping: set when the process stops.
        on_ready: called in the loop with whether the process has a handler to run: once at the start, then at
            each change.
    """

    def __init__(self, config: WorkerConfig, stopping: Stopping, on_ready: Callable[[bool], None]) -> None:
        self._config = config
        self._stopping = stopping
        self._on_ready = on_ready
        self._exits = contextlib.AsyncExitStack()
        self._background: list[asyncio.Task[Any]] = []
        self._declarations = Declarations()
        self._serves: bool | None = None
        self._dispatcher: Dispatcher | None = None
        self._opening: asyncio.Task[Dispatcher] | None = None
        self._closing_handlers = False
        self._ends = False

    @property
    def is_busy(self) -> bool:
        """Whether a stop has something to wait for: attempts, or lifespans that close."""
        return self._closing_handlers or (self._dispatcher is not None and self._dispatcher.at_work)

    @property
    def recycles(self) -> bool:
        """Whether a new process should take over."""
        return self._dispatcher is not None and self._dispatcher.recycling.is_set()

    def stop_soon(self) -> None:
        """Start nothing new; give up an opening that is under way."""
        if self._dispatcher is not None:
            self._dispatcher.stop_soon()
        elif self._opening is not None:
            self._opening.get_loop().call_soon_threadsafe(self._opening.cancel)

    async def open(self, found: Sequence[Found], faults: Sequence[Fault]) -> Dispatcher:
        """Open everything, unless the process is stopped before that is done.

        Args:
            faults: plugins that cannot run.

        Raises:
            StopRequested: the process stops.
        """
        self._opening = asyncio.create_task(self._open(found, faults))
        try:
            if self._stopping.is_set():
                self._opening.cancel()
            return await self._opening
        except asyncio.CancelledError:
            raise StopRequested from None

    async def stop(self) -> None:
        """Let what runs finish, and hand back the rest."""
        if self._dispatcher is not None:
            await self._dispatcher.stop()

    async def close(self) -> None:
        """Close the handlers and the connection."""
        self._ends = True
        await end_tasks(self._background, within_s=_END_TASKS_S)
        self._closing_handlers = True  # the exits close the lifespans before the connection
        await self._exits.aclose()
        self._closing_handlers = False

    async def _open(self, found: Sequence[Found], faults: Sequence[Fault]) -> Dispatcher:
        redis = connect(self._config.redis_url)
        self._exits.push_async_callback(redis.aclose)
        log = self._config.log(redis)
        await self._wait_for(log)
        bucket = CallBudget(log, per_s=self._config.calls_per_s)
        runtimes = Runtimes(self._config, threads=_THREADS, budget=SharedBudget(bucket))
        self._exits.push_async_callback(runtimes.close)
        runtimes.elsewhere += faults
        ours = [item for item in found if item.handler.served_by == self._config.queue]
        await runtimes.open(ours, strict=self._config.strict, within_s=_OPEN_S)
        others = [item for item in found if item not in ours]
        elsewhere = runtimes.configured(others, strict=self._config.strict)
        # One whose lifespan fails is declared all the same: its events wait for it. Without settings it is not.
        for item in filter(runtimes.has_settings, ours):
            self._declarations.add(item, serves=item.handler.name in runtimes.by_name)
        for item in elsewhere:
            self._declarations.add(item, serves=is_forked(self._config, item))
        await self._until_reached(lambda: self._declarations.declare(log))
        chores = Chores()
        dropped = self._declarations.report_dropped
        await self._until_reached(lambda: chores.run("dropped types", dropped(log)))
        await self._until_reached(lambda: chores.run("recompute", recompute(log)))
        for fault in faults:
            runtimes.news.put_nowait(fault)
        waker = Waker(self._config.redis_url)
        self._exits.callback(waker.close)
        dispatcher = Dispatcher(
            log,
            self._config.queue,
            runtimes.by_name,
            watchdog=True,
            catch_up_per_s=self._config.catch_up_per_s,
            loop_depth=self._config.loop_depth,
            faults=runtimes.faults,
            note_blocked=note_writer(self._config.redis_url, self._config.prefix, timeout_s=NOTE_S),
        )
        self._dispatcher = dispatcher
        dispatcher.stopping = self._stopping.is_set()
        self._background = [
            asyncio.create_task(tick_forever(log, waker, asyncio.Event(), self._config.keep)),
            asyncio.create_task(dispatcher.watch()),
            asyncio.create_task(dispatcher.look_forever()),
            asyncio.create_task(self._declarations.renew_forever(log)),
            asyncio.create_task(runtimes.follow_token()),
            asyncio.create_task(
                probe_forever(log, dispatcher.services, asker(self._config, runtimes.budget))
            ),
            asyncio.create_task(dispatcher.recycling.wait()),
            asyncio.create_task(self._announce_forever(log, runtimes)),
            asyncio.create_task(self._serve_late(log, runtimes, dispatcher, waker)),
        ]
        for task in self._background:
            task.add_done_callback(self._background_ended)
        waker.wake([self._config.queue])
        self._say_whether_it_serves()
        if not self._serves:
            known = {item.handler.name: item.handler.queue for item in found}
            _log.error("worker.no_handlers", queue=self._config.queue, queues=known)
        _log.info("worker.started", queue=self._config.queue, handlers=sorted(runtimes.by_name))
        return dispatcher

    def _background_ended(self, task: asyncio.Task[Any]) -> None:
        """End the process when it is to be recycled.

        Also when a handler cancelled our own tasks, or one of them failed: half of the work would stop. A process
        that stops ends anyway, and some of these tasks with it.
        """
        if self._ends or self._dispatcher is None or self._stopping.is_set():
            return
        self._ends = True
        if not self._dispatcher.recycling.is_set():
            error = None if task.cancelled() else task.exception()
            _log.error(
                "worker.recycling",
                reason="a background task ended",
                where=getattr(task.get_coro(), "__qualname__", ""),
                error=type(error).__name__ if error else "cancelled",
            )
            self._dispatcher.recycling.set()
        os.kill(os.getpid(), signal.SIGTERM)

    async def _wait_for(self, log: EventLog) -> None:
        await self._until_reached(lambda: self._check(log))
        await self._until_reached(
            lambda: log.claim(self._config.tenant_url or "", self._config.rules_version)
        )

    async def _check(self, log: EventLog) -> None:
        if not await ready_to_drain(log):
            _log.warning("redis.full")

    async def _until_reached(self, ask: Callable[[], Awaitable[object]]) -> None:
        await until_reached(ask, self._stopping)

    async def _serve_late(
        self, log: EventLog, runtimes: Runtimes, dispatcher: Dispatcher, waker: Waker
    ) -> None:
        """Serve each handler whose lifespan began late, or failed before."""
        while not self._stopping.is_set():
            runtime = await runtimes.next_ready()
            dispatcher.serve(runtime)
            late = self._declarations.served(runtime.handler.name)
            with contextlib.suppress(StopRequested):
                await self._until_reached(partial(declared, log, [late]))
                await self._until_reached(partial(recompute, log))
            waker.wake([self._config.queue])
            self._say_whether_it_serves()
            _log.info("handler.served", handler=late.name, queue=late.queue)

    def _say_whether_it_serves(self) -> None:
        serves = self._declarations.serves
        if serves is not self._serves:
            self._serves = serves
            self._on_ready(serves)

    async def _announce_forever(self, log: EventLog, runtimes: Runtimes) -> None:
        """Announce each fault once; housekeeping wakes the handlers that want to know."""
        with contextlib.suppress(StopRequested):
            while True:
                await self._until_reached(partial(announce, log, await runtimes.news.get()))


def is_forked(config: WorkerConfig, item: Found) -> bool:
    """Return whether the second process of a worker runs this handler."""
    return bool(config.isolated_command) and item.handler.served_by == config.queue + ISOLATED
