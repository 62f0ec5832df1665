"""What can be wrong with a log, apart from Redis itself being away (redis.RedisError passes through).

LogError
├── LogMismatch   the log was made with another setting (tenant, lanes, entity keys)
└── LeaseLost     somebody else drains this (handler, lane) now, or our time ran out
"""


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
