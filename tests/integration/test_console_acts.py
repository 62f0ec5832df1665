"""Acts from the console over a real log: dead letters, handlers, the quarantine, and the audit of them."""

from __future__ import annotations

import asyncio
import html
import json
import re
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from commands.console_bodies import ConsoleBodies
from console.running import MOST_AT_ONCE
from eventlog.audit import Act, write
from eventlog.clock import now_ms
from eventlog.handler_faults import Fault
from eventlog.inspection.dead_groups import counts
from eventlog.inspection.quarantine_heads import heads
from eventlog.log import EventLog, Unreadable
from eventlog.operation.handlers import pauses
from eventlog.operation.replay import begin, unfinished
from eventlog.operation.selection import Selection
from eventlog.presence import beat
from handlers import Context, Event, GiveUp, Raw, handler
from receiver.settings import load
from tests.harness import declaration, drained, event, position
from tests.integration.test_console import ACT, BODIES, HOSTILE, Visitor, acts_of, on_log, visiting

WORKS: set[str] = set()


@handler("acme.mail", on=["SessionUpdateNotification"])
async def mail(event: Event[Raw], _: Context) -> None:
    if str(event.key) in WORKS:
        return
    if str(event.key).endswith("9"):
        raise GiveUp(HOSTILE)
    raise GiveUp("no address")


@handler("acme.bill", on=["SessionUpdateNotification"])
async def bill(_: Event[Raw], __: Context) -> None:
    raise GiveUp("no price")


@handler("plan", on=["SessionUpdateNotification"])
async def plan(_: Event[Raw], __: Context) -> None:
    raise GiveUp("no plan")


@pytest.fixture(autouse=True)
def nothing_works() -> None:
    WORKS.clear()


async def buried(log: EventLog, events: int, *handlers: Any) -> None:
    """Let each of some sessions die at the handlers."""
    await log.declare([declaration(one) for one in handlers])
    for first in range(0, events, 200):
        many = range(first, min(first + 200, events))
        await log.append([event(key=f"session:{n}", user={"email": "anna@example.org"}) for n in many])
    await drained(log, *handlers)


def link(page: str, words: str) -> str:
    """Return where the first link with these words leads, as a path of the console."""
    found = re.search(rf'href="/console([^"]+)"[^>]*>{re.escape(words)}', page)
    assert found, words
    return html.unescape(found[1])


async def carry_out(visitor: Visitor, plan: str) -> str:
    """Press the button of a plan, follow it as a browser does, and return the page at its end."""
    action = re.search(r'<form class="act" method="post" action="/console([^"]+)"', plan)
    selection = re.search(r'name="selection" value="([^"]*)"', plan)
    assert action is not None
    form = {"selection": html.unescape(selection[1])} if selection else {}
    answer = await visitor.send(action[1], plan, **form)
    assert answer.status_code == 303, answer.text
    return await ended(visitor, answer.headers["location"])


async def ended(visitor: Visitor, location: str) -> str:
    """Reload the page of an act until it says that the act ended."""
    async with asyncio.timeout(60):
        while True:
            answer = await visitor.client.get(location)
            assert answer.status_code == 200, answer.text
            if "refresh" not in answer.headers:
                return answer.text
            await asyncio.sleep(0.02)


def test_dead_letters_are_grouped_by_reason_and_place_and_lead_to_events(valkey, prefix) -> None:
    async def check(log: EventLog) -> None:
        await buried(log, 20, mail, bill)
        async with visiting(log) as visitor:
            page = await visitor.get("/dead")
            assert page.count("Retry…") == 3
            assert sorted(re.findall(r'class="n bad">(\d+)', page)) == ["18", "2", "20"]
            assert "Read 20 of 20" in page
            assert "test_console_acts.py:" in page
            assert "<script>alert" not in page
            only = await visitor.get("/dead?handler=acme.mail&key=session:19")
            assert re.findall(r'class="n bad">(\d+)', only) == ["1"]
            assert "None of those that were read" in await visitor.get("/dead?handler=acme.mail&type=none")
            of_event = await visitor.get(link(page, "event"))
            assert "Place in the code" in await visitor.get(link(of_event, "Its dead letter"))
            await beat(log, "default", "pod-1:7:abc", 1, {}, {})
            assert re.search(r'href="/console/dead(\?handler=acme\.\w+)?">Show', await visitor.get("/"))
            letter = await visitor.get(link(only, "session:19"))
            assert "&lt;script&gt;alert(1)&lt;/script&gt;" in letter
            assert "anna@example.org" not in letter
            await visitor.log_in(BODIES)
            path = link(only, "session:19")
            assert "anna@example.org" not in await visitor.get(path)
            assert "anna@example.org" in await visitor.get(f"{path}?personal=show")
            for wrong, status in (
                ("/dead?handler=none", 404),
                ("/dead?before=1-1", 400),
                ("/dead?handler=acme.mail&before=x", 400),
                ("/dead/acme.mail/1-1", 404),
                (f"/dead/{quote(HOSTILE)}/1-1", 404),
                ("/dead/plan/burn?handler=acme.mail", 404),
                ("/dead/plan/retry?handler=none", 404),
                ("/dead/plan/retry?handler=acme.mail&first=x", 400),
            ):
                assert "<script>alert" not in await visitor.get(wrong, status)

    on_log(valkey, prefix, check)


