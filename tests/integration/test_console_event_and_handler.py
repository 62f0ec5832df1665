"""What the pages of an event and of a handler say of steps, calls, and of a day."""

from __future__ import annotations

import json
import re
from typing import Any

from ampeco.notifications import HardwareStatus
from eventlog.clock import now_ms
from eventlog.inspection.explain import explain
from eventlog.log import EventLog
from handlers import Context, Event, GiveUp, Raw, handler
from tests.harness import declaration, drained, event
from tests.integration.test_console import BODIES, on_log
from tests.integration.test_console_bodies import AT_MOST_BYTES, measured
from tests.integration.test_console_pages import seen, visiting
from tests.integration.test_handler_keys import by_evse, status
from tests.integration.test_once import RESEND, handled, resend, tenant

STEP = '{"v": 1, "state": "uncertain", "nonce": "n", "at_ms": 5}'


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
            mapping={f"extra-{n}": STEP for n in range(30)},
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


def test_the_steps_of_many_handlers_fit_the_page_of_an_event_and_of_its_entity(valkey, prefix) -> None:
    names = [f"acme.post-{n:02}" for n in range(62)]
    steps = {f"{n:02}" + "\U0001f600" * 198: STEP for n in range(20)}

    async def check(log: EventLog) -> None:
        await log.declare([declaration(post, name=name) for name in names])
        ((_, event_id, _),) = (await log.append([event(key="session:7")])).answers
        async with log.redis.pipeline() as asked:
            for name in names:
                for scope in (event_id, "session:7"):
                    asked.hset(log.key("ledger", name, scope), mapping=steps)
            await asked.execute()
        async with visiting(log) as visitor:
            await visitor.get("/")
            for path in (f"/event/{event_id}", "/entity?key=session:7"):
                text, taken = await measured(log, visitor, path)
                assert taken < AT_MOST_BYTES
                assert "Once-only steps of the entity: 00" in seen(text)
                assert "Once-only steps of the entity: 20 more" in seen(text)
            assert f"and 2 more handlers: explain {event_id}" in seen(await visitor.get(f"/event/{event_id}"))

    on_log(valkey, prefix, check)


def test_the_states_of_an_entity_are_shown_while_the_page_has_room(valkey, prefix) -> None:
    async def check(log: EventLog) -> None:
        names = [f"acme.post-{n}" for n in range(6)]
        await log.declare([declaration(post, name=name) for name in names])
        for name in names:
            await log.redis.set(log.key("state", name, "session:7"), json.dumps({"n": "x" * 3_900}))
        async with visiting(log) as visitor:
            await visitor.log_in(BODIES)
            text = await visitor.get("/entity?key=session:7&personal=show")
            assert text.count("x" * 2_900) == 5
            assert text.count("There is no room for it on this page") == 1
            assert "handlers export-state acme.post-5" in text

    on_log(valkey, prefix, check)


@handler("acme.board", key=by_evse, entity_state=dict[str, int])
async def board(_: Event[HardwareStatus], ctx: Context[Any, Any, dict[str, int]]) -> None:
    ctx.entity_state = {"n": 1}


def test_pages_say_which_command_lists_what_is_kept_under_keys_within_an_entity(valkey, prefix) -> None:
    async def check(log: EventLog) -> None:
        point = "charge-point:12"
        async with visiting(log) as visitor:
            await log.declare([declaration(post)])
            assert "keys within an entity" not in await visitor.get(f"/entity?key={point}", 404)
            await log.declare([declaration(board)])
            ((_, event_id, _),) = (await log.append([status(2, 1)])).answers
            await drained(log, board)
            assert (await explain(log, point, handler=None, now_ms=now_ms())).finer.records != ()
            assert f"explain {event_id} also lists" in seen(await visitor.get(f"/event/{event_id}"))
            entity = seen(await visitor.get(f"/entity?key={point}"))
            assert f"1 handler has keys within an entity: acme.board. explain {point} also lists" in entity

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


@handler("acme.chatty", on=["SessionUpdateNotification"], calls=[RESEND])
async def chatty(_: Event[Raw], ctx: Context) -> None:
    for n in range(12):
        await resend(ctx, f"type-{n}")
    raise GiveUp("nothing more to ask")


def test_a_dead_letter_shows_the_first_calls_in_words_and_counts_the_rest(valkey, prefix) -> None:
    async def check(log: EventLog) -> None:
        _, clients = tenant(202)
        await handled(log, chatty, event(key="session:7"), **clients)
        ((raw_id, _),) = await log.redis.xrange(log.key("dead", chatty.name))
        letter = f"{chatty.name}/{raw_id.decode()}"
        async with visiting(log) as visitor:
            text = seen(await visitor.get(f"/dead/{letter}"))
            assert len(re.findall(rf"{RESEND} /public-api/\S+ → 202 in \d+ ms", text)) == 10
            assert f"and 2 more calls: dead show {letter}" in text
            assert "and 7 more calls: see the event" in seen(await visitor.get("/entity?key=session:7"))

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
