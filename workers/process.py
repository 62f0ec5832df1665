"""One worker process: an event loop in a thread of its own, and an RQ worker in the main thread that wakes it.

The loop runs for as long as the process lives. RQ's worker ends on a Redis time-out and is started again here.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import FrameType
from typing import Any, TypeVar

import structlog
import uvloop
from pydantic import ValidationError
from redis.exceptions import RedisError
from rq.exceptions import StopRequested

from ampeco.client import AsyncClient, Client
from handlers.contract import HandlerError
from handlers.discovery import Discovery, Found, discover, missing_settings
from workers import jobs
from workers.deliver import Runtime
from workers.dispatcher import Dispatcher
from workers.eventlog.connect import connect, end_tasks
from workers.eventlog.log import Declaration, EventLog
from workers.ticker import tick_forever

RECYCLED = 75  # exit status: ended to be started again (a thread that nobody can end)

_DECLARE_S = 60.0
_TOKEN_LOOK_S = 2.0
_THREADS = 64
_BACKOFF_S = (0.2, 0.5, 1.0, 2.0)

_log = structlog.get_logger()
R = TypeVar("R")


@dataclass(frozen=True)
class WorkerConfig:
    """What a worker process needs to know.

    Attributes:
        api_token: read again from time to time, so that a rotated token is taken up; None when there is none.
        rules_version: of the entity key rules, which belong to the log.
        load: further modules or files with handlers.
        allow: names of the handlers to run; None for all.
        strict: refuse the start when a plugin is faulty.
        ledger_days: how long once-only steps are known after their event was settled.
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
    ledger_days: int = 30


