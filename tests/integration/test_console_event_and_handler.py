"""What the pages of an event and of a handler say of steps, calls, and of a day."""

from __future__ import annotations

import re

from eventlog.clock import now_ms
from eventlog.log import EventLog
from handlers import Context, Event, Raw, handler
from tests.harness import declaration, drained, event
from tests.integration.test_console import on_log
from tests.integration.test_console_pages import seen, visiting
from tests.integration.test_once import RESEND, handled, resend, tenant


@handler("acme.post", on=["SessionUpdateNotification"])
async def post(event: Event[Raw], ctx: Context) -> None:
    await ctx.once("print", lambda: "what-it-returned")
    await ctx.once("mail", lambda: None, per="entity")


def test_an_event_and_its_entity_show_their_once_only_steps_without_results(valkey, prefix) -> None:
    async def check(log: EventLog) -> None:
        await log.declare([declaration(post)])
        await log.append([event(key="session:7")])
        await drained(log, post)
        lane = log.lane_of("session:7", b"")
        ((stream_id, _),) = await log.redis.xrange(log.key("events", lane))
        await log.redis.hset(
            log.key("ledger", "acme.post", f"{lane}-{stream_id.decode()}"),
            mapping={
                f"extra-{n}": '{"v": 1, "state": "uncertain", "nonce": "n", "at_ms": 5}' for n in range(30)
            },
        )
        async with visiting(log) as visitor:
            text = await visitor.get(f"/event/{lane}-{stream_id.decode()}")
            assert "Once-only steps of the event: extra-0 ? uncertain" in seen(text)
            assert "and 11 more" in seen(text)
            assert "Once-only steps of the entity: mail ✓ done" in seen(text)
            assert "what-it-returned" not in text
            assert "acme.post Once-only steps of the entity: mail ✓ done" in seen(
                await visitor.get("/entity?key=session:7")
            )

    on_log(valkey, prefix, check)


@handler("acme.asker", on=["SessionUpdateNotification"], calls=[RESEND])
async def asker(_: Event[Raw], ctx: Context) -> None:
    await resend(ctx, "a")


def test_calls_to_ampeco_are_shown_with_status_and_duration(valkey, prefix) -> None:
    async def check(log: EventLog) -> None:
        _, clients = tenant(202)
        await handled(log, asker, event(key="session:7"), **clients)
        async with visiting(log) as visitor:
            entity = await visitor.get("/entity?key=session:7")
            link = re.search(r'class="id" href="/console(/event/[^"]+)"', entity)
            assert link is not None
            for text in (seen(entity), seen(await visitor.get(link[1]))):
                assert re.search(rf"{RESEND} /public-api/\S+ → 202 in \d+ ms", text)

    on_log(valkey, prefix, check)


def test_a_handler_draws_a_day_of_what_it_settled_and_what_went_wrong(valkey, prefix) -> None:
    async def check(log: EventLog) -> None:
        await log.declare([declaration(post)])
        async with visiting(log) as visitor:
            assert "It is known after some minutes" in await visitor.get("/handlers/acme.post")
            now = now_ms()
            minute = now // 60_000
            chunk, place = divmod(minute, 360)
            packed = b"\xff\xff\xff" * place + (600).to_bytes(3)
            wrong = b"\xff\xff\xff" * (place // 5) + (7).to_bytes(3)
            await log.redis.hset(
                log.key("minutes", chunk), mapping={"acme.post": packed, "acme.post!": wrong}
            )
            text = await visitor.get("/handlers/acme.post")
        assert "Settled per minute over 24 hours: at most 600, 600 in all" in text
        assert "Retried or dead in five minutes over 24 hours: at most 7, 7 in all" in text
        assert re.search(r"UTC: 7 retried or dead, at most 7 in five minutes", text)
        assert text.count('<path d="M287 ') == 2
        assert not re.search(r"style=|<style|onclick=", text)

    on_log(valkey, prefix, check)
