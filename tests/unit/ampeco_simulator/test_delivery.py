"""Subscribe over HTTP, let a fleet live, receive on a real port: the simulator as its users meet it."""

import asyncio
import gc
import json
import logging
import socket
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import httpx2
import pytest

from ampeco.client import AsyncClient
from ampeco.errors import Invalid, RateLimited, Unauthorized
from ampeco.notifications import parse
from ampeco.signature import Encoding, SigningKey
from ampeco.simulator.server import serve, serving
from ampeco.simulator.switches import Habits
from ampeco.simulator.tenant import Tenant
from tests.unit.ampeco_simulator.listening import (
    TOKEN,
    TYPES,
    Receiver,
    api,
    listening,
    state,
    subscribe,
    until,
)

IMPATIENT = Habits(retry_pauses_s=(0.02, 0.05), timeout_s=20.0, resend_every_s=0.5)
START_AT = "2026-11-17T00:00:00+00:00"


class Scene:
    """A served tenant, a receiver and a client of the tenant's API."""

    def __init__(self, tenant: Tenant, url: str, receiver: Receiver, client: httpx2.AsyncClient) -> None:
        self.tenant, self.url, self.receiver, self.client = tenant, url, receiver, client

    async def start(self, **plan: Any) -> None:
        answer = await self.client.post("/simulator/start", json={"start_at": START_AT, **plan})
        assert answer.status_code == 200, answer.text

    async def send(
        self, notification: str, body: dict[str, Any] | str, charge_point: int | None = None
    ) -> int:
        wish = {"notification": notification, "body": body, "charge_point": charge_point}
        made: int = (await self.client.post("/simulator/send", json=wish)).json()["made"]
        return made

    async def settled(self, sent: int) -> dict[str, Any]:
        """The state once this many were sent and none is pending."""
        await until(lambda: self.tenant.pending == 0 and self.tenant.attempts >= sent)
        found = await state(self.client)
        assert found["sent"] == sent
        assert found["sent"] == found["delivered"] + found["failed"] + found["dropped"]
        assert found["attempts"] == sum(found["answers"].values())
        return found


@asynccontextmanager
async def scene(habits: Habits = IMPATIENT) -> AsyncIterator[Scene]:
    tenant = Tenant([TOKEN, "second-token"], habits=habits)
    async with (
        serving(tenant) as url,
        listening(Receiver(TOKEN, "second-token")) as receiver,
        api(url) as client,
    ):
        yield Scene(tenant, url, receiver, client)


def play(story: Callable[[Scene], Awaitable[None]], habits: Habits = IMPATIENT) -> None:
    async def run() -> None:
        async with scene(habits) as set_up, asyncio.timeout(60):
            await story(set_up)

    asyncio.run(run())


def test_a_fleet_is_delivered_signed_and_counted() -> None:
    async def story(s: Scene) -> None:
        await subscribe(s.client, s.receiver.url)
        await s.start(charge_points=5, rate=None, count=400)
        counts = await s.settled(400)
        assert (counts["delivered"], counts["attempts"], counts["answers"]) == (400, 400, {"200": 400})
        assert counts["scenario"]["made"] == 400
        assert not counts["scenario"]["running"]
        assert len(s.receiver.bodies) == 400
        assert set(s.receiver.key_ids) == {SigningKey.of(TOKEN).key_id}
        for name, by_type in counts["types"].items():
            arrived = [b for b in s.receiver.bodies if json.loads(b)["notification"] == name]
            assert by_type == {
                "sent": len(arrived),
                "delivered": len(arrived),
                "failed": 0,
                "pending": 0,
                "dropped": 0,
            }

    play(story)


def test_the_same_seed_delivers_the_same_bodies() -> None:
    seen: list[list[bytes]] = []

    async def story(s: Scene) -> None:
        await subscribe(s.client, s.receiver.url)
        await s.start(charge_points=4, rate=None, count=300, seed=11)
        await s.settled(300)
        seen.append(sorted(s.receiver.bodies))

    play(story)
    play(story)
    assert seen[0] == seen[1]


def test_order_holds_per_charge_point_as_long_as_the_receiver_accepts() -> None:
    async def story(s: Scene) -> None:
        s.receiver.delay_s = 0.002
        await subscribe(s.client, s.receiver.url)
        await s.start(charge_points=10, rate=None, count=600)
        await s.settled(600)
        assert 1 < s.receiver.most_at_once <= 10  # one in flight per charge point
        times: defaultdict[str, list[datetime]] = defaultdict(list)
        for read in map(parse, s.receiver.bodies):
            if read.key is not None and read.occurred_at is not None:
                times[read.key].append(read.occurred_at)
        assert len(times) > 10
        for moments in times.values():
            assert all(earlier <= later for earlier, later in pairwise(moments))

    play(story)


