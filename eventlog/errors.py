"""Errors of the event log. Errors of Redis itself (redis.RedisError) pass through.

LogError
├── LogMismatch      the log was made with another setting (tenant, lanes, entity keys)
├── LeaseLost        another process drains this (handler, lane) now, or our time ran out
├── UnknownName      this log has no handler, event or dead letter of that name
└── ChangeRefused    a handler's position cannot be changed like this now

NotReplicated is a redis.RedisError, so code that handles an unreachable Redis handles it too. UnknownRecord is a
ValueError: what was read from Redis is not in a form that this code knows.
"""

from collections.abc import Iterable

from redis.exceptions import RedisError


class LogError(Exception):
    """Base class of the log's errors."""

    reason = "log-error"


class LogMismatch(LogError):
    """The log in this Redis was made with another setting than ours.

    Attributes:
        setting: name of our setting.
        fix: what to do, in one sentence.
    """

    reason = "log-mismatch"

    def __init__(self, setting: str, fault: str, fix: str) -> None:
        super().__init__(f"{setting}: {fault}; {fix}")
        self.setting = setting
        self.fix = fix


class LeaseLost(LogError):
    """The lease is lost: nothing more may be settled or started for this (handler, lane)."""

    reason = "lease-lost"


class UnknownName(LogError):
    """The log has nothing of this name. The text says what it has.

    Attributes:
        asked: the name, where others like it are known.
        known: these others, so that the nearest one can be suggested.
    """

    reason = "unknown-name"

    def __init__(self, message: str, asked: str = "", known: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.asked = asked
        self.known = tuple(known)


class ChangeRefused(LogError):
    """Changing the handler's position now would do harm. The text ends with the way out."""

    reason = "change-refused"


class NotReplicated(RedisError):
    """The server has the write, but fewer replicas than required have it."""

    reason = "not-replicated"


class UnknownRecord(ValueError):
    """A record of a version, or in a shape, that this code does not know."""
