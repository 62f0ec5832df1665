"""Sends wake-ups: RQ jobs that wake the workers of one queue and carry no data.

Jobs use JSON and random ids, and leave nothing behind when they finish. RQ's key prefix comes from `RQ_KEY_PREFIX`,
which has to be set before this module is imported.
"""

from __future__ import annotations

import queue
import threading
import uuid
from collections.abc import Iterable

import redis
import structlog
from rq import Queue
from rq.job import JobStatus
from rq.serializers import JSONSerializer
from rq.utils import now

from eventlog.connection.connect import connect_sync
from eventlog.scripts import blocking
from eventlog.wake_up_job import NAME

_JOB_TTL_S = 60  # by then housekeeping has sent another one
_MAX_WAITING = 1_000

_log = structlog.get_logger()


def enqueue(client: redis.Redis, queues: Iterable[str]) -> None:
    """Put one wake-up into each queue.

    Raises:
        redis.RedisError: no worker was woken; housekeeping will wake one.
    """
    for name in queues:
        target = Queue(name, connection=client, serializer=JSONSerializer)
        job = target.create_job(
            NAME,
            [name],
            timeout=-1,
            result_ttl=0,
            failure_ttl=0,
            ttl=_JOB_TTL_S,
            job_id=uuid.uuid4().hex,
            status=JobStatus.QUEUED,
        )
        job.enqueued_at = now()
        fields = [part for field in job.to_dict().items() for part in field]
        asked = [Queue.redis_queues_keys, job.key, job.id, _JOB_TTL_S, *fields]
        try:
            blocking(client, "put_wake_up")(keys=[target.key], args=asked)
        except redis.ResponseError as error:
            if is_wrong_type(error):  # another client made a key of RQ unusable; what lies in them is a hint
                client.unlink(Queue.redis_queues_keys, target.key)
            raise


class Waker:
    """Wakes workers from its own thread. It never blocks and never raises; housekeeping repeats what fails."""

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
        """Send the waiting wake-ups, then end the thread. When Redis hangs, the thread ends with the process."""
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
            except Exception as error:  # noqa: BLE001 - housekeeping repeats what fails here
                _log.debug("wake_up.failed", queues=names, error=type(error).__name__)


def is_wrong_type(error: redis.ResponseError) -> bool:
    """Return whether a key of RQ holds something else, which another client wrote."""
    return "WRONGTYPE" in str(error)  # in a transaction, the number of the command precedes it
