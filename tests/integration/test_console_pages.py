"""The pages Entity, Line to AMPECO and Shapes, and the charts of a day, over a real log."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Iterator
from html import unescape
from itertools import count, islice
from typing import Any
from urllib.parse import quote

import httpx2
import pytest

from ampeco.client import Client
from ampeco.notifications import SessionUpdate
from ampeco.observed_shape import Drift, observed
from ampeco.shape_record import encode_shape
from ampeco.simulator.testing import Box, tenant_in_a_box
from commands.console_parts import wording
from commands.console_resends import resends_of
from console.application import alone, application
from console.resends import Resends
from eventlog.clock import now_ms, rfc3339
from eventlog.connection.connect import connect
from eventlog.gap_records import Gaps
from eventlog.heartbeat import Hole
from eventlog.inspection.entity_events import ROWS
from eventlog.inspection.event_search import LOOKS
from eventlog.inspection.gaps import changed, recorded_gaps
from eventlog.log import EventLog
from eventlog.minute_history import ACCEPTED, HANDLED
from eventlog.recent_calls import RecentCall, remember
from eventlog.rotation import Rotation, write_rotation
from eventlog.shapes import put_shape
from eventlog.subscription import SubscriptionStore
from eventlog.turned_away import note
from handlers import Context, Event, GiveUp, Retry, Skip, Timer, handler
from receiver.settings import load
from tests.harness import declaration, drained, event
from tests.integration.test_console import ACT, BODIES, HOSTILE, Visitor, acts_of, on_log

SESSION, HARDWARE = "SessionUpdateNotification", "HardwareStatusNotification"
URL = "https://us.example/webhooks/ampeco"


@handler("acme.invoice", entity_state=dict[str, Any])
async def invoice(event: Event[SessionUpdate | Timer], ctx: Context[Any, Any]) -> None:
    match event.key:
        case "session:4711":
            raise GiveUp("user has no e-mail address")
        case "session:4":
            raise Retry("mail server is busy", after_s=600)
        case "session:5":
            raise Skip("not paid")
    if event.key == "session:6":
        ctx.later("remind", 600, {"n": 1})
        ctx.entity_state = {"email": "anna@example.org", "sent": 2}


@contextlib.asynccontextmanager
async def visiting(log: EventLog, resends: Resends | None = None) -> AsyncIterator[Visitor]:
    """Open the console of a log."""
    tokens = {"act": ACT, "bodies": BODIES}
    pages = application(log, wording=wording(), tokens=lambda: tokens, stop=asyncio.Event(), resends=resends)
    transport = httpx2.ASGITransport(app=alone(pages))
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        yield Visitor(client)


def seen(text: str) -> str:
    """Return what a reader sees of a page, with single blanks."""
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", text)).split())


async def handled(log: EventLog, *keys: str) -> None:
    await log.declare([declaration(invoice)])
    await log.append([event(key=key, n=n) for n, key in enumerate(keys)])
    await drained(log, invoice)


class Reader:
    """Somewhere in the console. It goes only where a link or the search form of its page leads."""

    def __init__(self, visitor: Visitor) -> None:
        self.visitor = visitor
        self.page = ""
        self.clicks = 0

    async def search(self, text: str) -> None:
        form = re.search(r'<form class="find" action="/console([^"]+)"', self.page)
        assert form is not None
        answer = await self.visitor.client.get(f"/console{form[1]}", params={"q": text})
        await self._open(answer.headers["location"])

    async def follow(self, within: str, says: str = "") -> None:
        """Follow the first link with this text in the first part of the main content that says something."""
        main = self.page[self.page.index("<main") :]
        part = main[main.index(within) :]
        link = re.search(rf'href="([^"]+)"[^>]*>[^<]*{re.escape(says)}', part)
        assert link is not None
        await self._open(unescape(link[1]))

    async def _open(self, address: str) -> None:
        self.clicks += 1
        self.page = await self.visitor.get(address.removeprefix("/console"))


def test_why_a_session_was_not_invoiced_is_four_clicks_away_at_most(valkey, prefix) -> None:
    async def check(log: EventLog) -> None:
        await handled(log, *(f"session:{n}" for n in range(4709, 4714)))
        async with visiting(log) as visitor:
            reader = Reader(visitor)
            reader.page = await visitor.get("/")
            await reader.search("session:4711")
            assert "acme.invoice ✕ dead" in seen(reader.page)
            assert "user has no e-mail address" in seen(reader.page)
            await reader.follow("Events, newest first", "dead letter")
            assert "in invoice" in seen(reader.page)  # the line of the handler
            await reader.follow("Event")
            assert "dead since" in seen(reader.page)
            await reader.follow("At the handlers", "acme.invoice")
            assert "Dead letters 1" in seen(reader.page)
            assert reader.clicks <= 4

    on_log(valkey, prefix, check)


def test_an_entity_shows_what_became_of_each_event_and_what_handlers_keep(valkey, prefix) -> None:
    async def check(log: EventLog) -> None:
        await handled(log, "session:4", "session:5", "session:6", "session:6", "session:7")
        act = RecentCall(0, "users.update", "acme.invoice", "1-1-0")
        await remember(log, act, ["session:6"], nonce="a", depth=5, echo_at_ms=None, lift=False)
        await remember(log, act, ["session:6"], nonce="b", depth=5, echo_at_ms=now_ms() - 1_000, lift=False)
        await log.redis.hset(log.key("ledger", "acme.invoice", "throttle|session:6"), "1-1-0", "1 a kept")
        async with visiting(log) as visitor:
            waits = seen(await visitor.get("/entity?key=session:4"))
            assert "mail server is busy" in waits
            assert "retry" in waits
            assert "not paid" in seen(await visitor.get("/entity?key=session:5"))
            text = seen(await visitor.get("/entity?key=session:6"))
            assert text.count("SessionUpdateNotification") == 2
            for said in ("Timer remind , set by", "A state of", "1 event has a slot", "users.update"):
                assert said in text
            assert "2 calls follow from each other" in text
            assert "anna@example.org" not in text
            await visitor.log_in(BODIES)
            masked = await visitor.get("/entity?key=session:6")
            assert "sent" in masked
            assert "anna@example.org" not in masked
            assert "anna@example.org" in await visitor.get("/entity?key=session:6&personal=show")
            assert "anna@example.org" not in await visitor.get("/entity?key=session:7&personal=show")

    on_log(valkey, prefix, check)


def test_an_entity_is_paged_and_an_event_that_is_gone_is_still_known(valkey, prefix) -> None:
    async def check(log: EventLog) -> None:
        await handled(log, *["session:7"] * (2 * ROWS + 5))
        lane = log.lane_of("session:7", b"")
        (first, _), *_ = await log.redis.xrange(log.key("events", lane), count=1)
        await log.redis.xdel(log.key("events", lane), first)
        async with visiting(log) as visitor:
            ids: list[str] = []
            path: str | None = "/entity?key=session:7"
            while path is not None:
                text = await visitor.get(path)
                ids += re.findall(r'class="id" href="/console/event/([\d-]+)"', text)
                assert "✓" in text
                assert "settled" not in seen(text)  # how each ended was found
                older = re.search(r'rel="next" href="/console([^"]+)"', text)
                path = unescape(older[1]) if older else None
            assert len(ids) == len(set(ids)) == 2 * ROWS + 5
            assert ids[-1] == f"{lane}-{first.decode()}"
            assert "no longer kept" in text

    on_log(valkey, prefix, check)


def test_an_old_event_that_is_open_or_dead_is_found_beyond_the_part_that_is_read(valkey, prefix) -> None:
    async def check(log: EventLog) -> None:
        await log.declare([declaration(invoice)])
        await log.append([event(key="session:4711"), event(key="session:4")])
        await drained(log, invoice)
        for key in ("session:4711", "session:4"):
            lane = log.lane_of(key, b"")
            others = (f"session:{n}" for n in count(10_000) if log.lane_of(f"session:{n}", b"") == lane)
            for _ in range(9):
                await log.append([event("other.type", key=one) for one in islice(others, 250)])
        async with visiting(log) as visitor:
            dead = seen(await visitor.get("/entity?key=session:4711"))
            assert f"Read {LOOKS:,} entries" in dead
            assert "No event of it found in the part that was read" in dead
            assert "user has no e-mail address" in dead
            assert "mail server is busy" in seen(await visitor.get("/entity?key=session:4"))

    on_log(valkey, prefix, check)


def test_an_unknown_entity_says_why_it_may_be_unknown(valkey, prefix) -> None:
    async def check(log: EventLog) -> None:
        await handled(log, "session:7")
        await Gaps(log).note("no-receiver", now_ms() - 60_000, now_ms(), [SESSION])
        async with visiting(log) as visitor:
            text = seen(await visitor.get("/entity?key=session:8", 404))
            assert "No event of it found" in text
            assert "the receiver was down" in text
            assert "acme.invoice wants SessionUpdateNotification" in text
            await visitor.get("/entity?key=session", 400)
            await visitor.get("/entity?key=session:7&before=x", 400)
            shown = await visitor.get(f"/entity?key={quote('x:' + HOSTILE)}", 404)
            assert "<script>alert" not in shown
            assert not {"\x1b", "\u202e"} & {*shown}

    on_log(valkey, prefix, check)


@pytest.fixture
def tenant(monkeypatch: pytest.MonkeyPatch) -> Iterator[Box]:
    with tenant_in_a_box() as box:
        monkeypatch.setenv("AWR_TENANT_URL", box.url)
        monkeypatch.setenv("AWR_API_TOKEN", box.token)
        yield box


async def subscribed(log: EventLog, box: Box) -> str:
    """Subscribe at the tenant, as the log remembers it."""

    def subscribe() -> str:
        with Client(box.url, box.token) as client:
            return client.notifications.subscribe([SESSION, HARDWARE], callback_url=URL).id

    made = await asyncio.to_thread(subscribe)
    await SubscriptionStore(log).remember(
        {"id": made, "callback_url": URL, "types": f"{SESSION},{HARDWARE}", "key_id": "0a1b2c3d"}
    )
    return made


def test_the_line_shows_subscription_rotation_and_gaps_with_their_proof(valkey, prefix) -> None:
    async def check(log: EventLog) -> None:
        now = now_ms()
        store = SubscriptionStore(log)
        await store.confirm(
            {"id": "77", "callback_url": URL, "types": SESSION},
            state="registered",
            key_id="k",
            covers=[SESSION],
        )
        await write_rotation(log, Rotation("subscribed", "aaaa1111", "bbbb2222", now - 5_000, ("77",), "78"))
        await log.redis.hset(log.key("door"), "r", now - 60_000)
        assert await log.close_gap("r", Hole(now - 60_000, now), [SESSION, HARDWARE], URL)
        gap = (await recorded_gaps(log))[0]
        done = {"state": "unproven", "checks": {SESSION: [214, 212, 2]}, "unproven": {HARDWARE: "no listing"}}
        await Gaps(log).replace(gap.id, gap.text, changed(gap, done).text)
        for n in range(12):
            await Gaps(log).note("not-subscribed", now - 10_000_000 + n, now - 9_000_000, [HARDWARE])
        async with visiting(log) as visitor:
            page = await visitor.get("/line")
            text = seen(page)
            for said in (
                "77",
                URL,
                "registered",
                "aaaa1111 to bbbb2222",
                "subscribed",
                "no call was made yet",
            ):
                assert said in text
            assert "214 212 2" in text
            assert "Unproven (no listing): HardwareStatusNotification" in text
            assert "the handler resend-failed is not registered" in text
            assert "no outage known" in text
            assert "gaps resend" in text  # this process has no token
            assert 'action="/console/line/resend' not in page
            older = re.search(r'rel="next" href="/console([^"]+)"', page)
            assert older is not None
            assert (await visitor.get(unescape(older[1]))).count("not-subscribed") == 3
            overview = seen(await visitor.get("/"))
            assert "Gaps in 24 h 13, 12 open" in overview
            assert "AMPECO's API ✓ no outage known budget of calls no call was made yet" in overview

    on_log(valkey, prefix, check)


def test_a_resend_is_planned_and_asked_for_with_the_right_alone(valkey, prefix, tenant: Box) -> None:
    async def check(log: EventLog) -> None:
        made = await subscribed(log, tenant)
        settings = load({"AWR_TENANT_URL": tenant.url, "AWR_API_TOKEN": tenant.token})
        span = {"from": "2h ago", "to": "1h ago"}
        async with visiting(log, resends_of(settings)) as visitor:
            for path in ("/line/resend/plan", "/line/resend"):
                assert (await visitor.send(path, **span)).status_code == 403
            await visitor.log_in(ACT)
            line = await visitor.get("/line")
            assert (await visitor.send("/line/resend/plan", **span)).status_code == 403  # no form token
            refused = await acts_of(log, 10)
            assert {act.what for act in refused} == {"gaps resend (refused)"}
            planned = (await visitor.send("/line/resend/plan", line, **span, type=SESSION)).text
            assert made in planned
            assert tenant.actions() == []
            assert len(await acts_of(log, 10)) == len(refused)
            form = dict(re.findall(r'name="([a-z]+)" value="([^"]*)"', planned))
            changed_ = {**form, "subscription": "other"}
            assert (await visitor.send("/line/resend", planned, **changed_)).status_code == 409
            assert tenant.actions() == []
            answer = await visitor.send("/line/resend", planned, **form)
            assert answer.headers["location"] == "/console/line?done=resend"
            (action,) = tenant.actions()
            assert action["body"]["notifications"] == [SESSION]
            act = (await acts_of(log, 1))[0]
            assert (act.user, act.via, act.what) == ("Nora", "console", "gaps resend")
            assert (act.plan["id"], act.plan["types"]) == (made, [SESSION])
            again = await visitor.send("/line/resend", planned, **form)
            assert again.status_code == 502
            assert "too early" in again.text
            for wrong in ({"from": "x"}, {"to": "3h ago"}, {"type": "no type!"}):
                assert (await visitor.send("/line/resend/plan", line, **{**span, **wrong})).status_code == 400

    on_log(valkey, prefix, check)


def test_without_a_token_or_an_ampeco_that_answers_nothing_is_asked_for(valkey, prefix, tenant: Box) -> None:
    async def check(log: EventLog) -> None:
        span = {"from": "2h ago", "to": "1h ago"}
        away = load({"AWR_TENANT_URL": "http://127.0.0.1:9", "AWR_API_TOKEN": tenant.token})
        for resends, reason in (
            (resends_of(load({})), "no-api-token"),
            (resends_of(away), "ampeco-unreachable"),
        ):
            async with visiting(log, resends) as visitor:
                await subscribed(log, tenant)
                await visitor.log_in(ACT)
                token = await visitor.get("/line")
                assert reason in (await visitor.send("/line/resend/plan", token, **span)).text
        async with visiting(log, resends_of(load({}))) as visitor:
            assert "cannot ask AMPECO" in await visitor.get("/line")

    on_log(valkey, prefix, check)


def test_shapes_are_listed_and_compared_with_the_contract(valkey, prefix) -> None:
    async def check(log: EventLog) -> None:
        now = now_ms()
        shape = observed({"notification": SESSION, "session": {"id": "x", "odd": 1}}, now, lambda name: True)
        shape.drifts.append(Drift("session.odd", "new-field", "contract", now))
        await put_shape(log, SESSION, b"", encode_shape(shape), is_known=True)
        wide = observed(
            {f"field_{chr(97 + n % 26)}{chr(97 + n // 26)}": 1 for n in range(400)}, now, lambda _: True
        )
        for n in range(45):
            await put_shape(log, f"own.type-{n:02}", b"", encode_shape(wide), is_known=False)
        await put_shape(log, HOSTILE, b"", b"{}", is_known=False)
        async with visiting(log) as visitor:
            names, path = [], "/shapes"
            while path:
                text = await visitor.get(path)
                assert "<script>alert" not in text
                names += re.findall(r'href="/console/shapes\?type=([^"]+)"', text)
                more = re.search(r'rel="next" href="/console([^"]+)"', text)
                path = unescape(more[1]) if more else ""
            assert len(names) == len(set(names)) == 47
            one = seen(await visitor.get(f"/shapes?type={SESSION}"))
            assert "session.odd : new-field, against the contract" in one
            assert "not documented" in one
            first = await visitor.get("/shapes?type=own.type-00")
            assert "does not describe this type" in first
            assert 'rel="next"' in first
            await visitor.get("/shapes?type=none", 404)
            await visitor.get(f"/shapes?type={quote(HOSTILE)}", 409)

    on_log(valkey, prefix, check)


def test_the_overview_draws_a_day_of_accepted_handled_and_refused(valkey, prefix) -> None:
    async def check(log: EventLog) -> None:
        now = now_ms()
        minute = now // 60_000
        chunk, place = divmod(minute, 360)
        packed = b"\xff\xff\xff" * max(0, place - 1) + (600).to_bytes(3) * min(2, place + 1)
        await log.redis.hset(log.key("minutes", chunk), mapping={ACCEPTED: packed, HANDLED: packed})
        slots = {(now // 600_000 * 600_000, "wrong-signature"): 7, (now // 600_000 * 600_000, "too-large"): 2}
        await note(log, slots, [])
        async with visiting(log) as visitor:
            text = await visitor.get("/")
            assert "Accepted per minute over 24 hours: at most 600" in text
            assert "Handled per minute over 24 hours: at most 600" in text
            assert re.search(rf"<title>{rfc3339(now)[11:13]}:00 UTC: [\d,]+ accepted, at most 600", text)
            assert '<path d="M287 ' in text or '<path d="M286 ' in text
            assert re.search(r"wrong-signature.*?7.*?too-large.*?2", text, re.DOTALL)
            assert "wrong-signature: at most 7 in ten minutes" in text
            assert not re.search(r"style=|<style|onclick=", text)

    on_log(valkey, prefix, check)


def test_the_pages_say_that_redis_is_away_and_work_again_after_it(server, prefix) -> None:
    async def check(log: EventLog) -> None:
        await handled(log, "session:7")
        async with (
            connect(server.url, timeout_s=1.5) as redis,
            visiting(EventLog(redis, prefix=prefix, lanes=log.lanes)) as visitor,
        ):
            paths = ("/entity?key=session:7", "/line", "/shapes")
            server.stop()
            for path in paths:
                assert "Redis is away" in await visitor.get(path, 503)
            server.start()
            for path in paths:
                await visitor.get(path)

    on_log(server, prefix, check)
