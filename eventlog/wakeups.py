"""Wake-ups through RQ: a job wakes the workers of one queue and carries no data.

Only this module knows RQ's options. Jobs use JSON and random ids, and leave nothing behind when they finish.
RQ's key prefix comes from `RQ_KEY_PREFIX`, which has to be set before this module is imported.
"""

from __future__ import annotations

import contextlib
import math
import os
import queue
import random
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NoReturn, cast

import redis
import structlog
from rq import Queue
from rq.exceptions import StopRequested
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.suspension import WORKERS_SUSPENDED
from rq.utils import now
from rq.worker import BaseWorker
from rq.worker_registration import clean_worker_registry

from eventlog.connection.connect import connect_sync
from eventlog.wake_up_job import NAME, Refused, take

_WORKER_TTL_S = 25
_JOB_TTL_S = 60  # by then the ticker has sent another one
_MOST_JOBS = 1_000
_MAX_WAITING = 1_000
_MAINTENANCE_S = 30
_WAIT_S = 2  # for a wake-up: less than the socket's time-out, and than a worker may take to stop
_BEAT_S = 10.0
_REPORT_S = 1.0
_LOOK_S = 0.02  # how often a fork is checked

_log = structlog.get_logger()
_work: Callable[[], bool] | None = None


def attach(work: Callable[[], bool] | None) -> None:
    """Set what a wake-up does in this process. `work` returns whether there is more to do."""
    global _work
    _work = work


def _run_work() -> bool:
    try:
        return _work is not None and _work()
    except StopRequested:
        raise
    except Exception as error:  # noqa: BLE001 - the next wake-up may succeed
        _log.error("wake_up.failed", error=type(error).__name__)
        return False


def enqueue(client: redis.Redis, queues: Iterable[str]) -> None:
    """Put one wake-up into each queue.

    Raises:
        redis.RedisError: no worker was woken; the ticker will wake one.
    """
    for name in queues:
        target = Queue(name, connection=client, serializer=JSONSerializer)
        job = Queue.prepare_data(
            NAME,
            [name],
            timeout=-1,
            result_ttl=0,
            failure_ttl=0,
            ttl=_JOB_TTL_S,
            job_id=uuid.uuid4().hex,
        )
        try:
            if (
                client.llen(target.key) >= _MOST_JOBS
            ):  # without a worker nothing takes them, and they are hints
                client.delete(target.key)
            target.enqueue_many([job])
        except redis.ResponseError as error:
            if _is_wrong_type(error):  # another client made a key of RQ unusable; what lies in them is a hint
                client.unlink(Queue.redis_queues_keys, target.key)
            raise


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
        """Send the waiting wake-ups, then end the thread. With a Redis that hangs, leave it to the process's end."""
        try:
            self._waiting.put(None, timeout=1.0)
        except queue.Full:
            return
        self._thread.join(2.0)
        self._client.close()

    def _run(self) -> None:
        while (names := self._waiting.get()) is not None:
            try:
                enqueue(self._client, names)
            except Exception as error:  # noqa: BLE001 - the ticker repeats what fails here
                _log.debug("wake_up.failed", queues=names, error=type(error).__name__)


