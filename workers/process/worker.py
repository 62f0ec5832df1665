"""One worker process: an event loop in a thread of its own, and an RQ worker in the main thread that wakes it.

The loop runs for as long as the process lives. Where isolated handlers are among those of its queue, a second
process runs them (`isolated.py`).
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Sequence
from types import FrameType

import structlog
from rq.exceptions import StopRequested

from eventlog import wakeups
from eventlog.clock import now_ms
from eventlog.handler_faults import Fault
from handlers.declaration import HandlerError
from handlers.discovery import Discovery, Found, discover
from workers.config import WorkerConfig
from workers.delivery.runtimes import log_fault
from workers.process.deadline import Deadline, grace_s
from workers.process.loop_thread import LoopThread
from workers.process.loop_work import LoopWork, is_forked
from workers.process.rq_loop import Serving
from workers.process.supervisor import Child, ChildThread

RECYCLED = 75  # exit status: restart me: a handler's thread never returned

_IDLE_STOP_S = 8.0  # more than the polite stop needs while Redis hangs and no handler is at work
_MARGIN_S = 7.0  # beyond the grace time; the process of isolated handlers has 5, its fork 3

_log = structlog.get_logger()


class WorkerProcess:
    """Discovers handlers, declares them, and works until SIGTERM.

    Args:
        on_ready: called in the loop with whether the process has a handler to run: once at the start, then at
            each change.
    """

    def __init__(self, config: WorkerConfig, *, on_ready: Callable[[bool], None] = lambda _: None) -> None:
        self._config = config
        self._loop = LoopThread()
        self._serving = Serving(lambda: wakeups.WakeUpWorker(config.redis_url, config.queue))
        self._work = LoopWork(config, self._serving.stopping, on_ready)
        self._isolated: ChildThread | None = None
        self._grace_s = 0.0
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
        faults = self._report(discovery)
        self._grace_s = grace_s(discovery.found)
        self._loop.start()
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)
        try:
            with contextlib.suppress(StopRequested):
                dispatcher = self._loop.call(self._work.open(discovery.found, faults))
                wakeups.attach(lambda: self._loop.call(dispatcher.work()))
                self._start_isolated(discovery.found)
                self._serving.run()
            self._loop.call(self._work.stop())
        finally:
            wakeups.attach(None)
            self._loop.call(self._work.close())
            if self._isolated is not None:
                self._isolated.join()
            self._loop.stop()
        recycle = self._work.recycles
        _log.info("worker.stopped", recycle=recycle)
        return RECYCLED if recycle else 0

    def _report(self, discovery: Discovery) -> list[Fault]:
        """Log the plugins that cannot run, and return them.

        Raises:
            HandlerError: there are some, and the configuration refuses that.
        """
        for source, uses in discovery.deprecated.items():
            _log.warning("plugin.deprecated", source=source, uses=list(uses))
        if discovery.faults and self._config.strict:
            first, more = discovery.faults[0], len(discovery.faults) - 1
            raise HandlerError(f"{first.source}: {first.message}" + (f" (and {more} more)" if more else ""))
        at_ms = now_ms()
        faults = [
            Fault(fault.handler or fault.source, fault.reason, fault.message, fault.place, at_ms)
            for fault in discovery.faults
        ]
        for fault in faults:
            log_fault(fault)
        return faults

    def _on_signal(self, signum: int, frame: FrameType | None) -> None:
        """Stop politely. A second signal changes nothing: the grace time bounds the stop, SIGKILL ends it."""
        self.deadline.start()  # first, so that nothing below can keep the process
        self._serving.stopping.set()
        self._work.stop_soon()
        if self._isolated is not None:
            self._isolated.stop_soon()
        self._serving.stop_soon()

    def _start_isolated(self, found: Sequence[Found]) -> None:
        """Start the process for isolated handlers, if this queue has any."""
        if any(is_forked(self._config, item) for item in found):
            # The worker accepted the same configuration, so a refusal there is one more crash to retry.
            child = Child(
                self._config.isolated_command, self._config.isolated_environ, name="isolated", gives_up=False
            )
            self._isolated = ChildThread(child)
            self._isolated.start()

    def _is_at_work(self) -> bool:
        """Whether a stop has something to wait for: attempts, lifespans that close, or the isolated handlers."""
        return self._work.is_busy or (self._isolated is not None and self._isolated.is_alive)
