"""The claim on the log: a log belongs to one tenant, with one set of entity key rules."""

from __future__ import annotations

import contextlib

from redis.exceptions import RedisError

from ampeco.notifications import DEFAULT_RULES, EntityKeyRules
from eventlog.connection.connect import connect
from eventlog.log import EventLog
from receiver.errors import SettingsError
from receiver.settings import Settings


def rules_of(settings: Settings) -> EntityKeyRules:
    """Load the entity key rules of the settings; refuse a file that cannot be used."""
    if settings.entity_keys_file is None:
        return DEFAULT_RULES
    try:
        return EntityKeyRules.load(settings.entity_keys_file)
    except ValueError as error:
        raise SettingsError("AWR_ENTITY_KEYS_FILE", str(error), "fix the file") from None


async def claim(settings: Settings, redis_url: str) -> None:
    """Claim the log before child processes start, so that a mismatch is reported once instead of by each child.

    Raises:
        LogMismatch: the log belongs to another tenant or setting.
        SettingsError: the entity key file cannot be used.
    """
    rules = rules_of(settings)
    async with connect(redis_url) as redis:
        log = EventLog(redis, prefix=settings.key_prefix, lanes=settings.lanes, may_evict=settings.may_evict)
        with contextlib.suppress(RedisError, OSError):  # the children wait for Redis, and log it
            await log.claim(settings.tenant_url or "", rules.version)
