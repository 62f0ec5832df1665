"""The process for handlers with `isolation="process"`: an RQ worker that forks for every wake-up.

The parent only imports the plugins and forks: it has no event loop and takes no lease. The fork takes one
(handler, lane) at a time, runs one event at a time, and exits after some seconds. An event that kills its process
harms no other event. The log knows which event was running when the process died.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import resource
import signal
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import structlog
import uvloop
from redis.exceptions import RedisError
from rq.exceptions import StopRequested

from ampeco.shared_budget import SharedBudget
from eventlog import wakeups
from eventlog.blocked_notes import NOTE_S, note_writer
from eventlog.call_budget import CallBudget
from eventlog.clock import now_ms
from eventlog.connection.connect import connect, end_tasks
from handlers.declaration import ISOLATED
from handlers.discovery import Found, discover
from workers.config import WorkerConfig
from workers.delivery.runtimes import Runtimes
from workers.drain.dispatcher import JOB_S, Dispatcher
from workers.process.deadline import Deadline, grace_s
from workers.process.fault_news import announce
from workers.process.fork_memory import ForkMemory
from workers.process.rq_loop import Serving

_THREADS = 2
_FORK_IDLE_STOP_S, _IDLE_STOP_S = 6.0, 7.0  # less than the parent of each has
_FORK_MARGIN_S, _MARGIN_S = 3.0, 5.0
_CLOSING_S = 30.0  # for a fork to open and to close what its handlers need

_log = structlog.get_logger()


class IsolatedProcess:
    """Serve the isolated handlers of one queue until SIGTERM."""

    def __init__(self, config: WorkerConfig, *, on_turn: Callable[[], None] = lambda: None) -> None:
        self._config = config
        self._queue = config.queue + ISOLATED
        self._found: list[Found] = []
        self._grace_s = 0.0
        self._watched, self._held_open = os.pipe()
        self._serving = Serving(self._worker, on_turn=on_turn)
        self._forking: wakeups.ForkingWorker | None = None
        self._memory = ForkMemory()
        self.deadline = Deadline(
            idle_s=_IDLE_STOP_S,
            longest_s=lambda: self._grace_s + _MARGIN_S,
            at_work=lambda: self._forking is not None and self._forking.forked,
        )

    def run(self) -> int:
        """Work until SIGTERM.

        Returns:
            Exit status.
        """
        discovery = discover(
            load=self._config.load,
            allow=self._config.allow,
            queue_of=self._config.queue_of,
            error_text=self._config.error_text,
        )
        self._found = [item for item in discovery.found if item.handler.served_by == self._queue]
        self._grace_s = grace_s(self._found)
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)
        wakeups.attach(self._work_in_fork)
        gc.freeze()  # so that a collection in a fork copies nothing of what it shares with us
        _log.info("worker.started", queue=self._queue, handlers=[item.handler.name for item in self._found])
        with contextlib.suppress(StopRequested):
            self._serving.run()
        _log.info("worker.stopped", queue=self._queue)
        return 0

    def _worker(self) -> wakeups.ForkingWorker:
        self._forking = wakeups.ForkingWorker(
            self._config.redis_url, self._queue, longest_s=JOB_S + self._grace_s + _CLOSING_S
        )
        return self._forking

    def _on_signal(self, signum: int, frame: FrameType | None) -> None:
        self.deadline.start()
        self._serving.stop_soon()

    # In the fork

    def _work_in_fork(self) -> bool:
        os.close(self._held_open)
        self._opened: Dispatcher | None = None
        self._closing = False
        self.deadline = Deadline(
            idle_s=_FORK_IDLE_STOP_S,
            longest_s=lambda: self._grace_s + _FORK_MARGIN_S,
            at_work=lambda: self._closing or (self._opened is not None and self._opened.at_work),
        )
        threading.Thread(target=self._end_with_parent, name="parent-watch", daemon=True).start()
        limit_memory(self._config.isolated_memory_mb)
        # Not closed at the end: it may hold a task that lets nothing cancel it, and the process ends anyway.
        loop = uvloop.new_event_loop()
        try:
            return loop.run_until_complete(self._work())
        finally:
            sys.stdout.flush()

    def _end_with_parent(self) -> None:
        os.read(self._watched, 1)
        self.deadline.start()
        os.kill(os.getpid(), signal.SIGTERM)

    async def _work(self) -> bool:
        redis = connect(self._config.redis_url, max_connections=8)
        log = self._config.log(redis)
        # Forks follow one another, so they are one process to the budget.
        name = f"{socket.gethostname()}:{os.getppid()}"
        bucket = CallBudget(log, per_s=self._config.calls_per_s, process=name)
        runtimes = Runtimes(self._config, threads=_THREADS, budget=SharedBudget(bucket), again=False)
        try:
            await self._open(runtimes)
            with contextlib.suppress(RedisError, OSError):  # the next fork finds the same fault
                while not runtimes.news.empty():
                    await announce(log, runtimes.news.get_nowait())
            dispatcher = Dispatcher(
                log,
                self._queue,
                runtimes.by_name,
                watchdog=True,
                alone=True,
                catch_up_per_s=self._config.catch_up_per_s,
                loop_depth=self._config.loop_depth,
                faults=runtimes.faults,
                note_blocked=note_writer(self._config.redis_url, self._config.prefix, timeout_s=NOTE_S),
            )
            self._opened = dispatcher
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._stop_fork, dispatcher)
            background = [
                asyncio.create_task(dispatcher.watch()),
                asyncio.create_task(dispatcher.look_forever()),
            ]
            more = await dispatcher.work()
            await dispatcher.stop()
            await end_tasks(background)
            return more
        finally:
            self._closing = True
            await runtimes.close()
            self._closing = False
            await redis.aclose()

    async def _open(self, runtimes: Runtimes) -> None:
        """Open the handlers that are not known to be faulty, or are to be tried again by now."""
        known, at_ms = {fault.name: fault for fault in self._memory.faults()}, now_ms()
        waiting = [fault for fault in known.values() if fault.next_ms is None or fault.next_ms > at_ms]
        runtimes.elsewhere += waiting
        left_out = {fault.name for fault in waiting}
        tried = [item for item in self._found if item.handler.name not in left_out]
        await runtimes.open(tried, strict=False, known=known)
        self._memory.keep(runtimes.faults())

    def _stop_fork(self, dispatcher: Dispatcher) -> None:
        self.deadline.start()
        dispatcher.stop_soon()


def limit_memory(more_mb: int) -> None:
    """Limit how much more memory this process may allocate. Works on Linux only.

    Args:
        more_mb: in units of 2**20 bytes.
    """
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[5])
    except OSError:
        return
    # RLIMIT_DATA, since threads reserve far more address space than they use.
    limit = pages * os.sysconf("SC_PAGE_SIZE") + (more_mb << 20)
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
