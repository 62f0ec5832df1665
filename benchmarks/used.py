"""What some deliveries or accepted events used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import redis


@dataclass(frozen=True)
class Used:
    """How many in a second, and microseconds of processor time for each: of our processes, and of Valkey."""

    per_s: float
    ours_us: float = 0.0
    redis_us: float = 0.0

    @classmethod
    def between(cls, began: tuple[float, float, float], ended: tuple[float, float, float], many: int) -> Used:
        """From two readings, each the time, our processor time and that of Valkey, in seconds."""
        wall_s, ours_s, theirs_s = (after - before for before, after in zip(began, ended, strict=True))
        return cls(many / wall_s, ours_s / max(1, many) * 1e6, theirs_s / max(1, many) * 1e6)


def redis_s(client: redis.Redis) -> float:
    """Return the processor seconds of the server's main thread so far."""
    used: Any = client.info("cpu")
    return float(used["used_cpu_user_main_thread"] + used["used_cpu_sys_main_thread"])
