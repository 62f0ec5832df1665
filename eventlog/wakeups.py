"""Wake-ups through RQ: a job wakes the workers of one queue and carries no data.

Only this module knows RQ's options. Jobs use JSON and random ids, and leave nothing behind when they finish.
RQ's key prefix comes from `RQ_KEY_PREFIX`, which has to be set before this module is imported.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from typing import Any

import redis
import structlog
from rq import Queue, SimpleWorker, Worker
from rq.exceptions import StopRequested
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.worker import BaseWorker, WorkerStatus

from eventlog.connection.connect import connect_sync

_JOB = "workers.jobs.drain"  # the name that workers of the previous release can import
_WORKER_TTL_S = 25
_JOB_TTL_S = 60  # by then the ticker has sent another one
_MAX_WAITING = 1_000
_MAINTENANCE_S = 30
_LOOK_S = 2  # how often a fork is checked

_log = structlog.get_logger()
_work: Callable[[], bool] | None = None


def attach(work: Callable[[], bool] | None) -> None:
    """Set what a wake-up does in this process. `work` returns whether there is more to do."""
    global _work
    _work = work


def drain(queue_name: str) -> None:
    """Run the job: let this process look for due pairs of its queue."""
    if _work is not None and _work():
        with connect_sync(_redis_url) as client:
            enqueue(client, [queue_name])


_redis_url = ""


def enqueue(client: redis.Redis, queues: Iterable[str]) -> None:
    """Put one wake-up into each queue.

    Raises:
        redis.RedisError: no worker was woken; the ticker will wake one.
    """
    for name in queues:
        target = Queue(name, connection=client, serializer=JSONSerializer)
        target.enqueue_many(
            [
                Queue.prepare_data(
                    _JOB,
                    [name],
                    timeout=-1,
                    result_ttl=0,
                    failure_ttl=0,
                    ttl=_JOB_TTL_S,
                    job_id=uuid.uuid4().hex,
                )
            ]
        )


class Waker:
    """Wakes workers from its own thread. It never blocks and never raises; the ticker repeats what fails."""

    def __init__(self, redis_url: str) -> None:
        self._client = connect_sync(redis_url)
        self._waiting: queue.Queue[list[str] | None] = queue.Queue(_MAX_WAITING)
        self._thread = threading.Thread(target=self._run, name="waker", daemon=True)
        self._thread.start()

    def wake(self, queues: Iterable[str]) -> None:
        names = list(queues)
        if names:
            try:
                self._waiting.put_nowait(names)
            except queue.Full:
                _log.debug("wake_up.dropped", queues=names)

    def close(self) -> None:
        """Send the waiting wake-ups, then end the thread."""
        try:
            self._waiting.put(None, timeout=1.0)
        except queue.Full:
            return
        self._thread.join(5.0)
        self._client.close()

    def _run(self) -> None:
        while (names := self._waiting.get()) is not None:
            try:
                enqueue(self._client, names)
            except Exception as error:  # noqa: BLE001 - the ticker repeats what fails here
                _log.debug("wake_up.failed", queues=names, error=type(error).__name__)


class OneQueueWorker(BaseWorker):
    """An RQ worker that serves one queue and lets its owner handle signals."""

    max_connection_wait_time = 2

    def __init__(self, redis_url: str, queue_name: str) -> None:
        global _redis_url
        _redis_url = redis_url
        client = connect_sync(redis_url)  # not shared, since RQ changes its time-outs
        super().__init__(
            [Queue(queue_name, connection=client, serializer=JSONSerializer)],
            connection=client,
            serializer=JSONSerializer,
            worker_ttl=_WORKER_TTL_S,
            maintenance_interval=_MAINTENANCE_S,
            job_monitoring_interval=_LOOK_S,
            default_result_ttl=0,
            job_class=Job,
            log_job_description=False,
        )

    def stop_soon(self) -> None:
        """End `work` after the current job, or at once when there is none. The signal handler calls this.

        Raises:
            StopRequested: no job is running, so the wait for a wake-up ends here.
        """
        self._stop_requested = True
        if self.get_state() != WorkerStatus.BUSY:
            raise StopRequested

    def _install_signal_handlers(self) -> None:
        """Install none: the process has its own, and RQ's write to Redis inside the handler."""

    def procline(self, message: str) -> None:
        """Leave the process title as the operator started it; RQ would show its state there."""

    def handle_exception(self, job: Job, *exc_info: Any) -> None:
        _log.error("wake_up.failed", error=getattr(exc_info[0], "__name__", "unknown"))


class WakeUpWorker(OneQueueWorker, SimpleWorker):
    """Runs wake-ups in the worker process itself."""


class ForkingWorker(OneQueueWorker, Worker):
    """Forks a process for every wake-up, and kills it when it exceeds its time.

    Args:
        longest_s: maximum lifetime of such a process, in seconds.
    """

    def __init__(self, redis_url: str, queue_name: str, *, longest_s: float) -> None:
        super().__init__(redis_url, queue_name)
        self._longest_s = longest_s
        self._forked_s = 0.0

    def subscribe(self) -> None:
        """Do not listen for commands: RQ would use a thread, and a forking process must have none."""

    def fork_work_horse(self, job: Job, queue: Queue) -> None:
        self._forked_s = time.monotonic()
        super().fork_work_horse(job, queue)

    def maintain_heartbeats(self, job: Job, execution: Any) -> None:
        if time.monotonic() - self._forked_s > self._longest_s:
            _log.error("process.killed", process="isolated", reason="it outlived its time")
            self.kill_horse()
        with contextlib.suppress(redis.RedisError):  # the fork still has to be supervised
            super().maintain_heartbeats(job, execution)

    def handle_work_horse_killed(self, job: Job, retpid: int, ret_val: int, rusage: Any) -> None:
        _log.warning("process.died", process="isolated", exit_code=os.waitstatus_to_exitcode(ret_val or 0))

    def stop_soon(self) -> None:
        if self.horse_pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.horse_pid, signal.SIGTERM)
        super().stop_soon()

    def teardown(self) -> None:
        if self.horse_pid and not self.is_horse:
            self.kill_horse()
            self.wait_for_horse()
        super().teardown()  # type: ignore[no-untyped-call]