def test_a_group_is_retried_only_after_its_plan_and_the_audit_says_so(valkey, prefix) -> None:
    async def check(log: EventLog) -> None:
        await buried(log, 20, mail)
        WORKS.update(f"session:{n}" for n in range(20))
        async with visiting(log) as visitor:
            await visitor.log_in(ACT)
            page = await visitor.get("/dead")
            (path,) = {
                html.unescape(one)
                for one in re.findall(r'href="/console(/dead/plan/retry\?[^"]+)"', page)
                if "place" in one and await _counts_of(visitor, html.unescape(one)) == 18
            }
            plan = await visitor.get(path)
            assert "Retry 18 letters" in plan
            assert await counts(log) == {"acme.mail": 20}
            assert "Newest: " in plan
            done = await carry_out(visitor, plan)
            assert "18 of 18" in done
            assert "run again" in done
            assert await counts(log) == {"acme.mail": 2}
            await drained(log, mail)
            assert (await position(log, "acme.mail")).stats["done"] == 18
            (act,) = await acts_of(log, 10)
            assert (act.user, act.what, act.count, act.done) == ("Nora", "dead retry", 18, 18)
            assert (await visitor.send("/dead/retry", plan, selection=_selection(plan))).status_code == 409
            for path in ("/dead/retry", "/quarantine/discard", "/handlers/acme.mail/replay"):
                for odd in ("", "handler=acme.mail", "&".join(f"{n}=1" for n in range(99))):
                    assert "no-plan" in (await visitor.send(path, plan, selection=odd)).text
            assert "Nora" in await visitor.get("/audit")

    on_log(valkey, prefix, check)


def _selection(plan: str) -> str:
    found = re.search(r'name="selection" value="([^"]*)"', plan)
    assert found is not None
    return html.unescape(found[1])


async def _counts_of(visitor: Visitor, path: str) -> int:
    found = re.search(r"<dt>Letters</dt><dd>([\d,]+)", await visitor.get(path))
    assert found is not None
    return int(found[1].replace(",", ""))


def test_the_letters_of_a_handler_that_is_called_plan_have_pages(valkey, prefix) -> None:
    async def check(log: EventLog) -> None:
        await buried(log, 1, plan)
        async with visiting(log) as visitor:
            await visitor.log_in(ACT)
            letter = await visitor.get(link(await visitor.get("/dead"), "session:0"))
            assert "no plan" in letter
            assert "Retry 1 letter" in await visitor.get(link(letter, "Retry…"))

    on_log(valkey, prefix, check)


def test_a_letter_that_fails_again_is_not_taken_twice(valkey, prefix) -> None:
    async def check(log: EventLog) -> None:
        await buried(log, 3, mail)
        async with visiting(log) as visitor:
            await visitor.log_in(ACT)
            plan = await visitor.get("/dead/plan/discard?handler=acme.mail")
            await carry_out(visitor, await visitor.get("/dead/plan/retry?handler=acme.mail"))
            await drained(log, mail)
            assert await counts(log) == {"acme.mail": 3}
            answer = await visitor.send("/dead/discard", plan, selection=_selection(plan))
            assert answer.status_code == 409
            assert await counts(log) == {"acme.mail": 3}

    on_log(valkey, prefix, check)


