"""Background work in steps. A step that meets data it cannot read stops no other step, and no process.

Another client of the same Redis may write into our keys: a wrong type, no JSON, a time far in the future. Such data
makes one step fail, again and again. The step is named in one log line a minute, and all others go on.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import structlog
from redis.exceptions import RedisError, ResponseError

from eventlog.connection.reasons import reason_of, said_by_redis
from eventlog.text import bounded

SAID_AGAIN_S = 60.0
HINT = "look at what lies in the keys of the log; did another program write there?"
_CHARS = 200
_ROOMS = ("ampeco", "eventlog", "handlers", "receiver", "workers")

_log = structlog.get_logger()
_T = TypeVar("_T")


def is_about_data(error: Exception) -> bool:
    """Return whether an error comes from what lies in Redis, and not from a Redis that is away or refuses us."""
    if type(error) is ResponseError:  # its subclasses are about the server
        return reason_of(error).slug == "redis-refused"
    return not isinstance(error, (RedisError, OSError))


def described(error: Exception) -> dict[str, str]:
    """Return what a log line says about such an error: its class, its last place in this program, Redis's words."""
    frames = traceback.extract_tb(error.__traceback__)
    root = Path(__file__).resolve().parents[1]
    places = [
        f"{path.relative_to(root)}:{frame.lineno}"
        for frame in frames
        if (path := Path(frame.filename)).is_relative_to(root) and path.parts[len(root.parts)] in _ROOMS
    ]
    found = {"error": type(error).__name__}
    if places:
        found["where"] = places[-1]
    if said := said_by_redis(error):
        found["said"] = bounded(said, _CHARS)
    return found


class Chores:
    """The steps of one background task.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._said_s: dict[str, float] = {}

    async def run(self, name: str, step: Awaitable[_T]) -> _T | None:
        """Await a step, and return what it returns; None when it met data that it cannot read.

        Args:
            name: of the step, for the log line.

        Raises:
            redis.RedisError, OSError: Redis is away, or refuses us.
        """
        try:
            return await step
        except Exception as error:
            if not is_about_data(error):
                raise
            self.report(name, **described(error))
            return None

    def report(self, name: str, **fields: str) -> None:
        """Log that a step met such data, at most once a minute."""
        now_s = self._clock()
        if now_s - self._said_s.get(name, float("-inf")) >= SAID_AGAIN_S:
            self._said_s[name] = now_s
            _log.error("log.unreadable", step=name, hint=HINT, **fields)
