"""Who can use the console in a real browser: by keyboard, enlarged, with less motion, after a fault; and who cannot.

It needs Debian's `chromium` and PyPI's `playwright`. Where one is missing, the whole file is skipped.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from eventlog.connection.embedded import EmbeddedServer

pytest.importorskip("playwright.sync_api", reason="no browser test: playwright is not installed")

from tests.browser.test_console import (
    ACT,
    CHROMIUM,
    FLAGS,
    Console,
    assert_accessible,
    chromium,
    log_in,
    run,
    visit,
)
from tests.browser.test_console_pages import fill_day
from tests.harness import opened

__all__ = ["chromium", "visit"]  # fixtures
PREFIX = "browser-access:"
PATHS = ["/", "/events", "/entity?key=session:3", "/handlers", "/handlers/acme.mail", "/dead", "/quarantine"]
PATHS += ["/handlers/acme.mail/replay", "/handlers/acme.mail/retire", "/dead/plan/retry?handler=acme.mail"]
PATHS += ["/line", "/shapes", "/audit", "/session", "/help", "/events?type=none.such"]


@pytest.fixture(scope="module")
def console(valkey: EmbeddedServer) -> Iterator[Console]:
    made = Console(valkey.url, PREFIX)

    async def fill() -> None:
        async with opened(valkey.url, PREFIX) as log:
            await fill_day(log, "acme.mail")

    run(fill)
    yield made
    made.close()


def test_a_site_whose_name_leads_here_reads_nothing(chromium, console) -> None:
    rebound = chromium.browser_type.launch(
        executable_path=CHROMIUM, args=[*FLAGS, "--host-resolver-rules=MAP evil.test 127.0.0.1"]
    )
    try:
        page = rebound.new_page()
        for path in ("/", "/events", "/live"):
            answer = page.goto(console.url.replace("127.0.0.1", "evil.test") + path)
            assert answer.status == 421
            assert "AWR_CONSOLE_HOSTS" in page.inner_text("body")
    finally:
        rebound.close()


def test_titles_say_which_page_it_is(visit, console) -> None:
    page = visit(java_script_enabled=False)
    log_in(page, console, ACT)
    titles = {}
    for path in PATHS:
        page.goto(f"{console.url}{path}")
        titles[path] = page.title()
        assert page.get_by_role("heading", level=1).count() == 1, path
    del titles["/events?type=none.such"]  # the same page
    assert len({*titles.values()}) == len(titles), titles


@pytest.mark.parametrize("width", [320, 640])
def test_every_page_fits_an_enlarged_screen(visit, console, width: int) -> None:
    page = visit(viewport={"width": width, "height": 400}, reduced_motion="reduce")
    log_in(page, console, ACT)
    for path in PATHS:
        page.goto(f"{console.url}{path}")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
        assert page.evaluate("document.getAnimations().length") == 0
        assert page.locator("a").first.evaluate("a => getComputedStyle(a).transitionDuration") == "0s"


def test_the_keyboard_alone_reaches_everything_in_order(visit, console) -> None:
    page = visit(viewport={"width": 1280, "height": 800})
    page.goto(f"{console.url}/handlers/acme.mail")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('main') !== null")
    page.reload()
    seen: list[tuple[float, float]] = []
    for _ in range(60):
        page.keyboard.press("Tab")
        box = page.evaluate(
            "(() => { const e = document.activeElement; const b = e.getBoundingClientRect();"
            " return e === document.body ? null : [b.left, b.top + scrollY, getComputedStyle(e).outlineStyle]})()"
        )
        if box is None:
            break
        assert box[2] != "none"  # where the focus is can be seen
        seen.append((box[0], box[1]))
    assert len(seen) > 15
    side = [place for place in seen if place[0] < 200]
    assert seen[: len(side)] == side  # the navigation first, then the content
    tops = [top for _, top in seen[len(side) :]]
    assert all(after >= before - 30 for before, after in pairwise(tops))  # from the top down, line by line


def test_a_handler_has_the_charts_of_its_day(visit, console) -> None:
    page = visit(viewport={"width": 360, "height": 800}, color_scheme="dark")
    page.goto(f"{console.url}/handlers/acme.mail")
    for name in ("Settled per minute over 24 hours", "Retried or dead in five minutes over 24 hours"):
        chart = page.get_by_role("img", name=name)
        assert chart.locator("path").bounding_box()["width"] > 200
    page.get_by_text("Hour by hour").click()
    assert page.locator("details table tbody tr").count() in (24, 25)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert_accessible(page)


def test_a_page_follows_again_after_a_proxy_said_502(chromium, console) -> None:
    page = chromium.new_page()
    answers = iter([502, 503])

    def live(route: Any) -> None:
        status = next(answers, None)
        route.continue_() if status is None else route.fulfill(status=status, body="bad gateway")

    page.route("**/console/live", live)
    page.clock.install()
    page.goto(f"{console.url}/events")
    for _ in range(2):
        page.get_by_text("no connection").wait_for()
        page.clock.run_for(6_000)
    page.get_by_text("following").wait_for()
    page.close()


@pytest.mark.parametrize("scripts", [True, False])
def test_an_open_page_recovers_alone_after_redis_was_away(chromium, tmp_path, prefix, scripts: bool) -> None:
    with EmbeddedServer(tmp_path) as server:
        console = Console(server.url, prefix)
        try:
            page = chromium.new_page(java_script_enabled=scripts)
            page.goto(f"{console.url}/dead")
            server.stop()
            page.goto(f"{console.url}/dead")
            page.get_by_text("Redis is away").wait_for()
            server.start()
            page.get_by_role("heading", name="Dead letters").wait_for(timeout=20_000)
            page.close()
        finally:
            console.close()
