"""Probes AMPECO while it is away: one elected worker with a token makes one cheap read of our own.

No handler's action is used for this: AMPECO might carry it out without our knowing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import structlog
from redis.exceptions import RedisError

from ampeco.budget import AsyncBudget
from ampeco.client import AsyncClient
from ampeco.errors import ApiError, RateLimited
from ampeco.repeating import RetryPolicy
from eventlog.log import EventLog
from eventlog.outages import AMPECO
from eventlog.schedule import elect_sooner, elected
from workers.config import WorkerConfig
from workers.delivery.raised import where
from workers.delivery.service import failure_of
from workers.drain.service_watch import ServiceWatch

LOOK_S = 0.25
_ONE_PAGE = "/public-api/notifications/v2.0"  # our own notification subscriptions
_PHASE_S, _ANSWER_S = 5.0, 10.0  # less than Rules.probe_s together

_log = structlog.get_logger()


class Answer(NamedTuple):
    """The result of a probe.

    Attributes:
        why: how AMPECO failed; None when it answered, also with a refusal.
        asked_s: the pause that it asked for.
    """

    why: str | None
    asked_s: float | None = None


def asker(config: WorkerConfig, budget: AsyncBudget | None) -> Callable[[], Awaitable[Answer | None]]:
    """Return a function that makes one probe.

    It returns None without a tenant, a token, or room in the rate budget.
    """

    async def ask() -> Answer | None:
        token = config.api_token()
        if config.tenant_url is None or token is None:
            return None
        once = RetryPolicy(attempts=1)
        client = AsyncClient(
            config.tenant_url, token, timeout_s=_PHASE_S, answer_s=_ANSWER_S, retry=once, budget=budget
        )
        async with client:
            return await asked(client)

    return ask


async def asked(client: AsyncClient) -> Answer | None:
    """Make one probe; None when our own budget refused it, so that nothing was sent."""
    try:
        await client.call("GET", _ONE_PAGE, query={"per_page": 1})
    except RateLimited as error:
        if error.status is None:
            return None
        return Answer(failure_of(error.reason, error.status), error.retry_after_s)
    except ApiError as error:
        return Answer(failure_of(error.reason, error.status), error.retry_after_s)
    return Answer(None)


async def probe_forever(
    log: EventLog, services: ServiceWatch, ask: Callable[[], Awaitable[Answer | None]]
) -> None:
    """Probe AMPECO whenever that is due and this process is elected. Logs faults, and goes on."""
    pause_s = services.outages.rules.probe_s
    while True:
        await asyncio.sleep(LOOK_S)
        if not services.probe_is_due:
            continue
        try:
            await _probe(log, services, ask)
        except (RedisError, OSError):
            pass  # Redis, or the file of the token, cannot be read now
        except Exception as error:  # noqa: BLE001 - without probes an outage would last until an event tries
            # Not the message: it may hold the token.
            _log.error("probe.failed", where=where(error), again_in_s=pause_s)
            await asyncio.sleep(pause_s)


async def _probe(log: EventLog, services: ServiceWatch, ask: Callable[[], Awaitable[Answer | None]]) -> None:
    outages = services.outages
    if await elected(log, outages.rules.probe_s, "prober"):
        answer = await ask()
        if answer is not None:  # else the term ends, and another process may have a token
            await outages.probed(AMPECO, answer.why, asked_s=answer.asked_s)
            await elect_sooner(log, 0.001, "prober")
    await services.look()
