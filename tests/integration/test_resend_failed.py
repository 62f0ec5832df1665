"""The 15 minutes between two resends, in a real log: they outlive the worker that asked."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta

import httpx2

from ampeco.client import AsyncClient
from eventlog.clock import now_ms
from eventlog.log import EventLog, NewEvent
from handlers.builtin.resend_failed import INTERVAL, resend_failed
from tests.harness import VERSION, declaration, position
from workers.delivery.attempt import Runtime
from workers.drain.dispatcher import Dispatcher

HOOK = "https://us.example/webhooks/ampeco"
TEN = datetime(2026, 11, 24, 10, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def gap(closed_at: datetime) -> NewEvent:
    """The receiver was away for a minute."""
    body = {
        "notification": "receiver.gap.closed",
        "from": (closed_at - MINUTE).isoformat(),
        "to": closed_at.isoformat(),
        "types": ["BootNotification"],
        "callbackUrl": HOOK,
    }
    return NewEvent(body["notification"], "receiver:door", json.dumps(body).encode(), now_ms(), "", "mark")  # type: ignore[arg-type]


def test_a_worker_that_starts_later_keeps_the_fifteen_minutes(with_lane) -> None:
    requests: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.method == "GET":
            ours = {"id": "7", "via": "webhook", "webhook": {"callbackUrl": HOOK}}
            return httpx2.Response(200, json={"data": [ours]})
        requests.append(request)
        return httpx2.Response(202)

    async def work(log: EventLog, now: datetime) -> tuple[int, int]:
        """A worker starts, finds nothing more to do, and stops; how much is open, and how much was done."""
        client = AsyncClient("https://tenant.example", "token", transport=httpx2.MockTransport(answer))
        runtime = Runtime(resend_failed, VERSION, state=lambda: now, client=client)
        dispatcher = Dispatcher(log, "default", {resend_failed.name: runtime})
        async with asyncio.timeout(60):
            while await dispatcher.work():
                pass
            await dispatcher.stop()
        await client.aclose()
        found = await position(log, resend_failed.name)
        return found.open, found.stats.get("done", 0)

    async def check(log: EventLog) -> None:
        await log.declare([declaration(resend_failed)])
        await log.append([gap(TEN)])
        assert await work(log, TEN) == (0, 1)
        await log.append([gap(TEN + 4 * MINUTE)])
        assert await work(log, TEN + 5 * MINUTE) == (1, 1)
        assert len(requests) == 1
        (waiting,) = (await log.redis.hgetall(log.key("open", resend_failed.name, 0))).values()
        assert b"less than 15 minutes ago" in waiting
        await log.append([gap(TEN + INTERVAL)])
        await log.redis.delete(log.key("open", resend_failed.name, 0))  # so that the newest is tried at once
        assert await work(log, TEN + INTERVAL) == (0, 2)
        assert len(requests) == 2

    with_lane(check)