class WorkerProcess:
    """Discovers handlers, declares them, and works until told to stop."""

    def __init__(self, config: WorkerConfig, *, on_ready: Callable[[], None] = lambda: None) -> None:
        self._config = config
        self._on_ready = on_ready
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="loop", daemon=True)
        self._stopping = threading.Event()
        self._exits = contextlib.AsyncExitStack()
        self._background: list[asyncio.Task[Any]] = []
        self._runtimes: dict[str, Runtime] = {}
        self._declarations: list[Declaration] = []
        self._token: str | None = None
        self._dispatcher: Dispatcher | None = None
        self._worker: jobs.WakeUpWorker | None = None

    def run(self) -> int:
        """Work until SIGTERM.

        Returns:
            Exit status: 0 after a polite stop, `RECYCLED` when a new process should take over.

        Raises:
            HandlerError: two handlers of one name, or a faulty plugin where that is refused.
            LogMismatch: the log belongs to another tenant or was made with other settings.
        """
        discovery = discover(load=self._config.load, allow=self._config.allow)
        self._report(discovery)
        self._thread.start()
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)
        try:
            with contextlib.suppress(StopRequested):
                dispatcher = self._call(self._open(discovery.found))
                jobs.attach(lambda: self._call(dispatcher.work()))
                self._wake_up_loop(dispatcher)
            if self._dispatcher is not None:
                self._call(self._dispatcher.stop())
        finally:
            jobs.attach(None)
            self._call(self._close())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(5.0)
        recycle = self._dispatcher is not None and self._dispatcher.recycling.is_set()
        _log.info("worker.stopped", recycle=recycle)
        return RECYCLED if recycle else 0

    def _report(self, discovery: Discovery) -> None:
        for fault in discovery.faults:
            _log.error("handler.faulty", source=fault.source, error=fault.message)
        if discovery.faults and self._config.strict:
            raise HandlerError(f"{discovery.faults[0].source}: {discovery.faults[0].message}")

    def _on_signal(self, signum: int, frame: FrameType | None) -> None:
        """Polite stop. A second signal changes nothing: the grace time bounds it, SIGKILL ends it."""
        self._stopping.set()
        if self._dispatcher is not None:
            self._dispatcher.stopping = True
        if self._worker is not None:
            self._worker.stop_soon()

    def _wake_up_loop(self, dispatcher: Dispatcher) -> None:
        """RQ's worker ends when Redis goes away; a new one is made until there is reason to stop."""
        step = 0
        while not self._stopping.is_set():
            try:
                self._worker = jobs.WakeUpWorker(self._config.redis_url, self._config.queue)
                if self._stopping.is_set():
                    break  # the signal came while there was no worker to tell
                step = 0
                self._worker.work(logging_level="WARNING")
            except (RedisError, OSError) as error:
                self._stopping.wait(_back_off_s(step, error))
                step += 1
            finally:
                self._worker = None

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

    # In the loop

    async def _open(self, found: Sequence[Found]) -> Dispatcher:
        redis = connect(self._config.redis_url)
        self._exits.push_async_callback(redis.aclose)
        log = EventLog(
            redis,
            prefix=self._config.prefix,
            lanes=self._config.lanes,
            ledger_days=self._config.ledger_days,
        )
        await self._wait_for(log)
        threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="handler")
        self._exits.callback(threads.shutdown, wait=False)
        for item in found:
            try:
                self._runtimes[item.handler.name] = await self._runtime(item, threads)
            except Exception as error:
                told = missing_settings(error) if isinstance(error, ValidationError) else type(error).__name__
                if self._config.strict:
                    raise HandlerError(f"handler {item.handler.name!r}: {told}") from error
                _log.error("handler.faulty", source=item.handler.name, error=told)
        self._declarations = [_declaration(item) for item in found if item.handler.name in self._runtimes]
        await self._take_up_token()
        await self._until_reached(lambda: self._declare(log))
        await self._until_reached(log.recompute)
        waker = jobs.Waker(self._config.redis_url)
        self._exits.callback(waker.close)
        dispatcher = Dispatcher(log, self._config.queue, self._ours(), watchdog=True)
        self._dispatcher = dispatcher
        dispatcher.stopping = self._stopping.is_set()
        self._background = [
            asyncio.create_task(tick_forever(log, waker, asyncio.Event())),
            asyncio.create_task(dispatcher.watch()),
            asyncio.create_task(dispatcher.look_forever()),
            asyncio.create_task(self._declare_forever(log)),
            asyncio.create_task(self._follow_token()),
            asyncio.create_task(_recycle_when_asked(dispatcher)),
        ]
        waker.wake([self._config.queue])
        self._on_ready()
        _log.info("worker.started", queue=self._config.queue, handlers=sorted(self._ours()))
        return dispatcher

    def _ours(self) -> dict[str, Runtime]:
        """The handlers whose queue this process serves."""
        return {n: r for n, r in self._runtimes.items() if r.handler.queue == self._config.queue}

    async def _wait_for(self, log: EventLog) -> None:
        await self._until_reached(log.ready)
        await self._until_reached(
            lambda: log.claim(self._config.tenant_url or "", self._config.rules_version)
        )

    async def _until_reached(self, ask: Callable[[], Awaitable[object]]) -> None:
        """Ask until Redis answers, and say once per back-off step that it does not."""
        step = 0
        while not self._stopping.is_set():
            try:
                await ask()
            except (RedisError, OSError) as error:
                await asyncio.sleep(_back_off_s(step, error))
                step += 1
            else:
                return
        raise StopRequested

    async def _runtime(self, item: Found, threads: ThreadPoolExecutor) -> Runtime:
        handler = item.handler
        settings = handler.settings() if handler.settings is not None else None
        state = None
        if handler.lifespan is not None:
            arguments = () if handler.settings is None else (settings,)
            state = await self._exits.enter_async_context(handler.lifespan(*arguments))
        return Runtime(handler, item.version, settings, state, threads=threads)

    async def _declare(self, log: EventLog) -> None:
        for name in sorted(await log.declare(self._declarations)):
            # Its position went over to another name: it must not begin a second one.
            _log.error("handler.renamed_away", handler=name)

    async def _declare_forever(self, log: EventLog) -> None:
        while True:
            await asyncio.sleep(_DECLARE_S)
            with contextlib.suppress(RedisError, OSError):
                await log.declare(self._declarations, again=True)

    async def _follow_token(self) -> None:
        while True:
            await asyncio.sleep(_TOKEN_LOOK_S)
            await self._take_up_token()

    async def _take_up_token(self) -> None:
        """Handlers call AMPECO with the token that holds now; calls under way finish with the old one."""
        token = self._config.api_token()
        if token == self._token or token is None or self._config.tenant_url is None:
            return
        if self._token is not None:
            _log.info("api_token.changed")
        self._token = token
        client = AsyncClient(self._config.tenant_url, token)
        sync_client = Client(self._config.tenant_url, token)
        self._exits.push_async_callback(client.aclose)
        self._exits.callback(sync_client.close)
        for runtime in self._runtimes.values():
            runtime.client, runtime.sync_client = client, sync_client

    async def _close(self) -> None:
        await end_tasks(self._background)
        await self._exits.aclose()


def _back_off_s(step: int, error: Exception) -> float:
    """Seconds until Redis is asked again; said once per step, and not for ever."""
    wait_s = _BACKOFF_S[min(step, len(_BACKOFF_S) - 1)]
    if step < len(_BACKOFF_S):
        _log.warning("redis.unreachable", error=type(error).__name__, retry_in_s=wait_s)
    return wait_s


async def _recycle_when_asked(dispatcher: Dispatcher) -> None:
    await dispatcher.recycling.wait()
    os.kill(os.getpid(), signal.SIGTERM)


def _declaration(item: Found) -> Declaration:
    handler = item.handler
    return Declaration(
        name=handler.name,
        version=item.version,
        types=handler.types,
        queue=handler.queue,
        order=handler.order,
        start=handler.start,
    )
