"""The console over a real log: what its pages say, who may do what, and what happens when Redis is away."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from urllib.parse import quote

import httpx2
import pytest

from commands.console_parts import wording
from commands.demo_stack import free_port
from console.application import alone, application
from console.bodies import BodyReader
from console.live import MOST_PAGES, Live
from console.sessions import Right
from eventlog.audit import Act, newest
from eventlog.clock import now_ms
from eventlog.connection.connect import connect
from eventlog.connection.embedded import EmbeddedServer
from eventlog.inspection.event_search import LOOKS, Place, Wanted, search
from eventlog.log import EventLog, Unreadable
from eventlog.operation.handlers import pauses
from handlers import Context, Event, GiveUp, Raw, Retry, handler
from tests.door import door
from tests.harness import declaration, drained, event, opened, soon

ACT, BODIES = "a-token-for-acting", "a-token-for-bodies"
HOSTILE = "<script>alert(1)</script>\x1b[31m\u202eevil"


@handler("acme.mail", on=["SessionUpdateNotification"])
async def mail(event: Event[Raw], _: Context) -> None:
    match event.key:
        case "session:3":
            raise GiveUp("user has <b>no</b> address")
        case "session:4":
            raise Retry("mail server is busy", after_s=600)


async def acts_of(log: EventLog, limit: int) -> list[Act]:
    """Return the newest entries of the audit, without log-ins."""
    return [act for act in await newest(log, limit=limit + 10) if act.what != "console log in"][:limit]


class Visitor:
    """A browser without JavaScript. It asks for pages, and sends the forms that it finds in them."""

    def __init__(self, client: httpx2.AsyncClient) -> None:
        self.client = client

    async def get(self, path: str, status: int = 200) -> str:
        answer = await self.client.get(f"/console{path}")
        assert answer.status_code == status, answer.text
        assert len(answer.content) < 102_400
        return answer.text

    async def log_in(self, token: str, status: int = 303) -> httpx2.Response:
        answer = await self.client.post("/console/session", data={"token": token, "name": "Nora"})
        assert answer.status_code == status
        return answer

    async def send(self, path: str, page: str = "", **form: str) -> httpx2.Response:
        """Send a form with the form token that stands in a page."""
        found = re.search(r'name="form_token" value="([^"]+)"', page)
        token = {"form_token": found[1]} if found else {}
        return await self.client.post(f"/console{path}", data={"sent": "1", **token, **form})


@contextlib.asynccontextmanager
async def visiting(
    log: EventLog,
    tokens: Mapping[Right, str] | None = None,
    url: str = "",
    bodies: BodyReader | None = None,
) -> AsyncIterator[Visitor]:
    """Open the console of a log; by default both rights can be had."""
    given: Mapping[Right, str] = {"act": ACT, "bodies": BODIES} if tokens is None else tokens
    async with contextlib.AsyncExitStack() as closing:
        if url:
            redis = await closing.enter_async_context(connect(url, timeout_s=1.5))
            log = EventLog(redis, prefix=log.prefix, lanes=log.lanes)
        made = application(log, wording=wording(), tokens=lambda: given, stop=asyncio.Event(), bodies=bodies)
        pages = alone(made)
        transport = httpx2.ASGITransport(app=pages)
        yield Visitor(
            await closing.enter_async_context(
                httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1")
            )
        )


def on_log(valkey: EmbeddedServer, prefix: str, check) -> None:
    async def run() -> None:
        async with opened(valkey.url, prefix) as log:
            await check(log)

    asyncio.run(run())


async def filled(log: EventLog, events: int = 8) -> None:
    """Append an event for each of some sessions, and handle them."""
    await log.declare([declaration(mail)])
    for n in range(events):
        await log.append([event(key=f"session:{n}", user={"email": "anna@example.org", "id": 5})])
    await drained(log, mail)


def test_the_overview_says_what_needs_a_person_and_leads_there(valkey, prefix) -> None:
    async def check(log: EventLog) -> None:
        await filled(log)
        await log.append([Unreadable(b"{", "not-json", now_ms(), "00000000")])
        async with visiting(log) as visitor:
            text = await visitor.get("/")
            assert "no worker is alive" in text
            assert "<code>quarantine list</code>" in text
            assert 'href="/console/handlers/acme.mail"' in text
            assert "data-live-part" in text

    on_log(valkey, prefix, check)


def test_events_can_be_searched_and_paged_without_losing_one(valkey, prefix) -> None:
    async def check(log: EventLog) -> None:
        await filled(log, 130)
        await log.append([event("cdr.received", key="session:7")])
        async with visiting(log) as visitor:
            seen: list[str] = []
            path: str | None = "/events"
            while path is not None:
                text = await visitor.get(path)
                seen += re.findall(r'class="id" href="/console/event/([\d-]+)"', text)
                older = re.search(r'rel="next" href="/console([^"]+)"', text)
                path = older[1].replace("&amp;", "&") if older else None
            assert len(seen) == len(set(seen)) == 131
            assert [Place.of(one) for one in seen] == sorted(map(Place.of, seen), reverse=True)
            assert "cdr.received" in await visitor.get("/events?key=session:7&type=cdr.received")
            assert (await visitor.get("/events?key=session:7")).count('class="id"') == 2
            parked = await visitor.get("/events?handler=acme.mail&state=retry")
            assert re.findall(r"key=session%3A(\d+)", parked) == ["4"]
            assert "not-wanted" in await visitor.get("/events?handler=acme.mail&type=cdr.received")
            assert "No event found" in await visitor.get("/events?until=2h+ago")
            assert (await visitor.get("/events?since=2h+ago&type=cdr.received")).count('class="id"') == 1
            for wrong in ("since=yesterday", "before=x", "state=odd", "state=retry", f"key={'x' * 501}"):
                await visitor.get(f"/events?{wrong}", 400)
            await visitor.get("/events?handler=none", 404)

    on_log(valkey, prefix, check)


def test_a_search_reads_a_bounded_number_of_entries_and_says_how_far(valkey, prefix) -> None:
    async def check(log: EventLog) -> None:
        for _ in range(10):
            await log.append([event(key=f"session:{n}") for n in range(250)])
        await log.append([event("rare.one", key="session:1")])
        found, seen, pages = await search(log, Wanted(type="SessionUpdateNotification")), 0, 0
        assert (len(found.rows), found.looked <= LOOKS) == (50, True)
        none = await search(log, Wanted(type="other"))
        assert (none.rows, none.looked) == ((), LOOKS)
        assert none.next is not None
        before: Place | None = None
        while True:
            page = await search(log, Wanted(), before=before, limit=500)
            seen, pages = seen + len(page.rows), pages + 1
            assert page.looked <= LOOKS
            if page.next is None:
                break
            before = Place.of(page.next)
        assert (seen, pages) == (2_501, 6)
        async with visiting(log) as visitor:
            text = await visitor.get("/events?type=other")
            for words in (
                "Read 2,000 entries",
                "back to",
                "None of this type",
                "No registered handler",
                "Older",
            ):
                assert words in text

    on_log(valkey, prefix, check)


def test_an_event_has_its_line_of_life_and_says_why_it_waits(valkey, prefix) -> None:
    async def check(log: EventLog) -> None:
        await filled(log)
        rows = {row.key: row.event_id for row in (await search(log, Wanted())).rows}
        async with visiting(log) as visitor:
            dead = await visitor.get(f"/event/{rows['session:3']}")
            assert "user has &lt;b&gt;no&lt;/b&gt; address" in dead
            assert "ended: dead" in dead
            assert "mail server is busy" in await visitor.get(f"/event/{rows['session:4']}")
            await log.append([event(key="session:4")])
            await drained(log, mail)
            (last, *_) = (await search(log, Wanted(key="session:4"))).rows
            assert f'It waits behind <a href="/console/event/{rows["session:4"]}"' in await visitor.get(
                f"/event/{last.event_id}"
            )
            unknown = await visitor.get("/event/0-1764000000000-0", 404)
            assert "the log has no trace of 0-1764000000000-0" in unknown
            assert "acme.mail wants SessionUpdateNotification" in unknown
            asked = await visitor.client.get("/console/event/session:4")
            assert (asked.status_code, asked.headers["location"]) == (303, "/console/entity?key=session%3A4")
            long = "x:" + "y" * 200
            asked = await visitor.client.get(f"/console/event/{long}")
            assert asked.headers["location"] == f"/console/entity?key={quote(long, safe='')}"
            for wrong in ("x", "9" * 90, "1-2-3-4"):
                await visitor.get(f"/event/{wrong}", 404)

    on_log(valkey, prefix, check)


def test_the_search_field_leads_to_the_page_of_what_was_typed(valkey, prefix) -> None:
    async def check(log: EventLog) -> None:
        await filled(log, 1)
        (row,) = (await search(log, Wanted())).rows
        async with visiting(log) as visitor:
            for typed, page in (
                (row.event_id, f"/console/event/{row.event_id}"),
                ("session:1", "/console/entity?key=session%3A1"),
                ("acme.mail", "/console/handlers/acme.mail"),
                ("cdr.received", "/console/events?type=cdr.received"),
                ("", "/console/events"),
            ):
                answer = await visitor.client.get("/console/search", params={"q": typed})
                assert (answer.status_code, answer.headers["location"]) == (303, page)

    on_log(valkey, prefix, check)


def test_reading_needs_no_right_and_acting_without_it_is_refused_and_written_down(valkey, prefix) -> None:
    async def check(log: EventLog) -> None:
        await filled(log, 1)
        async with visiting(log) as visitor:
            page = await visitor.get("/handlers/acme.mail")
            assert "needs the token for acting" in page
            assert (await visitor.send("/handlers/acme.mail/pause")).status_code == 403
            await visitor.log_in(BODIES)
            page = await visitor.get("/handlers/acme.mail")
            assert (await visitor.send("/handlers/acme.mail/pause", page)).status_code == 403
            assert await pauses(log) == {}
            assert [(act.what, act.via, act.plan, act.user) for act in await newest(log, limit=10)] == [
                ("handlers pause (refused)", "console", {"refused": "no-right", "name": "acme.mail"}, "Nora"),
                ("console log in", "console", {"rights": ["bodies"]}, "Nora"),
                ("handlers pause (refused)", "console", {"refused": "no-right", "name": "acme.mail"}, ""),
            ]
            for _ in range(30):
                await visitor.send("/handlers/acme.mail/pause")
            assert len(await newest(log, limit=100)) == 11  # no flood of them

    on_log(valkey, prefix, check)


def test_pausing_and_resuming_with_the_right_is_done_and_written_down(valkey, prefix) -> None:
    async def check(log: EventLog) -> None:
        await filled(log, 1)
        async with visiting(log) as visitor:
            await visitor.log_in(ACT)
            page = await visitor.get("/handlers/acme.mail")
            done = await visitor.send("/handlers/acme.mail/pause", page, reason="<i>move</i>")
            assert (done.status_code, done.headers["location"]) == (303, "/console/handlers/acme.mail")
            assert (await pauses(log))["acme.mail"].reason == "<i>move</i>"
            page = await visitor.get("/handlers/acme.mail")
            assert "&lt;i&gt;move&lt;/i&gt;" in page
            assert (await visitor.send("/handlers/acme.mail/resume", page)).status_code == 303
            assert await pauses(log) == {}
            acts, token_id = await newest(log, limit=10), hashlib.sha256(ACT.encode()).hexdigest()[:8]
            assert {act.token for act in acts} == {token_id}
            assert token_id in await visitor.get("/audit")
            assert [(act.user, act.what, act.plan) for act in acts] == [
                ("Nora", "handlers resume", {"handler": "acme.mail"}),
                ("Nora", "handlers pause", {"handler": "acme.mail", "reason": "<i>move</i>"}),
                ("Nora", "console log in", {"rights": ["act"]}),
            ]
            assert (await visitor.send("/handlers/none/pause", page)).status_code == 404
            assert len(await newest(log, limit=10)) == 3
            visitor.client.cookies.clear()
            assert token_id not in await visitor.get("/audit")

    on_log(valkey, prefix, check)


def test_a_form_of_another_log_in_or_another_site_changes_nothing(valkey, prefix) -> None:
    async def check(log: EventLog) -> None:
        await filled(log, 1)
        async with visiting(log) as visitor:
            await visitor.log_in(ACT)
            old = await visitor.get("/handlers/acme.mail")
            await visitor.log_in(ACT)
            page = await visitor.get("/handlers/acme.mail")
            path = "/handlers/acme.mail/pause"
            assert (await visitor.send(path, old)).status_code == 403
            assert (await visitor.send(path)).status_code == 403
            for header in (
                {"origin": "http://evil.test"},
                {"origin": "http://["},
                {"origin": "null"},
                {"sec-fetch-site": "cross-site"},
            ):
                visitor.client.headers = httpx2.Headers(header)
                assert (await visitor.send(path, page)).status_code == 403
            visitor.client.headers = httpx2.Headers()
            as_json = await visitor.client.post(f"/console{path}", json={"form_token": "x"})
            assert as_json.status_code == 415
            assert (await visitor.send(path, page, reason="x" * 70_000)).status_code == 413
            assert (await visitor.client.get(f"/console{path}")).status_code == 405
            assert await pauses(log) == {}
            reasons = {act.plan["refused"] for act in await newest(log, limit=20) if "refused" in act.plan}
            assert reasons == {"form-token", "other-origin", "no-form", "form-too-long"}

    on_log(valkey, prefix, check)


def test_the_cookie_is_closed_to_scripts_and_other_sites_and_logging_out_ends_it(valkey, prefix) -> None:
    async def check(log: EventLog) -> None:
        async with visiting(log) as visitor:
            answer = await visitor.log_in(ACT)
            cookie = answer.headers["set-cookie"].lower()
            for part in ("httponly", "samesite=strict", "path=/console", "max-age=43200"):
                assert part in cookie
            assert "secure" not in cookie
            assert ACT not in str(answer.headers) + await visitor.get("/")
            page = await visitor.get("/")
            assert (await visitor.send("/session/end")).status_code == 403
            assert (await visitor.send("/session/end", page)).status_code == 303
            assert "Log out" not in await visitor.get("/")
            visitor.client.headers["x-forwarded-proto"] = "https"
            assert "secure" in (await visitor.log_in(ACT)).headers["set-cookie"].lower()

    on_log(valkey, prefix, check)


def test_wrong_tokens_are_refused_and_then_throttled(valkey, prefix) -> None:
    async def check(log: EventLog) -> None:
        async with visiting(log) as visitor:
            for _ in range(5):
                await visitor.log_in("a-wrong-token", 403)
            assert "retry-after" in (await visitor.log_in(ACT, 429)).headers
            acts = await newest(log, limit=10)
            assert {(act.what, act.plan["refused"]) for act in acts} == {
                ("console log in (refused)", "wrong-token")
            }
            assert "a-wrong-token" not in str(acts)
            nameless = await visitor.client.post("/console/session", data={"token": ACT})
            assert nameless.status_code == 429
        async with visiting(log, {}) as visitor:
            assert "Log in" not in await visitor.get("/")
            assert "This console is read only" in await visitor.get("/session")
            await visitor.log_in("", 403)

    on_log(valkey, prefix, check)


@pytest.mark.parametrize("given", ["https://evil.test/", "//evil.test", "/console/\\evil", "/other", ""])
def test_a_log_in_leads_to_no_other_site(valkey, prefix, given: str) -> None:
    async def check(log: EventLog) -> None:
        async with visiting(log) as visitor:
            form = {"token": ACT, "name": "Nora", "next": given}
            answer = await visitor.client.post("/console/session", data=form)
            assert answer.headers["location"] == "/console/"

    on_log(valkey, prefix, check)


def test_bodies_need_their_right_and_personal_values_are_hidden_until_asked_for(valkey, prefix) -> None:
    async def check(log: EventLog) -> None:
        await filled(log, 1)
        (row,) = (await search(log, Wanted())).rows
        page = f"/event/{row.event_id}"
        async with visiting(log) as visitor:
            for _ in range(2):
                shown = await visitor.get(f"{page}?personal=show")
                assert "anna@example.org" not in shown
                assert "user.email" in shown
                await visitor.log_in(ACT)
            await visitor.log_in(BODIES)
            masked = await visitor.get(page)
            assert "anna@example.org" not in masked
            assert "SessionUpdateNotification&#34;" in masked
            assert "anna@example.org" in await visitor.get(f"{page}?personal=show")

    on_log(valkey, prefix, check)


def test_hostile_content_is_shown_and_harmless(valkey, prefix) -> None:
    async def check(log: EventLog) -> None:
        await log.declare([declaration(mail)])
        long = "y" * 100_000
        await log.append(
            [
                event(HOSTILE, key=f"x:{HOSTILE}", body=HOSTILE),
                event("long." + long, key=f"k:{long}", text=long),
            ]
        )
        rows = (await search(log, Wanted())).rows
        async with visiting(log) as visitor:
            await visitor.log_in(BODIES)
            for path in ("/", "/events", *(f"/event/{row.event_id}?personal=show" for row in rows)):
                text = await visitor.get(path)
                assert "<script>alert" not in text
                assert not {"\x1b", "\u202e"} & {*text}
            link = re.search(r'href="/console(/events\?key=x[^"]+)"', await visitor.get("/events"))
            assert link is not None
            shown = await visitor.get(link[1])  # leads to the entity, with any text as its key
            assert shown.count('class="id"') == 1
            assert "x:&lt;script&gt;alert(1)&lt;/script&gt;\\x1b[31m\\u202eevil" in shown
            assert "<script>alert" not in await visitor.get(
                f"/events?type={quote(HOSTILE)}&handler={quote(HOSTILE)}", 404
            )
            assert "<script>alert" not in await visitor.get(f"/{quote(HOSTILE)}", 404)

    on_log(valkey, prefix, check)


def test_every_answer_forbids_scripts_from_elsewhere_and_frames(valkey, prefix) -> None:
    async def check(log: EventLog) -> None:
        async with visiting(log) as visitor:
            style = re.search(r'href="/console(/assets/[^"]+\.css)"', await visitor.get("/"))
            assert style is not None
            for path in ("/", "/events", "/none", "/session", "/event/x", style[1], "/assets/0/console.css"):
                answer = await visitor.client.get(f"/console{path}")
                policy = answer.headers["content-security-policy"]
                assert "default-src 'none'" in policy
                assert "frame-ancestors 'none'" in policy
                assert "unsafe" not in policy
                assert answer.headers["x-content-type-options"] == "nosniff"
                assert answer.headers["referrer-policy"] == "same-origin"
                kept = "immutable" if path == style[1] else "no-store"
                assert kept in answer.headers["cache-control"]
                assert not re.search(r"<style|style=|<script>|onclick=|javascript:", answer.text)

    on_log(valkey, prefix, check)


def test_every_page_says_that_redis_is_away_and_works_again_after_it(server, prefix) -> None:
    async def check(log: EventLog) -> None:
        await filled(log, 1)
        (row,) = (await search(log, Wanted())).rows
        async with visiting(log, url=server.url) as visitor:
            paths = ("/", "/events", "/handlers", "/handlers/acme.mail", f"/event/{row.event_id}")
            await visitor.get("/")
            server.stop()
            for path in paths:
                assert "Redis is away" in await visitor.get(path, 503)
            await visitor.log_in(ACT)
            assert (await visitor.send("/handlers/acme.mail/pause")).status_code == 503
            server.start()
            for path in paths:
                await visitor.get(path)

    on_log(server, prefix, check)


def test_a_redis_that_does_not_answer_is_said_and_not_waited_for(server, prefix, monkeypatch) -> None:
    async def check(log: EventLog) -> None:
        monkeypatch.setattr("console.page.ACT_S", 0.5)
        await filled(log, 1)
        async with visiting(log, url=server.url) as visitor:
            await visitor.get("/")
            os.kill(server.pid, signal.SIGSTOP)
            try:
                texts = await asyncio.gather(
                    *(visitor.get(path, 503) for path in ("/", "/events", "/handlers"))
                )
                assert all("Redis is" in text for text in texts)
                assert "within 0.5 s" in (await visitor.send("/handlers/acme.mail/pause")).text
                await visitor.get("/help")
            finally:
                os.kill(server.pid, signal.SIGCONT)
            await visitor.get("/")

    on_log(server, prefix, check)


def test_an_event_of_another_version_is_said_to_be_one(valkey, prefix) -> None:
    async def check(log: EventLog) -> None:
        await filled(log, 1)
        newer = (await log.redis.xadd(log.key("events", 1), {"v": 99, "new": "x"})).decode()
        async with visiting(log) as visitor:
            assert "Another version of this program" in await visitor.get(f"/event/1-{newer}", 409)
            await visitor.get("/events")

    on_log(valkey, prefix, check)


def test_open_pages_hear_of_an_event_and_end_with_the_process(valkey, prefix, monkeypatch) -> None:
    async def check(log: EventLog) -> None:
        monkeypatch.setattr("console.live.EVERY_S", 0.02)
        number, stop = 0, asyncio.Event()

        async def asked() -> int:
            return number

        live = Live(asked, stop)
        places = contextlib.ExitStack()
        streams = []
        for _ in range(MOST_PAGES):
            assert not live.is_full
            places.enter_context(live.place())
            streams.append(live.stream())
        firsts = [await anext(stream) for stream in streams]
        assert {*firsts} == {b"retry: 3000\n\n"}
        assert live.is_full
        assert await anext(streams[0]) == b"data: changed\n\n"  # the first answer is news
        number = 1
        assert await anext(streams[1]) == b"data: changed\n\n"
        stop.set()
        for stream in streams:
            async with asyncio.timeout(60):
                async for _ in stream:
                    pass
        places.close()
        assert not live.is_full

    on_log(valkey, prefix, check)


@pytest.mark.parametrize("options", [(), ("--processes", "2")])
def test_a_receiver_has_it_on_the_admin_port_alone(valkey, prefix, options) -> None:
    with door(valkey.url, prefix, {"AWR_CONSOLE_TOKEN": ACT}, *options) as front:
        assert front.get("/console/").status == 404
        page = front.get("/console/", admin=True)
        assert page.status == 200
        assert b"Needs attention" in page.body
        assert front.post(json.dumps({"notification": "x.changed"}).encode()).status == 202
        assert b"x.changed" in front.get("/console/events", admin=True).body


def test_a_worker_has_it_on_its_admin_port_and_no_token_is_logged(valkey, prefix, tmp_path: Path) -> None:
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith("AWR_")},
        "AWR_REDIS_URL": valkey.url,
        "AWR_KEY_PREFIX": prefix,
        "AWR_REGISTER": "off",
        "AWR_ADMIN_PORT": str(free_port()),
        "AWR_CONSOLE_TOKEN": ACT,
    }
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "commands", "worker"], env=environ, stderr=log)
    try:
        with httpx2.Client(base_url=f"http://127.0.0.1:{environ['AWR_ADMIN_PORT']}/console") as client:

            def is_there() -> bool:
                with contextlib.suppress(httpx2.HTTPError):
                    return "Needs attention" in client.get("/").text
                return False

            soon(is_there)
            sent = client.post("/session", data={"token": ACT, "name": "Nora"})
            assert (sent.status_code, "httponly" in sent.headers["set-cookie"].lower()) == (303, True)
            assert "Log out" in client.get("/").text
    finally:
        process.terminate()
        process.wait(60)
    assert ACT not in (tmp_path / "log").read_text()
