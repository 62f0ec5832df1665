"""Whose log this is: tenant, number of lanes, entity key rules, and the Redis process that holds it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eventlog.connection.cluster import is_followed
from eventlog.connection.credentials import without_login
from eventlog.errors import LogMismatch
from eventlog.lag import count_waiting
from eventlog.registry import handler_names, handlers
from eventlog.server import SAFE_POLICY, server

if TYPE_CHECKING:
    from eventlog.log import EventLog

_OLDEST_REDIS = 7
_KEY_RULES = "key_rules"


async def claim(log: EventLog, tenant_url: str, rules_version: str) -> None:
    """Record whose log this is at the first start; later, check that it still is.

    Args:
        tenant_url: the tenant; empty to leave it out.
        rules_version: version of the entity key rules; empty to leave it out.

    Raises:
        LogMismatch: the log has another tenant, number of lanes or entity key rules, or the server cannot hold a log.
    """
    await _check_server(log)
    ours = {"url": tenant_url, "lanes": str(log.lanes), _KEY_RULES: rules_version}
    known = await _record(log, {name: value for name, value in ours.items() if value})
    if tenant_url and known["url"] != tenant_url:
        raise _other_tenant(log, known["url"], tenant_url)
    if known["lanes"] != str(log.lanes):
        raise LogMismatch(
            "AWR_LANES",
            f"the log has {known['lanes']} lanes, not {log.lanes}",
            f"set AWR_LANES={known['lanes']}; the number is fixed for the life of a log",
        )
    if rules_version and known[_KEY_RULES] != rules_version:
        await count_waiting(log, await handler_names(log), most=None)
        unsettled = [one for one in await handlers(log) if one.waiting or one.open]
        if unsettled:
            named = ", ".join(f"{one.name} ({one.waiting + one.open})" for one in unsettled)
            raise LogMismatch(
                "AWR_ENTITY_KEYS_FILE",
                f"the log was written under entity key rules {known[_KEY_RULES]}, this program or its file has "
                f"{rules_version}, and events are unsettled: {named}",
                "stop the receivers, let workers of the version that ran before finish until `handlers list` "
                "shows nothing waiting or open, then start this one",
            )
        await _record(log, {_KEY_RULES: rules_version}, replace=True)


async def check_tenant(log: EventLog, tenant_url: str) -> None:
    """Check, without a claim, that the log is this tenant's, or has none yet.

    Raises:
        LogMismatch: it is another tenant's.
    """
    found = await log.redis.hget(log.key("tenant"), "url")
    if found is not None and found.decode() != tenant_url:
        raise _other_tenant(log, found.decode(), tenant_url)


def _other_tenant(log: EventLog, known: str, tenant_url: str) -> LogMismatch:
    return LogMismatch(
        "AWR_TENANT_URL",
        f"the log under prefix {log.prefix!r} belongs to {without_login(known)}, not to {tenant_url}",
        "set AWR_KEY_PREFIX or AWR_REDIS_URL to a log of its own",
    )


async def _record(log: EventLog, facts: dict[str, str], *, replace: bool = False) -> dict[str, str]:
    """Record facts about the log, unless others are recorded, and return all. A full server takes them too."""
    arguments = [part for name, value in facts.items() for part in (name, value, "1" if replace else "")]
    found = [part.decode() for part in await log.scripts.claim(args=[log.prefix, *arguments])]
    return dict(zip(found[::2], found[1::2], strict=True))


async def lanes_kept(log: EventLog) -> int | None:
    """Return the number of lanes that the log was made with; None before the first claim."""
    found = await log.redis.hget(log.key("tenant"), "lanes")
    return int(found) if found else None


async def recorded(log: EventLog) -> dict[str, str]:
    """Return the facts that the first claim recorded: `url` of the tenant, `lanes`, `key_rules`; empty before it."""
    names = ("url", "lanes", _KEY_RULES)
    found = await log.redis.hmget(log.key("tenant"), names)
    return {name: value.decode() for name, value in zip(names, found, strict=True) if value is not None}


async def check_rules(log: EventLog, rules_version: str) -> None:
    """Check that the log is written under these entity key rules; change nothing.

    Raises:
        LogMismatch: it is not.
    """
    found = await log.redis.hget(log.key("tenant"), _KEY_RULES)
    if found is not None and found.decode() != rules_version:
        raise LogMismatch(
            "AWR_ENTITY_KEYS_FILE",
            f"the log is written under entity key rules {found.decode()[:40]}, and this command has {rules_version}",
            "run the command with the file and the version of the receivers",
        )


async def _check_server(log: EventLog) -> None:
    found = await server(log)
    if found.is_cluster and not is_followed(log.redis):
        raise one_node()
    if int(found.version.split(".")[0]) < _OLDEST_REDIS:
        raise LogMismatch(
            "AWR_REDIS_URL", f"is Redis {found.version}", f"use Redis {_OLDEST_REDIS}.0 or newer, or Valkey"
        )
    if found.evicts and not log.may_evict:
        raise LogMismatch(
            "AWR_REDIS_URL",
            f"this Redis may delete accepted events to make room (maxmemory-policy {found.policy})",
            f"set maxmemory-policy {SAFE_POLICY} there, or AWR_EVICTING_REDIS=accept-loss here",
        )


def one_node() -> LogMismatch:
    """Return the error for a plain URL that names one node of a cluster, which need not own the log's slot."""
    return LogMismatch(
        "AWR_REDIS_URL",
        "names one node of a Redis Cluster",
        "write redis+cluster://host:port or rediss+cluster://host:port",
    )