def test_a_plan_stops_at_its_bound_and_the_act_does_no_more_than_it_said(valkey, prefix, monkeypatch) -> None:
    async def check(log: EventLog) -> None:
        monkeypatch.setattr("console.pages.dead_acts._SCANS", 2)
        monkeypatch.setattr("console.pages.dead_acts._LOOKS", 10)
        await buried(log, 30, mail)
        async with visiting(log) as visitor:
            await visitor.log_in(ACT)
            plan = await visitor.get("/dead/plan/discard?handler=acme.mail")
            assert "Discard 20 letters" in plan
            assert "among the newest 20 letters" in plan
            oldest = await log.redis.xrange(log.key("dead", "acme.mail"), count=10)
            await carry_out(visitor, plan)
            assert await log.redis.xrange(log.key("dead", "acme.mail")) == oldest

    on_log(valkey, prefix, check)


def test_many_letters_are_paged_and_one_is_discarded(valkey, prefix, monkeypatch) -> None:
    async def check(log: EventLog) -> None:
        monkeypatch.setattr("console.pages.dead.LOOKS", 50)
        await buried(log, 120, mail)
        async with visiting(log) as visitor:
            await visitor.log_in(ACT)
            page, seen = await visitor.get("/dead?handler=acme.mail"), 0
            while True:
                seen += sum(int(n) for n in re.findall(r'class="n bad">(\d+)', page))
                if 'rel="next"' not in page:
                    break
                assert "Read 50 of 120, back to" in page
                page = await visitor.get(link(page, "Older"))
            assert seen == 120
            one = await visitor.get("/dead?key=session:7&handler=acme.mail&type=SessionUpdateNotification")
            assert "None of those" in one
            page = await visitor.get("/dead")
            letter = await visitor.get(link(page, "session:"))
            done = await carry_out(visitor, await visitor.get(link(letter, "Discard…")))
            assert "1 of 1" in done
            assert await counts(log) == {"acme.mail": 119}
            (act,) = await acts_of(log, 10)
            assert (act.what, act.count, act.done) == ("dead discard", 1, 1)

    on_log(valkey, prefix, check)


@pytest.mark.parametrize(
    "path",
    [
        "/dead/retry",
        "/dead/discard",
        "/quarantine/retry",
        "/quarantine/discard",
        "/handlers/acme.mail/retire",
        "/handlers/acme.mail/replay",
        "/handlers/acme.mail/replay/continue",
        "/handlers/acme.mail/replay/forget",
    ],
)
def test_an_act_needs_the_right_and_the_form_of_its_session(valkey, prefix, path: str) -> None:
    async def check(log: EventLog) -> None:
        await buried(log, 1, mail)
        await log.append([Unreadable(b"{", "not-json", now_ms(), "00000000")])
        selection = {"selection": "handler=acme.mail&first=0-1&last=9999999999999-1&from=1h+ago&to=0s+ago"}
        async with visiting(log) as visitor:
            assert (await visitor.send(path, **selection)).status_code == 403
            await visitor.log_in(BODIES)
            page = await visitor.get("/audit")
            assert (await visitor.send(path, page, **selection)).status_code == 403
            await visitor.log_in(ACT)
            assert (await visitor.send(path, page, **selection)).status_code == 403
            assert await counts(log) == {"acme.mail": 1}
            assert (await heads(log, limit=0)).fitting == 1
            acts = await acts_of(log, 10)
            assert [act.plan["refused"] for act in acts] == ["form-token", "no-right", "no-right"]
            audit = await visitor.get("/audit")
            assert audit.count("(refused)") == 3
            assert (await visitor.client.get(f"/console{path}")).status_code in (200, 404, 405)

    on_log(valkey, prefix, check)


def test_plans_are_shown_to_everyone_without_a_button(valkey, prefix) -> None:
    async def check(log: EventLog) -> None:
        await buried(log, 1, mail)
        await log.append([Unreadable(b"{", "not-json", now_ms(), "00000000")])
        async with visiting(log, bodies=ConsoleBodies(load({}))) as visitor:
            for path in (
                "/dead/plan/retry?handler=acme.mail",
                "/quarantine/plan/discard",
                "/handlers/acme.mail/retire",
                "/handlers/acme.mail/replay?from=1h+ago",
            ):
                page = await visitor.get(path)
                assert 'class="act"' not in page
                assert "Log in" in page
                assert 'class="act"' in await _with_the_right(log, path)

    on_log(valkey, prefix, check)


