"""A large body is read only when it is asked for, and a page shows its beginning and how to see all of it."""

from __future__ import annotations

import gzip
import json
import re

import pytest

from commands.console_bodies import ConsoleBodies
from eventlog.clock import now_ms
from eventlog.log import EventLog, NewEvent, Unreadable
from handlers import Context, Event, GiveUp, Raw, handler
from receiver.settings import load
from tests.harness import declaration, drained
from tests.integration.test_console import BODIES, HOSTILE, Visitor, on_log, visiting
from tests.integration.test_console_pages import seen

AT_MOST_BYTES = 200_000
MIB = 1 << 20
TYPE = "SessionUpdateNotification"


def deep(levels: int) -> str:
    return "[" * levels + "]" * levels


def body_of(filling: str) -> bytes:
    """Return a body of 1 MiB whose first fields are a person's."""
    begin = f'{{"notification":"{TYPE}","session":{{"id":"1"}},"email":"anna@example.org","filling":['
    many = (MIB - len(begin) - 10) // (len(filling.encode()) + 1)
    return (begin + ",".join([filling] * many) + "]}").encode()


LARGE = {
    "wide": body_of("0"),
    "texts": body_of(json.dumps(HOSTILE * 20)),
    "quotes": body_of(json.dumps("\"'&<é€😀" * 500, ensure_ascii=False)),
    "levels": body_of(deep(200)),
    "one text": body_of(json.dumps("x" * 500_000)),
}


@handler("acme.gives-up", on=[TYPE])
async def gives_up(event: Event[Raw], _: Context) -> None:
    raise GiveUp("too large for us")


async def measured(log: EventLog, visitor: Visitor, path: str) -> tuple[str, int]:
    """Return a page, which the visitor finds at most 100 KiB long, and the bytes that it took from Redis."""
    before = (await log.redis.info("stats"))["total_net_output_bytes"]
    text = await visitor.get(path)
    return text, (await log.redis.info("stats"))["total_net_output_bytes"] - before


@pytest.mark.parametrize("kind", LARGE)
def test_a_large_body_is_shown_from_its_beginning_when_it_is_asked_for(kind: str, valkey, prefix) -> None:
    async def check(log: EventLog) -> None:
        await log.declare([declaration(gives_up)])
        new = NewEvent(TYPE, "session:1", LARGE[kind], now_ms(), "0a1b2c3d", "mark")
        ((_, event_id, _),) = (await log.append([new])).answers
        await drained(log, gives_up)
        (letter,) = await log.redis.xrange(log.key("dead", gives_up.name))
        letter_id = f"{gives_up.name}/{letter[0].decode()}"
        async with visiting(log) as visitor:
            await visitor.get("/")
            for path, whole in (
                (f"/event/{event_id}", f"events show {event_id} --body"),
                (f"/dead/{letter_id}", f"dead show {letter_id} --body"),
            ):
                visitor.client.cookies.clear()
                for address in (path, f"{path}?body=show"):
                    text, taken = await measured(log, visitor, address)
                    assert taken < AT_MOST_BYTES
                    assert "anna" not in text
                    assert "after a log-in" in text
                await visitor.log_in(BODIES)
                text, taken = await measured(log, visitor, path)
                assert taken < AT_MOST_BYTES
                assert "filling" not in text
                assert f"It has {len(LARGE[kind]):,} bytes" in seen(text)
                assert whole in seen(text)
                asked = re.search(r'href="/console([^"]+body=show)"', text)
                assert asked is not None
                text, _ = await measured(log, visitor, asked[1])
                assert '"filling": [' in seen(text)
                assert "anna" not in text
                assert "<script>alert" not in text
                assert f"This is its beginning. {whole} shows all of it." in seen(text)
                assert "data-live-part" not in text  # or it would be read again with each event
                personal = re.search(r'href="/console([^"]+personal=show)"', text)
                assert personal is not None
                shown = seen(await visitor.get(personal[1].replace("&amp;", "&")))
                assert "anna@example.org" in shown
                assert whole in shown

    on_log(valkey, prefix, check)


def test_a_body_that_unpacks_to_a_large_one_is_shown_when_it_is_asked_for(valkey, prefix) -> None:
    async def check(log: EventLog) -> None:
        packed = gzip.compress(LARGE["wide"])
        assert len(packed) < 10_000
        new = NewEvent(TYPE, "session:1", packed, now_ms(), "0a1b2c3d", "mark", mark="encoding=gzip")
        ((_, event_id, _),) = (await log.append([new])).answers
        async with visiting(log) as visitor:
            assert f"events show {event_id}" in seen(await visitor.get(f"/event/{event_id}"))
            await visitor.log_in(BODIES)
            assert "filling" not in await visitor.get(f"/event/{event_id}")
            assert '"filling": [' in seen(await visitor.get(f"/event/{event_id}?body=show"))

    on_log(valkey, prefix, check)


def test_a_body_in_quarantine_that_unpacks_to_a_large_one_is_not_tried_for_its_page(valkey, prefix) -> None:
    async def check(log: EventLog) -> None:
        new = Unreadable(gzip.compress(LARGE["wide"]), "not-json", now_ms(), "0a1b2c3d")
        ((_, stream_id, _),) = (await log.append([new])).answers
        async with visiting(log, bodies=ConsoleBodies(load({}))) as visitor:
            said = "A retry now is not tried on the page of a body of this size"
            assert said in seen(await visitor.get(f"/quarantine/{stream_id}"))
            await visitor.log_in(BODIES)
            assert said in seen(await visitor.get(f"/quarantine/{stream_id}?body=show"))
            await log.append([Unreadable(b"[" * MIB, "not-json", now_ms(), "0a1b2c3d")])
            plan = seen(await visitor.get("/quarantine/plan/retry"))
            assert "1 too large to be tried for a plan" in plan

    on_log(valkey, prefix, check)


def test_a_large_body_in_quarantine_is_read_when_it_is_asked_for(valkey, prefix) -> None:
    async def check(log: EventLog) -> None:
        new = Unreadable(b"[" * MIB, "not-json", now_ms(), "0a1b2c3d")
        ((_, stream_id, _),) = (await log.append([new])).answers
        async with visiting(log) as visitor:
            await visitor.get("/")
            for path, said in (
                (f"/event/{stream_id}", "not-json"),
                (f"/quarantine/{stream_id}", f"quarantine show {stream_id}"),
                ("/quarantine/plan/discard", "Bodies 1"),
            ):
                text, taken = await measured(log, visitor, path)
                assert taken < AT_MOST_BYTES
                assert said in seen(text)
            await visitor.log_in(BODIES)
            text, taken = await measured(log, visitor, f"/quarantine/{stream_id}")
            assert taken < AT_MOST_BYTES
            assert f"events show {stream_id} --body" in text
            assert "cannot be read as JSON" in await visitor.get(f"/quarantine/{stream_id}?body=show")
            assert "[[[[" in await visitor.get(f"/quarantine/{stream_id}?body=show&personal=show")

    on_log(valkey, prefix, check)
