"""Readiness: can this process accept events? A background task checks it; the routes only read the result.

The public port answers `ok` or `not ready`. The admin port gives the reasons.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from redis.exceptions import RedisError

from eventlog.chores import Chores
from eventlog.connection.reasons import reason_of
from eventlog.server import Server
from eventlog.usage import Standing, describe
from receiver.growing_pause import pause_after
from receiver.logging import get_logger
from receiver.metrics import Metrics

MAX_SILENCE_S = 30.0


async def _nothing_counted() -> Standing | None:
    return None


async def _nothing_reported() -> Server | None:
    return None


class Health:
    """The known state of Redis and of the log.

    Attributes:
        redis: `ok`, `not-checked`, or why Redis cannot be used.
        permission: what the ACL user of Redis may not do, if that is why.
        standing: what the log uses of its limits; None if unknown.
        server: what Redis reported last; None if unknown.
        evicted_keys: keys that Redis deleted by itself since this process started.
        registration: returns whether the registration is settled, and its state.
        registration_detail: returns further facts about the registration, for the admin port.
    """

    def __init__(
        self,
        probe: Callable[[], Awaitable[None]],
        claim: Callable[[], Awaitable[None]],
        metrics: Metrics,
        *,
        standing: Callable[[], Awaitable[Standing | None]] = _nothing_counted,
        server: Callable[[], Awaitable[Server | None]] = _nothing_reported,
        may_evict: bool = False,
        clock: Callable[[], float] = time.monotonic,
        log: Any = None,
    ) -> None:
        """
        Args:
            probe: raises unless Redis answers and takes writes.
            claim: raises LogMismatch when the log is not ours.
            standing: returns the size of the log, and whether it is full.
            server: returns what Redis reports about itself.
            may_evict: be ready on a Redis that may delete events, too.
        """
        self._probe = probe
        self._claim = claim
        self._metrics = metrics
        self._ask_standing = standing
        self._ask_server = server
        self._may_evict = may_evict
        self._chores = Chores()
        self._clock = clock
        self._log = log if log is not None else get_logger(__name__)
        self._silent_until = 0.0
        self._reports = 0
        self.redis = "not-checked"
        self.claimed = False
        self.permission = ""
        self.standing: Standing | None = None
        self.server: Server | None = None
        self.evicted_keys = 0
        self.stopping = False
        self.registration: Callable[[], tuple[bool, str]] = lambda: (True, "off")
        self.registration_detail: Callable[[], dict[str, Any]] = dict

    async def check(self) -> bool:
        """Return whether Redis takes writes, the log is ours, and it has room.

        Raises:
            LogMismatch: the log belongs to another tenant or setting; the process must end.
        """
        try:
            await self._probe()
            if not self.claimed:
                await self._claim()
                self.claimed = True
            self._stand(await self._chores.run("standing", self._ask_standing()))
            self._watch_eviction(await self._ask_server())
        except (RedisError, OSError) as error:
            self._away(error)
        else:
            if self._reports:
                self._log.info("redis.recovered")
            self._reports, self._silent_until, self.redis, self.permission = 0, 0.0, "ok", ""
        self._metrics.ready.set(not self.reasons())
        return self.redis == "ok" and not self.full and not self.evicts

    @property
    def evicts(self) -> bool:
        """Whether the endpoint must refuse events, because Redis might delete them."""
        return not self._may_evict and self.server is not None and self.server.evicts

    @property
    def full(self) -> str:
        """Why the log takes no more events; empty when there is room."""
        return self.standing.full if self.standing is not None else ""

    def _stand(self, found: Standing | None) -> None:
        was_full, self.standing = self.full, found
        if self.full and not was_full:
            self._log.error("log.full", reason=self.full)
        elif was_full and not self.full:
            self._log.info("log.has_room")
        if found is not None:
            self._metrics.stands(found)

    def _watch_eviction(self, found: Server | None) -> None:
        if found is None:
            return
        before, self.server = self.server, found
        if found.evicts and not self._may_evict and (before is None or not before.evicts):
            self._log.error("redis.may_evict", policy=found.policy)
        if before is None:
            return
        is_same = found.run_id == before.run_id and found.evicted_keys >= before.evicted_keys
        gone = found.evicted_keys - (before.evicted_keys if is_same else 0)
        if gone:
            self.evicted_keys += gone
            self._log.error("redis.evicted", keys=gone, policy=found.policy)

    def _away(self, error: Exception) -> None:
        reason = reason_of(error)
        self.redis, self.permission = reason.slug, reason.permission
        self._metrics.redis_failed.labels(reason.slug).inc()
        if self._clock() >= self._silent_until:
            pause_s = pause_after(self._reports, first=1.0, longest=MAX_SILENCE_S)
            self._silent_until = self._clock() + pause_s
            self._reports += 1
            self._log.warning("redis.unreachable", **reason.fields(error), next_report_s=pause_s)

    def reasons(self) -> list[str]:
        """Return why this process is not ready; empty when it is."""
        found = []
        if self.stopping:
            found.append("stopping")
        if self.redis != "ok":
            found.append(self.redis)
        if not self.claimed:
            found.append("log-not-claimed")
        if self.full:
            found.append("log-full")
        if self.evicts:
            found.append("redis-evicts")
        settled, state = self.registration()
        if not settled:
            found.append(f"registration-{state}")
        return found

    def report(self, key_ids: Sequence[str]) -> dict[str, Any]:
        """Return the whole state for the admin port. `key_ids` are those of the accepted signing keys."""
        reasons = self.reasons()
        return {
            "ready": not reasons,
            "reasons": reasons,
            "redis": self.redis,
            "redis_permission": self.permission or None,
            "evicted_keys": self.evicted_keys,
            "log_claimed": self.claimed,
            "log": describe(self.standing) if self.standing is not None else None,
            "registration": self.registration()[1],
            **_NO_DETAIL,
            **self.registration_detail(),
            "accepted_key_ids": list(key_ids),
        }


_NO_DETAIL: dict[str, Any] = {"registration_detail": None, "registration_confirmed_at": None}
_UNKNOWN: dict[str, Any] = {
    "redis": "not-checked",
    "redis_permission": None,
    "evicted_keys": 0,
    "log_claimed": False,
    "log": None,
    "registration": "unknown",
    **_NO_DETAIL,
    "accepted_key_ids": [],
}


def together(reports: Sequence[dict[str, Any]], missing: Sequence[str] = ()) -> dict[str, Any]:
    """Merge the reports of several processes behind one port. The result is ready only if every process is.

    Args:
        reports: of the processes that answered, as `Health.report` makes them.
        missing: one reason for each process that did not answer.

    Returns:
        A report with all reasons. Redis, log and registration come from a process that is not ready, if there
        is one. It names the keys that every process accepts, and in `processes` their number.
    """
    worst = min(reports, key=lambda report: bool(report["ready"]), default=_UNKNOWN)
    reasons = dict.fromkeys([*missing, *(reason for report in reports for reason in report["reasons"])])
    return {
        "ready": not reasons,
        "reasons": list(reasons),
        **{name: worst[name] for name in _UNKNOWN},
        "log_claimed": bool(reports) and all(report["log_claimed"] for report in reports),
        "accepted_key_ids": [
            key_id
            for key_id in worst["accepted_key_ids"]
            if all(key_id in report["accepted_key_ids"] for report in reports)
        ],
        "processes": len(reports) + len(missing),
    }
