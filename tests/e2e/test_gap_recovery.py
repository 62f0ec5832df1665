"""A receiver that was killed gets everything back: by resend, and what no resend brings by backfill.

The tenant and the handler that asks for the resend share a clock that the test moves, so that 15 minutes pass at
once. Redis and the receiver go by the real time.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest

from ampeco.client import AsyncClient
from ampeco.simulator.model import Delivery
from ampeco.simulator.server import serving
from ampeco.simulator.switches import Habits
from ampeco.simulator.tenant import Tenant
from eventlog.clock import now_ms
from eventlog.connection.embedded import EmbeddedServer
from eventlog.inspection.events import list_events
from eventlog.inspection.gaps import Gap, recorded_gaps
from eventlog.inspection.resends import resend_of, resender
from eventlog.log import EventLog
from eventlog.operation.hurry import hurry
from handlers import Context, Event, Raw, handler
from handlers.builtin.resend_failed import INTERVAL, resend_failed
from tests.door import TOKEN, Door
from tests.harness import VERSION, declaration, eventually, opened
from tests.servers import free_port
from workers.delivery.attempt import Runtime
from workers.drain.dispatcher import Dispatcher

SESSION, HARDWARE, METER = (
    "SessionUpdateNotification",
    "HardwareStatusNotification",
    "SessionMeterValuesNotification",
)
TYPES = (SESSION, HARDWARE, METER)
OUTAGE_S = 60
RATE = 10.0

handled: list[tuple[str, str | None, bool, bool]] = []


@handler("recorder", on=[*TYPES], start="oldest")
async def recorder(event: Event[Raw], ctx: Context) -> None:
    handled.append((event.id, event.key, event.reconstructed, event.maybe_repeat))


class Clock:
    """The time of the tenant and of the handler: the real one, and what was skipped."""

    def __init__(self) -> None:
        self.skipped = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.skipped


class Site:
    """A tenant, a receiver that can be killed, and a worker in this process."""

    def __init__(self, log: EventLog, url: str, prefix: str, tenant: Tenant, tenant_url: str) -> None:
        self.log = log
        self.tenant = tenant
        self.tenant_url = tenant_url
        self.port = free_port()
        self._url, self._prefix = url, prefix
        self._front: Door | None = None

    async def open(self) -> None:
        environ = {
            "AWR_REGISTER": "auto",
            "AWR_TENANT_URL": self.tenant_url,
            "AWR_PUBLIC_URL": f"http://127.0.0.1:{self.port}",
            "AWR_PORT": str(self.port),
            "AWR_BACKFILL": SESSION,
            "AWR_BACKFILL_AFTER_S": "1",
        }
        self._front = await asyncio.to_thread(Door, self._url, self._prefix, environ)

    async def kill(self) -> None:
        assert self._front is not None
        self._front.process.kill()
        await asyncio.to_thread(self._front.ends)
        assert self._front.process.stderr is not None
        self._front.process.stderr.close()

    async def control(self, what: str, **body: Any) -> None:
        async with httpx2.AsyncClient(trust_env=False) as http:
            answer = await http.post(f"{self.tenant_url}/simulator/{what}", json=body)
            assert answer.is_success, answer.text

    async def work(self, clock: Clock, *, until: Callable[[], Awaitable[bool]]) -> None:
        """Run the handlers in this process until something holds."""
        client = AsyncClient(self.tenant_url, TOKEN)
        runtimes = {
            recorder.name: Runtime(recorder, VERSION),
            resend_failed.name: Runtime(resend_failed, VERSION, state=clock, client=client),
        }
        dispatcher = Dispatcher(self.log, "default", runtimes)
        async with asyncio.timeout(120):
            while not await until():
                if not await dispatcher.work():
                    await asyncio.sleep(0.05)
        await dispatcher.stop()
        await client.aclose()

    async def gap(self) -> Gap:
        (found,) = await recorded_gaps(self.log)
        return found

    async def waits_for_resend(self) -> bool:
        gaps = await recorded_gaps(self.log)
        if not gaps:
            return False
        fate = (await resend_of(self.log, gaps[0], await resender(self.log), now_ms=now_ms())).fate
        return fate is not None and fate.state == "retry"


def settled(tenant: Tenant) -> bool:
    return tenant.pending == 0


@pytest.mark.parametrize("too_early", [409, 422, 429])
def test_a_minute_of_traffic_comes_back_by_resend_and_backfill(
    valkey: EmbeddedServer, prefix: str, too_early: int
) -> None:
    handled.clear()

    async def scenario() -> None:
        clock = Clock()
        habits = Habits(retry_pauses_s=(0.05,), timeout_s=20.0, too_early_status=too_early)  # type: ignore[arg-type]
        tenant = Tenant([TOKEN], habits=habits, now=clock)
        async with serving(tenant) as tenant_url, opened(valkey.url, prefix) as log:
            site = Site(log, valkey.url, prefix, tenant, tenant_url)
            await log.declare([declaration(recorder), declaration(resend_failed)])
            await site.open()
            await eventually(lambda: _true(bool(tenant.wanted() >= {*TYPES})))

            # Before the outage: one event is accepted, and AMPECO never hears of it, so it counts as failed there.
            tenant.change(Habits(retry_pauses_s=(0.05,), lost_answer_share=1.0, too_early_status=too_early))  # type: ignore[arg-type]
            copy = body_of(SESSION, {"session": {"id": "1", "lastUpdatedAt": _text(clock())}})
            repeat = body_of(SESSION, {"session": {"id": "2", "lastUpdatedAt": _text(clock())}})
            for body in (copy, repeat):
                tenant.announce(SESSION, None, body)
            await eventually(lambda: _true(tenant.count("failed") == 2))
            tenant.change(habits)
            newer = body_of(
                SESSION, {"session": {"id": "2", "lastUpdatedAt": _text(clock() + timedelta(seconds=1))}}
            )
            tenant.announce(SESSION, None, newer)
            await eventually(lambda: _true(settled(tenant)))
            (subscription,) = tenant.subscriptions.values()

            await site.kill()
            behaviour = {"readings": [8, 8], "idle_s": [1, 5], "session_s": [60, 120], "fault_share": 0}
            await site.control(
                "start",
                charge_points=10,
                rate=RATE * 20,
                count=int(RATE * OUTAGE_S),
                wall_clock=True,
                behaviour=behaviour,
            )
            await eventually(lambda: _true(tenant.count("failed") >= RATE * OUTAGE_S + 2))
            await asyncio.sleep(3.5)  # shorter outages are no gap
            sent = {found.body for found in tenant.deliveries}
            lost = forget_one(tenant, SESSION)
            subscription.resent_at = clock() - timedelta(seconds=5)  # somebody asked by hand

            await site.open()
            await site.work(clock, until=site.waits_for_resend)
            waiting = await resend_of(log, await site.gap(), await resender(log), now_ms=now_ms())
            assert "too early" in waiting.words
            assert tenant.resent == 0
            clock.skipped += INTERVAL
            await _hurry(log, await site.gap())
            await site.work(clock, until=lambda: _true(tenant.resent > 0 and settled(tenant)))

            await eventually(lambda: _is_over(site))
            gap = await site.gap()
            assert gap.state == "unproven"
            assert {*gap.unproven} == {HARDWARE, METER}
            check = gap.checks[SESSION]
            assert check.changed == check.seen + check.reconstructed
            assert check.reconstructed >= 1

            async def everything_is_handled() -> bool:
                events = await list_events(log, limit=100_000)
                return len({of[0] for of in handled}) == len([e for e in events if e.type in TYPES])

            await site.work(clock, until=everything_is_handled)
            events = await list_events(log, limit=100_000)
            arrived = {found.body for found in events if "reconstructed" not in found.marks}
            assert sent - arrived == {lost}, "everything but what AMPECO has forgotten came by resend"
            of_lost = f"session:{json.loads(lost)['session']['id']}"
            assert [key for _, key, made, _ in handled if made].count(of_lost) == 1
            assert len([e for e in events if e.body == copy]) == 1, "an equal copy is dropped"
            assert [e.marks for e in events if e.body == repeat] == [("maybe_repeat", "not-last"), ()]
            in_order = {key: [of[0] for of in handled if of[1] == key] for _, key, _, _ in handled}
            assert all(ids == sorted(ids, key=_order) for ids in in_order.values())
            assert len(handled) == len({of[0] for of in handled})
            await site.kill()

    asyncio.run(scenario())


def forget_one(tenant: Tenant, type: str) -> bytes:
    """Let AMPECO forget the only failed update of a session, as if it were older than what it keeps."""
    failed = [found for found in tenant.deliveries if found.notification == type and found.state == "failed"]
    by_session: dict[str, list[Delivery]] = {}
    for found in failed:
        by_session.setdefault(json.loads(found.body)["session"]["id"], []).append(found)
    lost = next(of[0] for id_, of in by_session.items() if len(of) == 1 and id_ not in {"1", "2"})
    tenant._book.move(lost, "dropped")
    return lost.body


async def _true(value: bool) -> bool:
    return value


async def _is_over(site: Site) -> bool:
    return (await site.gap()).state != "open"


async def _hurry(log: EventLog, gap: Gap) -> None:
    assert gap.event_id is not None
    lane, _, stream_id = gap.event_id.partition("-")
    assert await hurry(log, resend_failed.name, int(lane), [stream_id]) == [True]


def body_of(type: str, fields: dict[str, Any]) -> bytes:
    return json.dumps({"notification": type, **fields}).encode()


def _text(at: datetime) -> str:
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")


def _order(event_id: str) -> tuple[int, ...]:
    return tuple(map(int, event_id.split("-")))