def test_no_more_are_in_flight_than_the_tenant_allows() -> None:
    async def story(s: Scene) -> None:
        s.receiver.delay_s = 0.002
        await subscribe(s.client, s.receiver.url)
        await s.start(charge_points=50, rate=None, count=200)
        await s.settled(200)
        assert s.receiver.most_at_once == 3

    play(story, Habits(concurrency=3))


def test_only_subscribed_types_arrive_and_count_means_those() -> None:
    async def story(s: Scene) -> None:
        await subscribe(s.client, s.receiver.url, "SessionStartStopNotification")
        await s.start(charge_points=5, rate=None, count=50)
        await s.settled(50)
        assert {json.loads(b)["notification"] for b in s.receiver.bodies} == {"SessionStartStopNotification"}

    play(story)


def test_two_subscriptions_get_everything_twice() -> None:
    async def story(s: Scene) -> None:
        for _ in range(2):
            await subscribe(s.client, s.receiver.url)
        await s.start(charge_points=2, rate=None, count=30)
        await s.settled(60)
        assert len(s.receiver.bodies) == 60
        assert len(set(s.receiver.bodies)) <= 30

    play(story)


def test_a_scenario_waits_for_somebody_to_subscribe() -> None:
    async def story(s: Scene) -> None:
        await s.start(charge_points=2, rate=None, count=20)
        waiting = (await state(s.client))["scenario"]
        assert (waiting["running"], waiting["made"]) == (True, 0)
        await subscribe(s.client, s.receiver.url)
        await s.settled(20)

    play(story)


def test_each_subscription_is_signed_with_the_token_that_made_it() -> None:
    async def story(s: Scene) -> None:
        await subscribe(s.client, s.receiver.url, "BootNotification")
        async with api(s.url, "second-token") as other:
            await subscribe(other, s.receiver.url, "BootNotification")
        await s.send("BootNotification", {"notification": "BootNotification"})
        await s.settled(2)
        assert sorted(s.receiver.key_ids) == sorted(SigningKey.of(t).key_id for t in (TOKEN, "second-token"))

    play(story)


@pytest.mark.parametrize("encoding", ["HEX", "base64", "base64url-unpadded"])
def test_the_signature_can_be_spelt_otherwise(encoding: Encoding) -> None:
    async def story(s: Scene) -> None:
        await subscribe(s.client, s.receiver.url)
        await s.send("BootNotification", {"notification": "BootNotification"})
        assert (await s.settled(1))["delivered"] == 1

    play(story, Habits(signature_encoding=encoding, signature_prefix="sha256="))


def test_anything_can_be_sent_by_hand() -> None:
    """A body that is not JSON, or an unknown type, signed as usual."""

    async def story(s: Scene) -> None:
        await subscribe(s.client, s.receiver.url, "BootNotification")
        assert await s.send("BootNotification", "no json at all") == 1
        assert await s.send("BootNotification", {"notification": "brand.new", "id": 1}, 7) == 1
        assert await s.send("cdr.received", {}) == 0
        await s.settled(2)
        assert sorted(s.receiver.bodies) == [b"no json at all", b'{"notification":"brand.new","id":1}']

    play(story)


def test_a_short_outage_costs_retries_and_nothing_else() -> None:
    async def story(s: Scene) -> None:
        await subscribe(s.client, s.receiver.url)
        s.receiver.status = 503
        await s.start(charge_points=5, rate=None, count=50)
        await until(lambda: s.tenant.answers["503"] >= 10)
        s.receiver.status = 200
        counts = await s.settled(50)
        assert (counts["delivered"], counts["failed"]) == (50, 0)
        assert counts["answers"]["503"] >= 10
        assert len(s.receiver.bodies) == 50

    play(story, Habits(retry_pauses_s=(0.05,) * 50))


def test_a_failed_delivery_does_not_hold_up_later_ones() -> None:
    async def story(s: Scene) -> None:
        await subscribe(s.client, s.receiver.url)
        s.receiver.status = 503
        await s.send("BootNotification", "first", 1)
        await until(lambda: s.tenant.attempts == 1)
        s.receiver.status = 200
        await s.send("BootNotification", "second", 1)
        await until(lambda: s.receiver.bodies)
        assert s.receiver.bodies == [b"second"]
        assert s.tenant.pending == 1

    play(story, Habits(retry_pauses_s=(60,)))


