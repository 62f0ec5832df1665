"""Warns if the current Redis is less durable than configured."""

from __future__ import annotations

from eventlog.durability import DurabilityUnknown, shortfall, unguarded_master
from eventlog.log import EventLog
from receiver.logging import get_logger

_log = get_logger(__name__)


class DurabilityCheck:
    """The check of one process. It runs at the claim, and again after every failover."""

    def __init__(self, log: EventLog, wanted: str) -> None:
        """
        Args:
            wanted: `AWR_DURABILITY` as the log was opened with it. A changed file counts after a restart.
        """
        self._log = log
        self._wanted = wanted
        self._is_unknown = False

    async def run(self) -> None:
        """Compare what Redis says with what is wanted.

        Raises:
            RedisError, OSError: Redis does not answer.
        """
        weaker = None
        try:
            weaker = await shortfall(self._log, self._wanted)
        except DurabilityUnknown:
            if not self._is_unknown:
                self._is_unknown = True
                _log.warning("redis.durability_unknown", wanted=self._wanted)
        if weaker:
            _log.warning("redis.less_durable", wanted=self._wanted, found=weaker)
        if unguarded := await unguarded_master(self._log.redis):
            _log.warning("redis.less_durable", wanted="min-replicas-to-write >= 1", found=unguarded)