async def _with_the_right(log: EventLog, path: str) -> str:
    async with visiting(log, bodies=ConsoleBodies(load({}))) as visitor:
        await visitor.log_in(ACT)
        return await visitor.get(path)


def test_a_replay_runs_after_its_plan_and_can_be_continued_or_dropped(valkey, prefix, monkeypatch) -> None:
    async def check(log: EventLog) -> None:
        await buried(log, 12, mail)
        WORKS.update(f"session:{n}" for n in range(12))
        async with visiting(log) as visitor:
            await visitor.log_in(ACT)
            path = "/handlers/acme.mail/replay"
            assert "Show the plan" in await visitor.get(path)
            plan = await visitor.get(f"{path}?from=1h+ago&key=session:3")
            assert "Replay 1 event" in plan
            monkeypatch.setattr(log, "ledger_ms", 0)
            assert "once-only steps are known since" in await visitor.get(f"{path}?from=1h+ago", 409)
            assert "may be called again" in await visitor.get(f"{path}?from=1h+ago&repeat=1")
            monkeypatch.undo()
            await visitor.get(f"{path}?from=yesterday", 400)
            await visitor.get(f"{path}?from=1h+ago&type=other", 400)
            assert "nothing to do" in await visitor.get(f"{path}?from=1h+ago&key=session:77")
            done = await carry_out(visitor, plan)
            assert "run again" in done
            await drained(log, mail)
            assert await counts(log) == {"acme.mail": 11}
            (act,) = await acts_of(log, 10)
            assert (act.what, act.count, act.done) == ("handlers replay", 1, 1)
            for verb, dead in (("continue", 0), ("forget", 0)):
                chosen = Selection("acme.mail", 0, now_ms(), ("SessionUpdateNotification",))
                await begin(log, chosen, now_ms=now_ms())
                assert "Unfinished replay" in await visitor.get(path)
                again = await visitor.get(f"{path}?from=1h+ago&key=session:3")
                refused = await visitor.send(path, again, selection=_selection(again))
                assert refused.status_code == 409
                answer = await visitor.send(f"{path}/{verb}", again)
                await ended(visitor, answer.headers["location"])
                assert await unfinished(log, "acme.mail") is None
                await drained(log, mail)
                assert await counts(log) == {"acme.mail": dead}

    on_log(valkey, prefix, check)


def test_a_handler_is_retired_after_its_plan(valkey, prefix) -> None:
    async def check(log: EventLog) -> None:
        await buried(log, 4, mail)
        async with visiting(log) as visitor:
            await visitor.log_in(ACT)
            plan = await visitor.get("/handlers/acme.mail/retire")
            assert "<dt>Dead letters</dt><dd>4" in plan
            done = await carry_out(visitor, plan)
            assert "is done" in done
            assert "0 of 4" not in done  # it counts nothing on its way
            await visitor.get("/handlers/acme.mail", 404)
            (act,) = await acts_of(log, 10)
            assert (act.what, act.plan, act.count) == ("handlers retire", {"handler": "acme.mail"}, 4)
            await visitor.get("/handlers/acme.mail/retire", 404)

    on_log(valkey, prefix, check)


def test_a_faulty_handler_says_why_also_before_it_is_registered(valkey, prefix) -> None:
    async def check(log: EventLog) -> None:
        await buried(log, 1, mail)
        faults = [
            Fault(
                "acme.mail", "lifespan-failed", f"KeyError {HOSTILE}", "mail.py:7 in start", now_ms(), None
            ),
            Fault("acme-plugin", "not-loaded", "SyntaxError", "plugin.py:1", now_ms(), None),
        ]
        await beat(log, "default", "pod-1:7:abc", 1, {}, {}, faults)
        async with visiting(log) as visitor:
            one = await visitor.get("/handlers/acme.mail")
            assert "lifespan-failed" in one
            assert "mail.py:7 in start" in one
            assert "acme-plugin" not in one
            every = await visitor.get("/handlers")
            assert "not-loaded: SyntaxError at plugin.py:1" in every
            assert "acme-plugin" in every
            assert "<script>alert" not in one + every

    on_log(valkey, prefix, check)