def test_due_retries_go_before_newer_ones_and_oldest_first() -> None:
    async def story(s: Scene) -> None:
        await subscribe(s.client, s.receiver.url)
        s.receiver.status = 503
        for text in ("1", "2", "3"):
            await s.send("BootNotification", text, 1)
        await until(lambda: s.tenant.attempts == 3)
        s.receiver.may_answer.clear()
        for text in ("4", "5"):
            await s.send("BootNotification", text, 1)
        await asyncio.sleep(1.1)  # all three have come due behind 4, which is in flight
        s.receiver.status = 200
        s.receiver.may_answer.set()
        await s.settled(5)
        assert s.receiver.bodies == [b"4", b"1", b"2", b"3", b"5"]

    play(story, Habits(retry_pauses_s=(1,)))


def test_what_is_given_up_comes_back_by_a_resend() -> None:
    async def story(s: Scene) -> None:
        subscription = await subscribe(s.client, s.receiver.url)
        s.receiver.status = 503
        began = datetime.now(UTC)
        await s.start(charge_points=3, rate=None, count=30)
        counts = await s.settled(30)
        assert (counts["delivered"], counts["failed"], counts["attempts"]) == (0, 30, 90)
        refused = set(s.receiver.refused)

        s.receiver.status = 200
        async with AsyncClient(s.url, TOKEN) as client:
            resend = client.actions.notifications.resend_failed
            long_ago = began - timedelta(hours=2)
            await resend(
                str(subscription),
                notifications=TYPES,
                start_time=long_ago,
                end_time=began - timedelta(minutes=1),
            )
            assert (await state(s.client))["resent"] == 0  # nothing failed in that window
            with pytest.raises(RateLimited) as early:
                await resend(str(subscription), notifications=TYPES)
            assert early.value.retry_after_s == 1
            await asyncio.sleep(IMPATIENT.resend_every_s)
            await resend(str(subscription), notifications=TYPES, start_time=began, end_time=datetime.now(UTC))
        await until(lambda: s.tenant.count("delivered") == 30)
        counts = await s.settled(30)
        assert (counts["resent"], counts["failed"], counts["attempts"]) == (30, 0, 120)
        assert set(s.receiver.bodies) == refused
        assert counts["action_counts"] == {"notifications.resend-failed": 2}

    play(story)


def test_a_receiver_that_is_gone_or_slow_is_told_apart() -> None:
    async def story(s: Scene) -> None:
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))  # bound, not listening
            await subscribe(s.client, f"http://127.0.0.1:{nobody.getsockname()[1]}/", "BootNotification")
            await subscribe(s.client, s.receiver.url, "cdr.received")
            s.receiver.delay_s = 1
            await s.send("BootNotification", "x")
            await s.send("cdr.received", "y")
            counts = await s.settled(2)
        assert counts["answers"] == {"connect-error": 3, "time-out": 3}
        assert counts["failed"] == 2

    play(story, Habits(retry_pauses_s=(0.01, 0.01), timeout_s=0.1))


def test_a_receiver_that_restarts_is_found_again() -> None:
    """Its kept-alive connections died with it; that is not a failed attempt."""

    async def story(s: Scene) -> None:
        async with listening(Receiver()) as first:
            port = int(first.url.rpartition(":")[2].partition("/")[0])
            await subscribe(s.client, first.url)
            await s.start(charge_points=10, rate=None, count=50)
            await s.settled(50)
        async with listening(Receiver(), port) as second:
            await s.start(charge_points=10, rate=None, count=50)
            counts = await s.settled(100)
            assert len(second.bodies) == 50
        assert counts["answers"] == {"200": 100}

    play(story)


def test_nothing_is_sent_after_unsubscribing() -> None:
    async def story(s: Scene) -> None:
        subscription = await subscribe(s.client, s.receiver.url)
        s.receiver.status = 503
        await s.send("BootNotification", "x")
        await until(lambda: s.tenant.attempts == 1)
        assert (await s.client.delete(f"/public-api/notifications/v2.0/{subscription}")).status_code == 204
        assert (await state(s.client))["dropped"] == 1
        await asyncio.sleep(1.2)
        assert s.tenant.attempts == 1

    play(story, Habits(retry_pauses_s=(1.0,)))


def test_stop_makes_no_new_ones_and_retries_go_on() -> None:
    async def story(s: Scene) -> None:
        await subscribe(s.client, s.receiver.url)
        s.receiver.status = 503
        await s.start(charge_points=5, rate=200)
        assert (await s.client.post("/simulator/start", json={})).status_code == 409
        await until(lambda: s.tenant.attempts >= 10)
        stopped = (await s.client.post("/simulator/stop", json={})).json()["scenario"]
        assert not stopped["running"]
        s.receiver.status = 200
        counts = await s.settled(stopped["made"])
        assert counts["delivered"] == stopped["made"]
        assert (await s.client.post("/simulator/stop", json={})).status_code == 200

    play(story, Habits(retry_pauses_s=(0.05,) * 100))


