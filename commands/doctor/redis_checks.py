"""Checks of Redis: can the log live there, and is it as durable as configured?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from commands.doctor.finding import Finding, fault, ok, unknown, warn

if TYPE_CHECKING:
    from commands.doctor.deployment import Deployment

_OLDEST = 7
_SLOW_PING_S, _SLOW_WRITE_S, _LONGEST_PING_S = 0.01, 0.05, 0.25
_MIB = 1 << 20


async def reachable(about: Deployment) -> Finding:
    """Does Redis answer, with this address, login and TLS?"""
    from eventlog.connection.reasons import reason_of
    from receiver.errors import SettingsError

    try:
        await about.log()
        facts = await about.server()
    except SettingsError as error:
        return fault(f"{error.setting} {error.fault}", error.fix)
    except (RedisError, OSError) as error:
        reason = reason_of(error)
        lacking = f" ({reason.permission})" if reason.permission else ""
        return fault(f"{reason.slug}{lacking}", reason.hint)
    if facts.role == "slave":
        return fault("the address leads to a replica, which takes no writes", "use the address of the master")
    return ok(f"answers as {facts.role or 'a server that names no role'}")


async def rights(about: Deployment) -> Finding:
    """May this user do what receivers and workers do? Every command and an append are tried."""
    from eventlog.connection.reasons import reason_of
    from eventlog.readiness import ready, try_append
    from eventlog.rights import TRIES, missing_rights

    log = await about.log()
    if missing := await missing_rights(log):
        return fault(
            f"this user may not run: {', '.join(missing)}",
            "grant it; `ampeco-receiver doctor --acl` prints the least that is enough",
        )
    try:
        await ready(log)
        await try_append(log)
    except (RedisError, OSError) as error:
        reason = reason_of(error)
        return fault(f"an append is refused: {reason.slug}", reason.hint)
    return ok(f"{len(TRIES)} commands and an append were tried")


async def version(about: Deployment) -> Finding:
    """Is it Redis 7.0 or newer, or Valkey, and not one node of a cluster?"""
    from eventlog.connection.cluster import is_followed

    facts = await about.server()
    if facts.is_cluster and not is_followed((await about.log()).redis):
        return fault(f"{facts.product}, one node of a cluster", "write redis+cluster://host:port")
    if facts.major is None:
        return unknown(
            "the server does not say", f"make sure that it is Redis {_OLDEST}.0 or newer, or Valkey"
        )
    if facts.major < _OLDEST:
        return fault(facts.product, f"use Redis {_OLDEST}.0 or newer, or Valkey")
    return ok(facts.product)


async def append_only_file(about: Deployment) -> Finding:
    """Does Redis keep an append-only file, and does writing it succeed?"""
    facts = await about.server()
    if facts.keeps_file is None:
        return unknown("the server does not say", "ask the provider how data survive a restart")
    if not facts.keeps_file:
        return fault("appendonly is no: a restart of Redis loses accepted events", "set appendonly yes")
    if facts.file_fault:
        return fault(facts.file_fault, "check the disk of Redis, and its log")
    return ok("appendonly is yes")


async def fsync(about: Deployment) -> Finding:
    """Does Redis write to disk as often as AWR_DURABILITY promises?"""
    from eventlog.durability import replicas_of

    wanted, facts = about.settings.durability, await about.server()
    if replicas_of(wanted):
        return ok(f"AWR_DURABILITY={wanted} relies on replicas")
    if facts.fsync is None:
        return unknown("CONFIG is forbidden", f"make sure that appendfsync is {wanted}")
    if facts.fsync in ("always", wanted):
        return ok(f"appendfsync is {facts.fsync}")
    return fault(
        f"appendfsync is {facts.fsync}, weaker than AWR_DURABILITY={wanted}",
        f"set appendfsync {wanted}" + (", or AWR_DURABILITY=everysec" if facts.fsync == "everysec" else ""),
    )


async def eviction(about: Deployment) -> Finding:
    """May Redis delete events by itself?"""
    facts = await about.server()
    if not facts.policy:
        return unknown("the server does not say", "make sure that maxmemory-policy is noeviction")
    if not facts.evicts:
        return ok("maxmemory-policy is noeviction")
    what = f"maxmemory-policy is {facts.policy}: Redis may delete accepted events"
    if about.settings.may_evict:
        return warn(f"{what}, which AWR_EVICTING_REDIS accepts", "set maxmemory-policy noeviction")
    return fault(what, "set maxmemory-policy noeviction")


async def memory(about: Deployment) -> Finding:
    """Is there room for AWR_LOG_MAX_BYTES, and some left for settling?"""
    from eventlog.usage import ROOM_FOR_DRAINING

    facts, budget = await about.server(), about.settings.log_max_bytes
    if facts.max_memory is None:
        return unknown("the server does not say", "make sure that it has room for AWR_LOG_MAX_BYTES")
    used = f"{_mib(facts.used_memory or 0)} in use, AWR_LOG_MAX_BYTES is {_mib(budget)}"
    wanted = (
        f"raise maxmemory to {_mib(round(budget / ROOM_FOR_DRAINING))} at least, or lower AWR_LOG_MAX_BYTES"
    )
    limit = facts.max_memory or facts.system_memory or 0
    name = (
        f"maxmemory is {_mib(limit)}" if facts.max_memory else f"no maxmemory, the machine has {_mib(limit)}"
    )
    if not limit:
        return unknown(f"no maxmemory, {used}", "set a maxmemory that the machine has")
    if budget > limit * ROOM_FOR_DRAINING:
        return (fault if facts.max_memory else warn)(f"{name}; {used}", wanted)
    if facts.max_memory and (facts.used_memory or 0) > limit * ROOM_FOR_DRAINING:
        return fault(f"{name}; {used}", "raise maxmemory, or let workers settle events")
    if not facts.max_memory:
        return warn(
            f"{name}; {used}",
            f"set maxmemory below that, and to {_mib(round(budget / ROOM_FOR_DRAINING))} at least",
        )
    return ok(f"{name}; {used}")


async def replicas(about: Deployment) -> Finding:
    """Are there as many replicas as AWR_DURABILITY needs? Is a master that was replaced kept from taking events?"""
    from eventlog.durability import replicas_of, unguarded_master

    facts, wanted = await about.server(), replicas_of(about.settings.durability)
    if facts.replicas is None:
        return unknown("the server does not say", "ask the provider")
    count = f"{facts.replicas} online"
    if facts.replicas < wanted:
        return fault(
            f"{count}, AWR_DURABILITY={about.settings.durability} needs {wanted}: every event is answered 503",
            "start replicas, or check why they do not follow",
        )
    if unguarded := await unguarded_master((await about.log()).redis):
        return warn(f"{count}; {unguarded}", "set min-replicas-to-write 1 and min-replicas-max-lag 4")
    return ok(count)


async def latency(about: Deployment) -> Finding:
    """How long do calls take from here?"""
    from eventlog.inspection.server_facts import measured_latency

    found = await measured_latency(await about.log())
    what = f"ping {_ms(found.ping_s)} (longest {_ms(found.longest_ping_s)}), a write {_ms(found.write_s)}"
    if found.write_s > max(_SLOW_WRITE_S, 5 * found.ping_s):
        return warn(what, "look at the disk of Redis: with appendfsync always each write waits for it")
    if found.ping_s > _SLOW_PING_S or found.longest_ping_s > _LONGEST_PING_S:
        return warn(what, "bring Redis closer, or look at its slow log and its machine")
    return ok(what)


async def room(about: Deployment) -> Finding:
    """Does the log take events, and how much of its budget is in use?"""
    from eventlog.usage import standing

    found = await standing(await about.log())
    if found is None:
        return ok("nothing has been counted yet: no receiver or worker has run for ten seconds")
    what = f"{_mib(found.bytes)} of {_mib(found.max_bytes)}"
    if found.full:
        return fault(
            f"{what}; full ({found.full}): receivers answer 503",
            "let workers settle events, or raise the limit",
        )
    if found.is_tight:
        return warn(
            what, "see `status` for handlers that are behind; raise AWR_LOG_MAX_BYTES if that is usual"
        )
    return ok(what)


async def size(about: Deployment) -> Finding:
    """Does AWR_KEEP_HOURS at the rate of the last hour fit into AWR_LOG_MAX_BYTES?"""
    from commands.forecast_words import forecast_words
    from eventlog.inspection.forecast import forecast
    from eventlog.rates import samples
    from eventlog.usage import standing

    log = await about.log()
    found = await forecast(log, about.settings.keep, await samples(log), await standing(log))
    if found is None:
        return ok("too few events in the last hour to say")
    if found.fits:
        return ok(forecast_words(found))
    return warn(forecast_words(found), "raise AWR_LOG_MAX_BYTES (and maxmemory), or lower AWR_KEEP_HOURS")


def _mib(count: int) -> str:
    return f"{count / _MIB:,.0f} MiB"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"
