"""Workers that take wake-ups from RQ's queues: in the process itself, and with a fork for each.

Only this module and `waker.py`, which sends wake-ups, know RQ. RQ's key prefix comes from `RQ_KEY_PREFIX`, which has
to be set before either is imported.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any, cast

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
from eventlog.connection.reasons import FULL, reason_of
from eventlog.timed_fork import TimedFork
from eventlog.wake_up_job import Refused, take
from eventlog.waker import enqueue, is_wrong_type

_WORKER_TTL_S = 25
_MAINTENANCE_S = 30
_WAIT_S = 2  # for a wake-up: less than the socket's time-out, and than a worker may take to stop
_BEAT_S = 10.0
_REPORT_S = 1.0

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
        self._listed = False
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
        """Run the work that a wake-up stands for."""
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
            if not is_wrong_type(error):
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
        """Every few seconds, renew the entry in RQ's list, remove killed workers, and check for `rq suspend`."""
        if time.monotonic() - self._beaten_s < _BEAT_S:
            return
        self._beaten_s = time.monotonic()
        with _only_shown():
            if self._listed:
                self.heartbeat()
            else:
                self.register_birth()  # type: ignore[no-untyped-call]
                self._listed = True
        suspended = bool(self.connection.exists(WORKERS_SUSPENDED))
        if suspended and not self._suspended:
            _log.warning("wake_up.suspension_ignored", key=WORKERS_SUSPENDED)
        self._suspended = suspended
        if self.should_run_maintenance_tasks:
            self.run_maintenance_tasks()

    def run_maintenance_tasks(self) -> None:
        """Remove killed workers from the list, and what workers of the previous release left behind."""
        (queue,) = self.queues
        with _only_shown():
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
def _only_shown() -> Iterator[None]:
    """Ignore errors of RQ's list of workers: Redis is full, or another client made a key of the list unusable."""
    try:
        yield
    except redis.ResponseError as error:
        if not is_wrong_type(error) and reason_of(error).slug != FULL:
            raise


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
        self._fork = TimedFork(longest_s)

    @property
    def forked(self) -> bool:
        """Whether a fork runs."""
        return self._fork.runs

    def wake_up(self) -> None:
        self._fork.run(self._in_fork, between=self._turn, is_stopping=lambda: self._stop_requested)

    def _in_fork(self) -> None:
        if _run_work():
            # The housekeeping repeats a wake-up that is lost here.
            with contextlib.suppress(redis.RedisError), connect_sync(self._redis_url) as client:
                enqueue(client, self.queue_names())

    def _turn(self) -> None:
        self.on_turn()
        with contextlib.suppress(redis.RedisError, OSError):
            self._beat()

    def stop_soon(self) -> None:
        self._fork.ask_to_end()
        super().stop_soon()