def test_an_act_that_the_log_refuses_says_why_and_leaves_no_line(valkey, prefix, monkeypatch) -> None:
    async def check(log: EventLog) -> None:
        monkeypatch.setattr("eventlog.operation.handlers.GIVE_BACK_S", 0.1)
        monkeypatch.setattr("eventlog.operation.handlers.retire.__kwdefaults__", {"give_back_s": 0.1})
        await buried(log, 1, mail)
        await log.redis.set(log.key("lease", "acme.mail", 0), "held")
        async with visiting(log) as visitor:
            await visitor.log_in(ACT)
            plan = await visitor.get("/handlers/acme.mail/retire")
            answer = await visitor.send("/handlers/acme.mail/retire", plan)
            page = await ended(visitor, answer.headers["location"])
            assert "a worker still holds a lane" in page
            assert await pauses(log) == {}
            assert await acts_of(log, 10) == []

    on_log(valkey, prefix, check)


def test_quarantined_bodies_are_retried_and_discarded_as_by_the_command(valkey, prefix) -> None:
    async def check(log: EventLog) -> None:
        readable = json.dumps({"notification": "x.changed", "email": "anna@example.org"}).encode()
        await log.append(
            [
                Unreadable(readable, "parser-failed", now_ms(), "00000000"),
                Unreadable(HOSTILE.encode(), "not-json", now_ms(), "00000000"),
                Unreadable(b"{", HOSTILE, now_ms(), "00000000"),
            ]
        )
        async with visiting(log, bodies=ConsoleBodies(load({}))) as visitor:
            await visitor.log_in(ACT)
            page = await visitor.get("/quarantine")
            assert "<script>alert" not in page
            assert page.count('class="id"') == 3
            assert (await visitor.get(f"/quarantine?reason={quote(HOSTILE)}")).count('class="id"') == 1
            stream_ids = re.findall(r'class="id" href="/console/quarantine/([\d-]+)"', page)
            entry = await visitor.get(f"/quarantine/{stream_ids[2]}")
            assert "makes an event of it: x.changed" in entry
            assert "anna@example.org" not in entry
            await visitor.log_in(BODIES)
            assert "anna@example.org" not in await visitor.get(f"/quarantine/{stream_ids[2]}")
            assert "anna@" in await visitor.get(f"/quarantine/{stream_ids[2]}?personal=show")
            hostile = await visitor.get(f"/quarantine/{stream_ids[1]}?personal=show")
            assert "&lt;script&gt;alert" in hostile
            plan = await visitor.get("/quarantine/plan/retry")
            assert "1 becomes x.changed" in plan
            done = await carry_out(visitor, plan)
            assert "3 of 3" in done
            assert (await heads(log, limit=0)).fitting == 2
            assert "x.changed" in await visitor.get("/events")
            plan = await visitor.get(f"/quarantine/plan/discard?reason={quote(HOSTILE)}")
            await carry_out(visitor, plan)
            assert [row.reason for row in (await heads(log, limit=9)).rows] == ["not-json"]
            assert [(act.what, act.count) for act in await acts_of(log, 9)] == [
                ("quarantine discard", 1),
                ("quarantine retry", 3),
            ]
            for wrong, status in (
                ("/quarantine/1-1", 404),
                ("/quarantine?before=x", 400),
                ("/quarantine/x", 404),
            ):
                await visitor.get(wrong, status)

    on_log(valkey, prefix, check)


def test_where_no_body_can_be_read_a_retry_is_refused_and_a_discard_is_not(valkey, prefix) -> None:
    async def check(log: EventLog) -> None:
        await log.append([Unreadable(b"{", "not-json", now_ms(), "00000000")])
        async with visiting(log) as visitor:
            await visitor.log_in(ACT)
            await visitor.get("/quarantine/plan/retry", 409)
            plan = await visitor.get("/quarantine/plan/discard")
            retry = await visitor.send("/quarantine/retry", plan, selection=_selection(plan))
            assert "no-reader" in retry.text
            assert await acts_of(log, 9) == []
            assert "1 of 1" in await carry_out(visitor, plan)

    on_log(valkey, prefix, check)


def test_the_audit_is_paged_and_harmless(valkey, prefix) -> None:
    async def check(log: EventLog) -> None:
        for n in range(90):
            plan = {"handler": HOSTILE, "n": n, **{f"x{i}": "y" * 300 for i in range(15)}}
            await write(log, Act(HOSTILE, "pod-1", "cli", f"dead retry {n}", plan, n))
        async with visiting(log) as visitor:
            page, seen = await visitor.get("/audit"), []
            while True:
                assert "<script>alert" not in page
                seen += [int(n) for n in re.findall(r"dead retry (\d+)<", page)]
                if 'rel="next"' not in page:
                    break
                page = await visitor.get(link(page, "Older"))
            assert seen == [*range(89, -1, -1)]
            await visitor.get("/audit?before=x", 400)

    on_log(valkey, prefix, check)