def test_the_rate_is_kept() -> None:
    async def story(s: Scene) -> None:
        await subscribe(s.client, s.receiver.url)
        began = asyncio.get_running_loop().time()
        await s.start(charge_points=20, rate=200, count=200)
        await s.settled(200)
        assert asyncio.get_running_loop().time() - began > 0.9

    play(story)


def test_at_the_pace_of_a_demonstration_sessions_end_soon() -> None:
    """20 charge points at 50/s: what they say in 20 s holds several whole sessions."""

    async def story(s: Scene) -> None:
        await subscribe(s.client, s.receiver.url)
        await s.start(charge_points=20, rate=None, count=1000)
        counts = await s.settled(1000)
        assert counts["scenario"]["sessions_finished"] > 20
        assert counts["scenario"]["faults"] >= 1

    play(story)


def test_a_faulted_charge_point_waits_for_the_reset_action() -> None:
    async def story(s: Scene) -> None:
        await subscribe(s.client, s.receiver.url)
        await s.start(charge_points=5, rate=100)
        await until(lambda: any(b'"faulted"' in body for body in s.receiver.bodies))
        at = next(n for n, body in enumerate(s.receiver.bodies) if b'"faulted"' in body)
        faulted = json.loads(s.receiver.bodies[at])["chargePointId"]
        async with AsyncClient(s.url, TOKEN) as client:
            await client.actions.charge_point.reset(str(faulted), "soft")
        await until(lambda: any(b"RemoteReset" in body for body in s.receiver.bodies[at:]))
        boot = next(body for body in s.receiver.bodies[at:] if b"RemoteReset" in body)
        assert json.loads(boot)["chargePointId"] == faulted
        assert (await state(s.client))["action_counts"] == {"charge-point.reset": 1}

    play(story)


def test_it_can_be_ended_in_the_middle_of_everything() -> None:
    """Attempts in flight, retries waiting, a scenario at full speed: no socket and no task is left behind."""

    async def story(s: Scene) -> None:
        s.receiver.delay_s = 0.02
        await subscribe(s.client, s.receiver.url)
        async with listening(Receiver()) as other:
            await subscribe(s.client, other.url)
            await s.start(charge_points=50, rate=None)
            await until(lambda: s.tenant.count("delivered") > 100)
        await until(lambda: s.tenant.answers["connect-error"] > 10)

    play(story)
    gc.collect()


def test_our_own_client_can_talk_to_it() -> None:
    async def story(s: Scene) -> None:
        async with AsyncClient(s.url, TOKEN) as client:
            made = await client.notifications.subscribe(TYPES, callback_url=s.receiver.url)
            assert await client.notifications.list() == [made]
            assert (
                await client.notifications.update(made.id, TYPES[:1], callback_url=s.receiver.url)
            ).id == made.id
            assert (await client.notifications.read(made.id)).notifications == TYPES[:1]
            await client.actions.charge_point.unlock("12", "121")
            with pytest.raises(Invalid) as invalid:
                await client.notifications.subscribe(["Nonsense"], callback_url=s.receiver.url)
            assert "notifications.0" in invalid.value.errors
            await client.notifications.unsubscribe(made.id)
            assert await client.notifications.list() == []
        async with AsyncClient(s.url, "wrong") as stranger:
            with pytest.raises(Unauthorized):
                await stranger.notifications.list()

    play(story)


def test_neither_tokens_nor_bodies_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def story(s: Scene) -> None:
        await subscribe(s.client, s.receiver.url)
        s.receiver.status = 503
        await s.start(charge_points=2, rate=None, count=10)
        await s.send("BootNotification", "payl0ad")
        await s.settled(11)
        async with api(s.url, "wr0ng") as stranger:
            await stranger.get("/public-api/notifications/v2.0")

    with caplog.at_level(logging.DEBUG):
        play(story)
    logged = [str(vars(record)) for record in caplog.records if not record.name.startswith("http")]
    assert any("delivery.given_up" in line for line in logged)
    for secret in (TOKEN, "payl0ad", "chargePointId", "wr0ng"):
        assert not any(secret in line for line in logged)


def test_serve_ends_when_told_and_a_taken_port_is_an_error() -> None:
    async def run() -> None:
        stop, urls = asyncio.Event(), list[str]()
        task = asyncio.create_task(serve(Tenant([TOKEN]), port=0, on_ready=urls.append, stop=stop))
        await until(lambda: urls)
        async with api(urls[0]) as client:
            assert (await client.get("/simulator/state")).status_code == 200
        with pytest.raises(OSError):
            await serve(Tenant([TOKEN]), port=int(urls[0].rpartition(":")[2]))
        stop.set()
        async with asyncio.timeout(60):
            await task

    asyncio.run(run())
