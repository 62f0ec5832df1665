"""Acts in a real browser: dead letters, quarantine, replay and audit, with and without JavaScript."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from eventlog.clock import now_ms
from eventlog.connection.embedded import EmbeddedServer
from eventlog.log import Unreadable
from handlers import Context, Event, GiveUp, Raw, handler
from tests.browser.test_console import ACT, HOSTILE, Console, assert_accessible, chromium, log_in, run, visit
from tests.harness import declaration, drained, event, opened

__all__ = ["chromium", "visit"]  # fixtures
PREFIX = "acts:"


@handler("acme.bill", on=["SessionUpdateNotification"])
async def bill(event: Event[Raw], _: Context) -> None:
    raise GiveUp(HOSTILE if event.key == "session:3" else "no price")


async def bury(url: str) -> None:
    async with opened(url, PREFIX) as log:
        await log.declare([declaration(bill)])
        await log.append([event(key=f"session:{n}") for n in range(12)])
        await log.append([event(key="k:" + "y" * 100_000)])
        await drained(log, bill)
        bad = [b'{"notification": "x.changed"}', HOSTILE.encode(), b"\xff" * 1000]
        await log.append([Unreadable(body, "not-json", now_ms(), "00000000") for body in bad])


@pytest.fixture(scope="module")
def console(valkey: EmbeddedServer) -> Iterator[Console]:
    made = Console(valkey.url, PREFIX)
    run(lambda: bury(valkey.url))
    yield made
    made.close()


@pytest.mark.parametrize(("width", "scheme", "scripts"), [(360, "dark", False), (1440, "dark", True)])
def test_every_page_of_acts_fits_the_screen(visit, console, width: int, scheme: str, scripts: bool) -> None:
    page = visit(viewport={"width": width, "height": 900}, color_scheme=scheme, java_script_enabled=scripts)
    log_in(page, console, ACT)
    paths = ["/dead/plan/discard?handler=acme.bill", "/audit", "/handlers/acme.bill/replay"]
    if width == 360:
        paths += ["/handlers/acme.bill", "/handlers/acme.bill/retire", "/quarantine/plan/retry"]
    for path in ("/dead?handler=acme.bill", "/quarantine"):
        page.goto(f"{console.url}{path}")
        assert _overflow(page) <= 0, path
        first = page.locator(".sample a, a.id").first.get_attribute("href")
        paths.append(first.removeprefix("/console"))
    for path in paths:
        answer = page.goto(f"{console.url}{path}")
        assert answer.status == 200, path
        assert _overflow(page) <= 0, path
        if scripts:
            assert_accessible(page)


def _overflow(page: Any) -> int:
    """Return by how many pixels the page is wider than the screen."""
    box = page.locator("html").evaluate("html => html.scrollWidth - innerWidth")
    return int(box)


@pytest.mark.parametrize("scripts", [True, False])
def test_a_group_is_retried_or_discarded_after_its_plan(visit, console, scripts: bool) -> None:
    page = visit(java_script_enabled=scripts)
    log_in(page, console, ACT)
    page.goto(f"{console.url}/")
    page.get_by_role("link", name="Dead letters").click()
    letters = page.get_by_role("region", name="acme.mail" if scripts else "acme.bill")
    letters.get_by_role("link", name="Discard…" if scripts else "Retry…", exact=True).first.click()
    page.get_by_text("Nothing was changed yet").wait_for()
    page.locator("main form.act button").click()
    page.get_by_text("It is done").wait_for()
    page.get_by_role("link", name="Audit").last.click()
    page.get_by_role("cell", name="dead discard" if scripts else "dead retry").first.wait_for()


def test_quarantined_bodies_are_retried_without_scripts(visit, console) -> None:
    page = visit(java_script_enabled=False)
    log_in(page, console, ACT)
    page.goto(f"{console.url}/quarantine")
    page.get_by_role("link", name="retry…").click()
    page.get_by_text("becomes x.changed").wait_for()
    page.get_by_role("button", name="Retry 3 bodies").click()
    page.get_by_text("It is done").wait_for()
    page.get_by_role("link", name="Go on").click()
    page.get_by_text("not-json").first.wait_for()
    assert page.locator("a.id").count() == 2


def test_a_replay_is_chosen_planned_and_done(visit, console) -> None:
    page = visit(java_script_enabled=False)
    log_in(page, console, ACT)
    page.goto(f"{console.url}/handlers/acme.bill")
    page.get_by_role("link", name="Replay events…").click()
    page.get_by_label("Arrived from").fill("1h ago")
    page.locator("#key").fill("session:5")
    page.get_by_role("button", name="Show the plan").click()
    page.get_by_role("button", name="Replay").click()
    page.get_by_text("It is done").wait_for()
    page.get_by_role("cell", name="run again").or_(page.get_by_text("run again")).first.wait_for()


def test_the_page_of_an_act_reloads_itself_without_scripts(visit, console, valkey) -> None:
    async def hold(*, gives_back: bool) -> None:
        async with opened(valkey.url, PREFIX) as log:
            lease = log.key("lease", "acme.mail", 0)
            await (log.redis.delete(lease) if gives_back else log.redis.set(lease, "held"))

    run(lambda: hold(gives_back=False))
    page = visit(java_script_enabled=False)
    log_in(page, console, ACT)
    page.goto(f"{console.url}/handlers/acme.mail/retire")
    page.get_by_role("button", name="Retire acme.mail").click()
    page.get_by_text("This page reloads until it ends").wait_for()
    run(lambda: hold(gives_back=True))
    page.get_by_text("It is done").wait_for()
