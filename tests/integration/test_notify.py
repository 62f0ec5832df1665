"""Notify in a real log against a real HTTP target."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from eventlog.internal import internal_event
from eventlog.log import EventLog
from eventlog.record import StoredEvent
from handlers.builtin.notify import NotifySettings, Outbox, notify
from handlers.builtin.webhook_sender import WebhookSender, opened
from handlers.discovery import Found
from tests.harness import VERSION, declaration, position
from tests.target import Answer, Target
from workers.delivery.attempt import Runtime
from workers.delivery.manual_run import ready, try_out
from workers.drain.dispatcher import Dispatcher

PAUSED = {"reason": "deploy"}


async def work(log: EventLog, there: Target, **settings: Any) -> None:
    """A worker starts, works until nothing is due, and stops."""
    chosen = NotifySettings(url=there.url, **{"every_s": 3_600.0, **settings})
    async with opened(WebhookSender(chosen.target, within_s=2.0)) as sender:
        runtime = Runtime(notify, VERSION, chosen, Outbox(chosen, sender, gather_s=0.2))
        dispatcher = Dispatcher(log, "default", {notify.name: runtime})
        async with asyncio.timeout(60):
            while await dispatcher.work():
                pass
            await dispatcher.stop()


async def paused(log: EventLog, *names: str) -> None:
    for name in names:
        event = internal_event("receiver.handler.paused", f"handler:{name}", {"handler": name, **PAUSED})
        await log.announce(event)


def texts(there: Target) -> list[str]:
    return [json.loads(one.body)["text"] for one in there.received]


def test_what_happened_together_is_one_message(with_lane, there):
    async def check(log: EventLog) -> None:
        await log.declare([declaration(notify)])
        await paused(log, "a", "b", "c")
        await work(log, there, name="production")
        (text,) = texts(there)
        head, *lines = text.split("\n")
        assert head == "[production]"
        assert [line.split(" UTC ")[1] for line in lines] == [f"{name} was paused: deploy" for name in "abc"]
        assert (await position(log, "notify")).stats["done"] == 3

    with_lane(check)


def test_what_comes_during_the_pause_waits_and_spends_no_attempt(with_lane, there):
    async def check(log: EventLog) -> None:
        await log.declare([declaration(notify)])
        chosen = NotifySettings(url=there.url, every_s=3_600)
        async with opened(WebhookSender(chosen.target)) as sender:
            runtime = Runtime(notify, VERSION, chosen, Outbox(chosen, sender, gather_s=0.1))
            dispatcher = Dispatcher(log, "default", {notify.name: runtime})
            for name in "ab":
                await paused(log, name)
                async with asyncio.timeout(60):
                    while await dispatcher.work():
                        pass
            await dispatcher.stop()
        assert len(there.received) == 1
        (waiting,) = await log.redis.hvals(log.key("open", "notify", 0))
        record = json.loads(waiting.partition(b"\n")[0])
        assert (record["state"], record["attempts"]) == ("retry", 0)
        assert "next message" in record["error"]

    with_lane(check)


def test_a_template_and_a_field_of_the_operators(with_lane, there):
    async def check(log: EventLog) -> None:
        await log.declare([declaration(notify)])
        await paused(log, "a")
        templates = {"receiver.handler.paused": "Pause! {handler} ({key})"}
        await work(log, there, templates=templates, field="content")
        (one,) = there.received
        assert json.loads(one.body)["content"].endswith("Pause! a (handler:a)")

    with_lane(check)


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (Answer(503), "retried"),
        (Answer(429, {"Retry-After": "900"}), "retried"),
        (Answer(hangs=True), "retried"),
        (Answer(404), "dead"),
        (Answer(302, {"Location": "http://127.0.0.1:1/"}), "dead"),
    ],
)
def test_a_target_that_does_not_take_it(with_lane, there, answer, outcome):
    async def check(log: EventLog) -> None:
        await log.declare([declaration(notify)])
        await paused(log, "a")
        there.answers.append(answer)
        await work(log, there)
        found = await position(log, "notify")
        assert (found.stats.get("retried", 0), found.dead) == ((1, 0) if outcome == "retried" else (0, 1))
        assert len(there.received) == 1
        kept = b"".join(await log.redis.hvals(log.key("open", "notify", 0)))
        kept += repr(await log.redis.xrange(log.key("dead", "notify"))).encode()
        assert b"secret" not in kept

    with_lane(check)


def test_a_message_that_is_given_up_makes_no_further_event(with_lane, there):
    async def check(log: EventLog) -> None:
        await log.declare([declaration(notify)])
        await paused(log, "a")
        there.answers.append(Answer(410))
        await work(log, there)
        assert await log.redis.xlen(log.key("events", 0)) == 1

    with_lane(check)


def test_a_dry_run_sends_nothing_and_a_real_one_does(there):
    body = json.dumps({"notification": "receiver.handler.paused", "handler": "a", **PAUSED}).encode()
    event = StoredEvent(0, "1-0", "receiver.handler.paused", "handler:a", body, 1)

    async def check(for_real: bool):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("RECEIVER_NOTIFY_URL", there.url)
            async with ready(Found(notify, "handlers", "1"), None, None) as runtime:
                return await try_out(runtime, event, for_real=for_real)

    trial = asyncio.run(check(for_real=False))
    assert (trial.outcome.kind, trial.steps) == ("done", ("message",))
    assert there.received == []
    trial = asyncio.run(check(for_real=True))
    assert trial.outcome.kind == "done"
    assert len(there.received) == 1