def test_pages_stay_small_with_many_handlers_groups_and_long_texts(valkey, prefix) -> None:
    async def check(log: EventLog) -> None:
        await buried(log, 1, mail)
        ((_, letter),) = await log.redis.xrange(log.key("dead", "acme.mail"))
        for number in range(20):
            await log.declare([declaration(mail, name=f"acme.mail-{number}")])
            for n in range(50):
                fields = {**letter, b"reason": b"r" * 190 + b"%d" % n, b"trace": b"E\n/" + b"\xc3\xa9" * 200}
                await log.redis.xadd(log.key("dead", f"acme.mail-{number}"), fields)
        plan = {f"{HOSTILE}{i}": "<&>" * 90 for i in range(20)}
        for _ in range(41):
            await write(log, Act("<" * 200, "<" * 200, "cli", "dead retry", plan, 1))
        async with visiting(log) as visitor:
            page = await visitor.get("/dead")
            assert "other groups" in page
            assert "Not read here" in page
            assert "Retry…" in page
            one = await visitor.get("/dead?handler=acme.mail-3")
            assert one.count("Retry…") == 24
            assert await _counts_of(visitor, link(one, "Retry…")) == 1
            assert 'rel="next"' in await visitor.get("/audit")

    on_log(valkey, prefix, check)


def test_an_act_of_another_process_is_followed_in_the_audit(valkey, prefix) -> None:
    async def check(log: EventLog) -> None:
        act_id = await write(log, Act("anna", "pod-1", "cli", "dead retry", {}, 5), is_counted=True)
        async with visiting(log) as visitor:
            answer = await visitor.client.get(f"/console/acts/{act_id}")
            assert "0 of 5" in answer.text
            assert answer.headers["refresh"] == "1"
            await visitor.get("/acts/1-1", 404)
            await visitor.get("/acts/x", 404)

    on_log(valkey, prefix, check)


def test_no_more_acts_run_at_once_than_allowed(valkey, prefix, monkeypatch) -> None:
    async def check(log: EventLog) -> None:
        await buried(log, 9, mail)
        held = asyncio.Event()

        async def waits(*_: Any) -> Any:
            await held.wait()
            yield {}

        monkeypatch.setattr("console.pages.dead_acts._work", waits)
        monkeypatch.setattr("console.background._PATIENCE_S", 0)
        async with visiting(log) as visitor:
            await visitor.log_in(ACT)
            plan = await visitor.get("/dead/plan/retry?handler=acme.mail")
            form = {"selection": _selection(plan)}
            begun = [await visitor.send("/dead/retry", plan, **form) for _ in range(MOST_AT_ONCE)]
            assert {answer.status_code for answer in begun} == {303}
            assert (await visitor.send("/dead/retry", plan, **form)).status_code == 503
            first = urlsplit(begun[0].headers["location"]).path
            assert (await visitor.client.get(first)).headers["refresh"] == "1"
            assert len(await acts_of(log, 10)) == MOST_AT_ONCE
            held.set()
            for answer in begun:
                assert "It is done" in await ended(visitor, answer.headers["location"])

    on_log(valkey, prefix, check)


def test_pages_of_many_letters_take_little_from_redis(valkey, prefix) -> None:
    async def check(log: EventLog) -> None:
        big = "x" * 8_000
        await log.declare([declaration(mail)])
        await log.append([event(key=f"session:{n}", text=big) for n in range(120)])
        await drained(log, mail)
        await log.append([Unreadable(b"{" + big.encode(), "not-json", now_ms(), "00000000")] * 60)

        async def sent() -> int:
            return int((await log.redis.info("stats"))["total_net_output_bytes"])

        async with visiting(log, bodies=ConsoleBodies(load({}))) as visitor:
            for path in (
                "/dead",
                "/dead/plan/retry?handler=acme.mail",
                "/quarantine",
                "/quarantine/plan/retry",
                "/handlers/acme.mail/replay?from=1h+ago",
                "/audit",
            ):
                await visitor.get(path)
                before = await sent()
                await visitor.get(path)
                assert await sent() - before < 200_000, path

    on_log(valkey, prefix, check)
