"""The fence around RQ's jobs: a wake-up is accepted only if it does nothing but wake the queue it lies in.

RQ imports and runs what a job names. Its callbacks, dependencies, repeats and webhooks do the same. Here a job is
data: it is compared with the only one we write, and no name in it is ever imported. Every part that is read has a
maximum size.
"""

from __future__ import annotations

import json
import re
import zlib
from typing import Any

import redis

from eventlog.scripts import blocking

NAME = "workers.jobs.drain"  # what workers of the previous release import
_NAMES = (NAME, "eventlog.wakeups.drain")  # the second one is for the release that enqueues it

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_MOST_BYTES = 4096  # of data, packed and unpacked
_CALLBACKS = ("success_callback_name", "failure_callback_name", "stopped_callback_name")
_FIELDS = (
    "created_at",
    "data",
    "description",
    "ended_at",
    "enqueued_at",
    "failure_ttl",
    "group_id",
    "last_heartbeat",
    "origin",
    "result_ttl",
    "started_at",
    "status",
    "timeout",
    "ttl",
    "worker_name",
)


class Refused(Exception):
    """A job is not one of our wake-ups. The text is the reason."""


def take(client: redis.Redis, keys: str, entry: bytes, queue: str) -> bool:
    """Delete the job that a queue entry names, and check that it is a wake-up of this queue.

    Args:
        keys: what the keys of jobs begin with.
        entry: the entry, as it was taken from the queue.
        queue: the name of the queue.

    Returns:
        False if there is no such job any more.

    Raises:
        Refused: the job asks for anything else.
        redis.RedisError: it could not be read.
    """
    text = entry.decode("latin-1")
    if _ID.fullmatch(text) is None:
        raise Refused("malformed-id")
    found: list[bytes] | None = blocking(client, "take_wake_up")(
        keys=[keys + text], args=[_MOST_BYTES, len(_CALLBACKS), *_CALLBACKS, *_FIELDS]
    )
    if found is None:
        return False
    if found[0]:
        raise Refused(found[0].decode())
    _check(_unpacked(found[1]), queue)
    return True


def _unpacked(data: bytes) -> Any:
    try:
        return json.loads(zlib.decompressobj().decompress(data, _MOST_BYTES))
    except (ValueError, RecursionError, zlib.error):
        raise Refused("unreadable") from None


def _check(call: Any, queue: str) -> None:
    """Check that a call is ours: its function, instance, arguments and keyword arguments."""
    if not isinstance(call, list) or len(call) != 4:
        raise Refused("unreadable")
    function, instance, arguments, keywords = call
    if function not in _NAMES or instance is not None:
        raise Refused("other-function")
    if arguments != [queue] or keywords != {}:
        raise Refused("other-arguments")
