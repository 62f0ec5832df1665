"""What the Redis server reports about itself. INFO works where CONFIG is forbidden."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eventlog.log import EventLog

SAFE_POLICY = "noeviction"


@dataclass(frozen=True)
class Server:
    """One answer to INFO.

    Attributes:
        version: of Redis, or the one that a compatible server names.
        run_id: identity of the running process; a restart or failover changes it.
        policy: `maxmemory-policy`; empty where it is not reported.
        keeps_file: whether the append-only file is on; None where it is not reported.
        evicted_keys: how many keys this process has evicted since its start.
    """

    version: str
    run_id: str
    role: str
    is_cluster: bool
    policy: str
    keeps_file: bool | None
    evicted_keys: int

    @property
    def evicts(self) -> bool:
        """Return whether the server may delete keys of the log by itself."""
        return self.policy not in ("", SAFE_POLICY)


async def server(log: EventLog) -> Server:
    """Ask the server.

    Raises:
        redis.RedisError, OSError: it does not answer, or forbids INFO.
    """
    return server_of(await log.redis.info())


def server_of(found: Mapping[str, Any]) -> Server:
    """Read the answer to INFO."""
    return Server(
        version=str(found.get("redis_version", "0")),
        run_id=str(found.get("run_id", "")),
        role=str(found.get("role", "")),
        is_cluster=bool(found.get("cluster_enabled")),
        policy=str(found.get("maxmemory_policy", "")),
        keeps_file=bool(found["aof_enabled"]) if "aof_enabled" in found else None,
        evicted_keys=int(found.get("evicted_keys", 0)),
    )
