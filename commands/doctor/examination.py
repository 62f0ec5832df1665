"""Runs all checks, one after the other, each within a bounded time. None depends on another to have passed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from commands.doctor import (
    callback_checks,
    clock_checks,
    configured,
    fleet_checks,
    redis_checks,
    tenant_checks,
)
from commands.doctor.deployment import Deployment
from commands.doctor.finding import Check, Finding, NotChecked, unknown

if TYPE_CHECKING:
    from collections.abc import Mapping

CHECK_S = 10.0

CHECKS: Mapping[str, Check[Deployment]] = {
    "settings": configured.settings,
    "keys": configured.keys,
    "redis": redis_checks.reachable,
    "redis-rights": redis_checks.rights,
    "redis-version": redis_checks.version,
    "redis-append-only-file": redis_checks.append_only_file,
    "redis-fsync": redis_checks.fsync,
    "redis-eviction": redis_checks.eviction,
    "redis-memory": redis_checks.memory,
    "redis-replicas": redis_checks.replicas,
    "redis-latency": redis_checks.latency,
    "redis-clock": clock_checks.against_redis,
    "log-room": redis_checks.room,
    "log-size": redis_checks.size,
    "tenant": tenant_checks.tenant,
    "tenant-clock": clock_checks.against_tenant,
    "token": tenant_checks.token,
    "token-rights": tenant_checks.token_rights,
    "api-budget": tenant_checks.api_budget,
    "registration": tenant_checks.registration,
    "callback-url": callback_checks.reachable,
    "callback-certificate": callback_checks.certificate,
    "handlers": fleet_checks.handlers,
    "versions": fleet_checks.versions,
    "rq": fleet_checks.rq,
}


@dataclass(frozen=True)
class Checked:
    """A finding, by which check, and how long that took."""

    name: str
    finding: Finding
    seconds: float


async def examine(
    about: Deployment, *, check_s: float = CHECK_S, only: Collection[str] = ()
) -> AsyncIterator[Checked]:
    """Run every check (or only those of some names), and yield what each finds."""
    for name, check in CHECKS.items():
        if only and name not in only:
            continue
        started = time.perf_counter()
        finding = await _found(check, about, check_s)
        yield Checked(name, finding, time.perf_counter() - started)


async def _found(check: Check[Deployment], about: Deployment, check_s: float) -> Finding:
    import httpx2

    from ampeco.errors import ApiError
    from eventlog.connection.reasons import reason_of
    from receiver.errors import SettingsError

    try:
        async with asyncio.timeout(check_s):
            return await check(about)
    except NotChecked as lacking:
        return unknown(f"not checked: {lacking}")
    except SettingsError as error:
        return unknown(f"not checked: {error.setting} {error.fault}")
    except ApiError as error:
        return unknown(f"not checked: AMPECO's answer is {error.status or error.reason}")
    except httpx2.HTTPError as error:
        return unknown(f"not checked: the tenant does not answer ({type(error).__name__})")
    except TimeoutError:
        return unknown(f"not checked: no answer within {check_s:g} s")
    except (RedisError, OSError) as error:
        return unknown(f"not checked: {reason_of(error).slug}")
    except Exception as error:  # noqa: BLE001 - a fault of ours must not hide what other checks find
        return unknown(
            f"not checked: {type(error).__name__}", "the data of the log may be of another version"
        )
