"""Settings about the event log: the Redis that holds it, how durable it is, and how long it keeps what."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr

from eventlog.connection import credentials
from eventlog.connection.connect import check_url
from eventlog.durability import check_durability
from eventlog.retention import Keep
from receiver.setting_types import Section


def _redis_url(value: SecretStr) -> SecretStr:
    check_url(value.get_secret_value())
    return value


def _credentials(value: str) -> str:
    credentials.load(value)
    return value


def _prefix(value: str) -> str:
    part = "[A-Za-z0-9._-]"
    if not re.fullmatch(rf"(?!:){part}*(\{{{part}+\}}{part}*)?:", value):
        raise ValueError("must be letters, digits, '.', '_' or '-' (a part may be in {}) and end with ':'")
    return value


class EventLogSettings(Section):
    """Where the log is, and what it keeps."""

    redis_url: Annotated[SecretStr, AfterValidator(_redis_url)] | None = Field(
        None,
        description="`redis://`, `rediss://`, `unix://`, `redis+sentinel://host:port,.../SERVICE` or "
        "`redis+cluster://host:port,...`; embedded in `demo`, `dev` and `run` when unset",
    )
    redis_credentials: Annotated[str, AfterValidator(_credentials)] | None = Field(
        None,
        description="`module:function` that returns user and password for each new connection to Redis, such as a "
        "token that expires (unset: those of `AWR_REDIS_URL`)",
    )
    evicting_redis: Literal["accept-loss"] | None = Field(
        None,
        description="`accept-loss` to start on a Redis whose `maxmemory-policy` is not `noeviction`, and may delete "
        "accepted events",
    )
    key_prefix: Annotated[str, AfterValidator(_prefix)] = Field(
        "awr:",
        description="prefix of every Redis key, including RQ's; on a cluster `awr:` means `{awr}:`, one hash slot",
    )
    data_dir: Path | None = Field(
        Path("~/.local/state/ampeco-receiver"),
        description="folder of the embedded store, of this user alone; `$STATE_DIRECTORY` or `$XDG_STATE_HOME` "
        "changes the default",
    )
    lanes: int = Field(16, ge=1, le=1024, description="number of lanes, fixed for the life of a log")
    durability: Annotated[str, AfterValidator(check_durability)] = Field(
        "always",
        description="when an event counts as accepted: `always` or `everysec` (Redis's `appendfsync`), or "
        "`replicated:n` (n replicas have it)",
    )
    duplicate_hours: int = Field(
        24, ge=1, le=168, description="hours during which an equal body counts as a duplicate"
    )
    keep_hours: int = Field(24, ge=1, le=8760, description="minimum hours for which an event is kept")
    log_max_bytes: int = Field(
        1 << 30,
        ge=1 << 20,
        le=1 << 50,
        description="bytes that the log may use in Redis: events, open deliveries, dead letters, the quarantine, the "
        "duplicate window, the history, once-only steps, timers, states and counters",
    )
    history_days: int = Field(7, ge=1, le=365, description="days for which the outcome of an event is kept")
    ledger_days: int = Field(
        30, ge=1, le=365, description="days for which the once-only steps of a settled event are kept"
    )
    entity_keys_file: Path | None = Field(
        None, description="JSON file that names, for each type, the payload field with the entity key"
    )

    @property
    def keep(self) -> Keep:
        """How much of the log retention keeps."""
        return Keep(self.keep_hours, self.log_max_bytes, self.history_days, self.duplicate_hours)

    @property
    def may_evict(self) -> bool:
        """Whether the operator accepts a Redis that may delete events."""
        return self.evicting_redis is not None
