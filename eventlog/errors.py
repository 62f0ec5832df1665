"""What can be wrong with a log, apart from Redis itself being away (redis.RedisError passes through).

LogError
├── LogMismatch      the log was made with another setting (tenant, lanes, entity keys)
├── LeaseLost        somebody else drains this (handler, lane) now, or our time ran out
├── UnknownName      no handler, event or dead letter of that name is in this log
└── ChangeRefused    a handler's position cannot be changed so, as things are

NotReplicated is one of Redis's errors: whoever is ready for Redis being away is ready for it.
"""

from redis.exceptions import RedisError


class LogError(Exception):
    """Base of this room's errors."""

    reason = "log-error"


class LogMismatch(LogError):
    """The log in this Redis was made with a setting that ours contradicts.

    Attributes:
        setting: name of our setting.
        mend: what to do, in one sentence.
    """

    reason = "log-mismatch"

    def __init__(self, setting: str, fault: str, mend: str) -> None:
        super().__init__(f"{setting}: {fault}; {mend}")
        self.setting = setting
        self.mend = mend


class LeaseLost(LogError):
    """We hold the lease no longer: nothing more may be settled or started for this (handler, lane)."""

    reason = "lease-lost"


class UnknownName(LogError):
    """Somebody asks for what is not in this log; the text says what is."""

    reason = "unknown-name"


class ChangeRefused(LogError):
    """A change of a handler's position that would do harm as things are; the text ends with the mend."""

    reason = "change-refused"


class NotReplicated(RedisError):
    """What was written is on the server, and on fewer replicas than was asked for."""

    reason = "not-replicated"
