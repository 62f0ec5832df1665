"""The pages Entity, Line to AMPECO and Shapes in a real browser, and the charts of a day.

It needs Debian's `chromium` and PyPI's `playwright`. Where one is missing, the whole file is skipped.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ampeco.client import Client
from ampeco.observed_shape import Drift, observed
from ampeco.shape_record import encode_shape
from ampeco.simulator.testing import Box, tenant_in_a_box
from eventlog.clock import now_ms
from eventlog.connection.embedded import EmbeddedServer
from eventlog.gap_records import Gaps
from eventlog.minute_history import ACCEPTED, HANDLED
from eventlog.shapes import put_shape
from eventlog.subscription import SubscriptionStore
from eventlog.turned_away import note
from tests.harness import opened

pytest.importorskip("playwright.sync_api", reason="no browser test: playwright is not installed")

from tests.browser.test_console import ACT, HOSTILE, Console, assert_accessible, chromium, log_in, run, visit

__all__ = ["chromium", "visit"]  # fixtures

SESSION = "SessionUpdateNotification"
URL = "https://us.example/webhooks/ampeco"
PAGES = {
    "overview": "/",
    "entity": "/entity?key=session:3",
    "line": "/line",
    "shapes": "/shapes",
    "shape": f"/shapes?type={SESSION}",
}
PICTURES = os.environ.get("CONSOLE_PICTURES")  # a folder: pictures of all pages, to look at


async def fill_day(log: Any, *handlers: str) -> None:
    """Write a day of history, with two hours that are unknown; of these handlers, too."""
    now, dice = now_ms(), random.Random(4711)
    minute = now // 60_000
    counts = [60 + 50 * (n % 720 > 300) + dice.randrange(40) for n in range(1_440)]
    packed: dict[int, bytearray] = {}
    for n, count in enumerate(counts):
        at = minute - 1_439 + n
        unknown = 500 <= n < 620  # a full hour is among them
        chunk = packed.setdefault(at // 360, bytearray(b"\xff\xff\xff" * (at % 360 if n == 0 else 0)))
        chunk += b"\xff\xff\xff" if unknown else count.to_bytes(3)
    for chunk_of, text in packed.items():
        slots = b"".join(bytes(text[at : at + 3]) for at in range(0, len(text), 15))
        names = {ACCEPTED: bytes(text), HANDLED: bytes(text)}
        of_handlers = {name: bytes(text) for name in handlers} | {f"{name}!": slots for name in handlers}
        await log.redis.hset(log.key("minutes", chunk_of), mapping={**names, **of_handlers})
    slot_ms = now // 600_000 * 600_000
    refused = {(slot_ms - n * 600_000, "wrong-signature"): n % 7 for n in range(100)}
    await note(log, {**refused, (slot_ms, "body-too-large"): 4}, [])


async def fill(url: str, prefix: str, subscription: str) -> None:
    async with opened(url, prefix) as log:
        now = now_ms()
        await SubscriptionStore(log).confirm(
            {"id": subscription, "callback_url": URL, "types": SESSION},
            state="registered",
            key_id="0a1b2c3d",
            covers=[SESSION],
        )
        await Gaps(log).note("no-receiver", now - 900_000, now - 600_000, [SESSION])
        await Gaps(log).note("not-subscribed", now - 7_200_000, now - 3_600_000, [HOSTILE])
        shape = observed({"notification": SESSION, "session": {"id": "x", "odd": 1}}, now, lambda name: True)
        shape.drifts.append(Drift("session.odd", "new-field", "contract", now))
        await put_shape(log, SESSION, b"", encode_shape(shape), is_known=True)
        await put_shape(log, HOSTILE, b"", encode_shape(shape), is_known=False)
        await fill_day(log)


@pytest.fixture(scope="module")
def tenant() -> Iterator[Box]:
    with tenant_in_a_box() as box:
        yield box


@pytest.fixture(scope="module")
def console(valkey: EmbeddedServer, tenant: Box) -> Iterator[Console]:
    with Client(tenant.url, tenant.token) as client:
        subscription = client.notifications.subscribe([SESSION], callback_url=URL).id
    made = Console(valkey.url, "browser-pages:", AWR_TENANT_URL=tenant.url, AWR_API_TOKEN=tenant.token)
    run(lambda: fill(valkey.url, "browser-pages:", subscription))
    yield made
    made.close()


@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (1440, "light"), (1440, "dark")])
def test_the_pages_fit_the_screen(visit, console, width: int, scheme: str) -> None:
    page = visit(viewport={"width": width, "height": 900}, color_scheme=scheme)
    log_in(page, console, ACT)
    for name, path in PAGES.items():
        page.goto(f"{console.url}{path}")
        if PICTURES:
            page.screenshot(path=str(Path(PICTURES) / f"{name}-{width}-{scheme}.png"), full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
        assert page.get_by_role("heading", level=1).count() == 1
        if width == 360:
            assert_accessible(page)


@pytest.mark.parametrize("scripts", [True, False])
def test_why_a_session_was_not_handled_is_found_by_clicking(visit, console, scripts: bool) -> None:
    page = visit(java_script_enabled=scripts)
    page.goto(f"{console.url}/")
    page.get_by_role("searchbox").fill("session:3")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="session:3", exact=True).wait_for()
    page.get_by_text("onerror=alert(1)").first.wait_for()
    page.locator("main a.id").first.click()
    page.get_by_text("dead since").wait_for()
    page.locator("main").get_by_role("link", name="session:3").click()
    page.get_by_text("Events, newest first").wait_for()


def test_the_charts_have_names_and_numbers_without_colour_or_scripts(visit, console) -> None:
    page = visit(java_script_enabled=False)
    page.goto(f"{console.url}/")
    for name in ("Accepted per minute over 24 hours", "Handled per minute over 24 hours"):
        chart = page.get_by_role("img", name=name)
        box = chart.bounding_box()
        assert box["width"] > 200
        assert chart.locator("path").bounding_box()["width"] > box["width"] * 0.9
    page.get_by_text("Hour by hour").click()
    hours = page.locator("details table tbody tr")
    assert hours.count() in (24, 25)
    assert any("\N{EN DASH}" in hour for hour in hours.all_inner_texts())  # the hour that is unknown
    assert page.get_by_role("img", name="in ten minutes").count() == 2


@pytest.mark.parametrize("scripts", [False, True])
def test_a_resend_shows_its_plan_before_it_is_asked_for(visit, console, tenant: Box, scripts: bool) -> None:
    page = visit(java_script_enabled=scripts)
    log_in(page, console, ACT)
    page.get_by_role("link", name="Line to AMPECO").click()
    page.get_by_role("button", name="Plan a resend of this time").click()
    before = len(tenant.actions())
    page.get_by_text("Nothing was asked for yet").wait_for()
    assert len(tenant.actions()) == before
    if not scripts:  # AMPECO accepts one request in 15 minutes
        page.get_by_role("button", name="Ask AMPECO for 1 type").click()
        page.get_by_text("AMPECO accepted the request").wait_for()
        assert len(tenant.actions()) == before + 1
