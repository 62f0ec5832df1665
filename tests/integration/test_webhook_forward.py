"""Webhook-forward in a real log against a real HTTP target."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json

import pytest

from eventlog.clock import now_ms
from eventlog.log import EventLog
from eventlog.operation.dead_letters import DeadFilter, matching, retry
from eventlog.record import StoredEvent
from eventlog.schedule import recompute
from handlers.builtin.webhook_forward import Forwarder, ForwardSettings, webhook_forward
from handlers.builtin.webhook_sender import WebhookSender, opened
from handlers.discovery import Found
from tests.harness import VERSION, declaration, event, position
from tests.target import Answer, Target
from workers.delivery.attempt import Runtime
from workers.delivery.manual_run import ready, try_out
from workers.drain.dispatcher import Dispatcher

KEY = b"k" * 32
SECRET = "whsec_" + base64.b64encode(KEY).decode()
NAME = webhook_forward.name


async def work(log: EventLog, there: Target) -> None:
    """A worker starts, works until nothing is due, and stops."""
    settings = ForwardSettings(url=there.url, secret=SECRET, events="*")
    async with opened(WebhookSender(settings.target, within_s=2.0)) as sender:
        runtime = Runtime(webhook_forward, VERSION, settings, Forwarder(settings, sender))
        dispatcher = Dispatcher(log, "default", {NAME: runtime})
        async with asyncio.timeout(60):
            while await dispatcher.work():
                pass
            await dispatcher.stop()


def test_events_of_an_entity_arrive_signed_and_in_order(with_lane, there):
    async def check(log: EventLog) -> None:
        await log.declare([declaration(webhook_forward)])
        answers = (await log.append([event("A", n=n) for n in range(5)])).answers
        await work(log, there)
        assert [json.loads(one.body)["data"]["n"] for one in there.received] == list(range(5))
        for one, answer in zip(there.received, answers, strict=True):
            assert one.headers["webhook-id"] == answer.event_id
            signed = f"{answer.event_id}.{one.headers['webhook-timestamp']}.".encode() + one.body
            made = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
            assert one.headers["webhook-signature"] == f"v1,{made}"
            assert abs(int(one.headers["webhook-timestamp"]) - now_ms() / 1000) < 60
        assert (await position(log, NAME)).stats["done"] == 5

    with_lane(check)


def test_a_target_that_is_away_holds_back_the_entity_and_no_other(with_lane, there):
    async def check(log: EventLog) -> None:
        await log.declare([declaration(webhook_forward)])
        there.answers.append(Answer(503, {"Retry-After": "600"}))
        await log.append([event("A", "session:1", n=1)])
        await work(log, there)
        await log.append([event("A", "session:1", n=2), event("A", "session:2", n=3)])
        await work(log, there)
        assert [json.loads(one.body)["data"]["n"] for one in there.received] == [1, 3]
        assert (await position(log, NAME)).open == 2

    with_lane(check)


def test_what_the_target_refuses_is_dead_and_can_be_sent_again(with_lane, there):
    async def check(log: EventLog) -> None:
        await log.declare([declaration(webhook_forward)])
        there.answers.append(Answer(400))
        await log.append([event("A", n=1)])
        await work(log, there)
        letters = await matching(log, DeadFilter(handler=NAME))
        assert len(letters) == 1
        await retry(log, letters)
        await recompute(log)
        await work(log, there)
        ids = [one.headers["webhook-id"] for one in there.received]
        assert ids[0] == ids[1]
        assert json.loads(there.received[1].body)["replayed"] is True
        assert (await position(log, NAME)).dead == 0

    with_lane(check)


def test_a_dry_run_sends_nothing_and_a_real_one_does(there):
    stored = StoredEvent(0, "1-0", "A", "session:1", b'{"notification":"A"}', 1)

    async def check(for_real: bool):
        with pytest.MonkeyPatch.context() as patch:
            for name, value in (("URL", there.url), ("SECRET", SECRET), ("EVENTS", "*")):
                patch.setenv(f"RECEIVER_FORWARD_{name}", value)
            async with ready(Found(webhook_forward, "handlers", "1"), None, None) as runtime:
                return await try_out(runtime, stored, for_real=for_real)

    assert asyncio.run(check(for_real=False)).steps == ("forward",)
    assert there.received == []
    assert asyncio.run(check(for_real=True)).outcome.kind == "done"
    assert len(there.received) == 1