class OneQueueWorker(BaseWorker):
    """An RQ worker that serves one queue, takes nothing but wake-ups, and lets its owner handle signals.

    From RQ it has the queue and the list of workers (`rq info`). RQ's own loop would run what a job names, obey
    commands and `rq suspend`, and wait for a missing Redis without an end.
    """

    def __init__(self, redis_url: str, queue_name: str) -> None:
        client = connect_sync(redis_url, timeout_s=_WAIT_S + 2.0)
        super().__init__(
            [Queue(queue_name, connection=client, serializer=JSONSerializer)],
            connection=client,
            serializer=JSONSerializer,
            worker_ttl=_WORKER_TTL_S,
            maintenance_interval=_MAINTENANCE_S,
            log_job_description=False,
        )
        self._redis_url = redis_url
        self.on_turn: Callable[[], None] = lambda: None  # called every few seconds
        self._at_work = False
        self._beaten_s = -_BEAT_S
        self._suspended = False
        self._refused = 0
        self._reported_s = -_REPORT_S

    def _set_connection(self, connection: redis.Redis) -> redis.Redis:
        """Keep the short time-outs, which RQ would raise to 20 s."""
        return connection

    def work(self, *_: Any, **__: Any) -> bool:
        """Take wake-ups until `stop_soon`. The arguments are RQ's and have no meaning here.

        Raises:
            StopRequested: `stop_soon` was called while nothing was at work.
            redis.RedisError: Redis does not answer.
        """
        try:
            with _any_type():
                self.register_birth()  # type: ignore[no-untyped-call]
            while not self._stop_requested:
                self.on_turn()
                self._beat()
                if self._next():
                    self._at_work = True
                    try:
                        self.wake_up()
                    finally:
                        self._at_work = False
        finally:
            self._unlist()
        return True

    def wake_up(self) -> None:
        """Do what a wake-up asks for."""
        raise NotImplementedError

    def stop_soon(self) -> None:
        """End `work` after the current wake-up, or at once when there is none. The signal handler calls this.

        Raises:
            StopRequested: no wake-up is at work, so the wait for one ends here.
        """
        self._stop_requested = True
        if not self._at_work:
            raise StopRequested

    def _next(self) -> bool:
        """Wait a short time for a wake-up."""
        (queue,) = self.queues
        try:
            taken = self.connection.blpop([queue.key], _WAIT_S)
        except redis.ResponseError as error:
            if not _is_wrong_type(error):
                raise
            self.connection.unlink(queue.key)
            self._refuse("not-a-queue")
            return False
        if taken is None:
            return False
        try:
            entry = cast("bytes", taken[1])
            return take(self.connection, Job.redis_job_namespace_prefix, entry, queue.name)
        except Refused as refused:
            self._refuse(str(refused))
            return False

    def _refuse(self, reason: str) -> None:
        """Log at most one line a second."""
        self._refused += 1
        if time.monotonic() - self._reported_s >= _REPORT_S:
            self._reported_s = time.monotonic()
            _log.warning(
                "wake_up.refused", queue=self.queues[0].name, reason=reason, refused_so_far=self._refused
            )

    def _beat(self) -> None:
        """Now and then: stay in the list of workers, remove killed ones, see whether RQ was suspended."""
        if time.monotonic() - self._beaten_s < _BEAT_S:
            return
        self._beaten_s = time.monotonic()
        with _any_type():
            self.heartbeat()
        suspended = bool(self.connection.exists(WORKERS_SUSPENDED))
        if suspended and not self._suspended:
            _log.warning("wake_up.suspension_ignored", key=WORKERS_SUSPENDED)
        self._suspended = suspended
        if self.should_run_maintenance_tasks:
            self.run_maintenance_tasks()

    def run_maintenance_tasks(self) -> None:
        """Remove killed workers from the list, and what workers of the previous release left behind."""
        (queue,) = self.queues
        with _any_type():
            clean_worker_registry(queue)
        self.connection.unlink(queue.intermediate_queue_key, queue.started_job_registry.key)
        self.last_cleaned_at = now()  # type: ignore[assignment]

    def _unlist(self) -> None:
        """Leave the list of workers. Redis may hang, and this process has little time to end."""
        self.connection.close()
        with (
            contextlib.suppress(redis.RedisError, OSError),
            connect_sync(self._redis_url, timeout_s=1.0) as last,
        ):
            self.connection = last
            self.register_death()  # type: ignore[no-untyped-call]


@contextlib.contextmanager
def _any_type() -> Iterator[None]:
    """Ignore that another client made a key of the list of workers unusable. The list is only shown."""
    try:
        yield
    except redis.ResponseError as error:
        if not _is_wrong_type(error):
            raise


def _is_wrong_type(error: redis.ResponseError) -> bool:
    return "WRONGTYPE" in str(error)  # in a transaction, the number of the command precedes it


class WakeUpWorker(OneQueueWorker):
    """Runs wake-ups in the worker process itself."""

    def wake_up(self) -> None:
        if _run_work():
            enqueue(self.connection, self.queue_names())


class ForkingWorker(OneQueueWorker):
    """Forks a process for every wake-up, and kills it when it exceeds its time.

    Args:
        longest_s: maximum lifetime of such a process, in seconds.
    """

    def __init__(self, redis_url: str, queue_name: str, *, longest_s: float) -> None:
        super().__init__(redis_url, queue_name)
        self._longest_s = longest_s
        self._fork = 0

    @property
    def forked(self) -> bool:
        """Whether a fork runs."""
        return bool(self._fork)

    def wake_up(self) -> None:
        signals = {signal.SIGTERM, signal.SIGINT}
        signal.pthread_sigmask(signal.SIG_BLOCK, signals)  # the fork must not run our handler
        try:
            self._fork = os.fork()
            if not self._fork:
                self._be_the_fork(signals)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
        try:
            status = self._watch(self._fork)
        finally:
            self._fork = 0
        if status:
            _log.warning("process.died", process="isolated", exit_code=os.waitstatus_to_exitcode(status))

    def _be_the_fork(self, signals: set[signal.Signals]) -> NoReturn:
        code = 1
        try:
            os.setpgrp()
            random.seed()
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
            if _run_work():
                # The housekeeping repeats a wake-up that is lost here.
                with contextlib.suppress(redis.RedisError), connect_sync(self._redis_url) as client:
                    enqueue(client, self.queue_names())
            code = 0
        finally:
            os._exit(code)

    def _watch(self, fork: int) -> int:
        """Wait until the fork has ended; kill it when it outlives its time. Return its wait status."""
        with contextlib.suppress(OSError):
            os.setpgid(fork, fork)  # so that a kill right after its birth finds its group
        if self._stop_requested:
            self._ask_fork()  # another thread got the signal while we forked
        end_s = time.monotonic() + self._longest_s
        while True:
            ended, status = os.waitpid(fork, os.WNOHANG)
            if ended:
                return status
            if time.monotonic() > end_s:
                _log.error("process.killed", process="isolated", reason="it outlived its time")
                self._kill(fork)
                end_s = math.inf
            self.on_turn()
            with contextlib.suppress(redis.RedisError, OSError):
                self._beat()
            time.sleep(_LOOK_S)

    def stop_soon(self) -> None:
        if self._fork:
            self._ask_fork()
        super().stop_soon()

    def _ask_fork(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._fork, signal.SIGTERM)

    def _kill(self, fork: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(fork, signal.SIGKILL)
