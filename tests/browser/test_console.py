"""The console in a real browser: with and without JavaScript, narrow and wide, light and dark.

It needs Debian's `chromium` and PyPI's `playwright`. Where one is missing, the whole file is skipped.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from eventlog.connection.embedded import EmbeddedServer
from handlers import Context, Event, GiveUp, Raw, handler
from tests.harness import declaration, drained, event, opened

sync_api = pytest.importorskip("playwright.sync_api", reason="no browser test: playwright is not installed")
CHROMIUM = shutil.which("chromium")
if CHROMIUM is None:
    pytest.skip("no browser test: chromium is not installed", allow_module_level=True)

_axe = find_spec("axe_playwright_python")
AXE = Path(str(_axe and _axe.origin)).with_name("axe.min.js")
ACT, BODIES = "a-token-for-acting", "a-token-for-bodies"
HOSTILE = "<img src=x onerror=alert(1)><script>alert(1)</script>\x1b[31m\u202eevil"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
]
FLAGS += ["--disable-component-update", "--disable-sync"]


@handler("acme.mail", on=["SessionUpdateNotification"])
async def mail(event: Event[Raw], _: Context) -> None:
    if event.key == "session:3":
        raise GiveUp(HOSTILE)


async def fill(url: str, prefix: str) -> None:
    async with opened(url, prefix) as log:
        await log.declare([declaration(mail)])
        await log.append([event(key=f"session:{n}", user={"email": "anna@example.org"}) for n in range(60)])
        await log.append([event(HOSTILE, key=f"x:{HOSTILE}"), event("x" * 100_000, key="k:" + "y" * 100_000)])
        await drained(log, mail)


def run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run something in an event loop of its own. Playwright has one in the thread of the tests."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: asyncio.run(work())).result(120)


class Console:
    """A process of `ampeco-receiver console`, and the log that it shows."""

    def __init__(self, redis_url: str, prefix: str, **settings: str) -> None:
        run(lambda: fill(redis_url, prefix))
        self._log = redis_url, prefix
        self.process = subprocess.Popen(
            [sys.executable, "-m", "commands", "console"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={
                **{name: value for name, value in os.environ.items() if not name.startswith("AWR_")},
                "AWR_REDIS_URL": redis_url,
                "AWR_KEY_PREFIX": prefix,
                "AWR_LANES": "4",
                "AWR_ADMIN_PORT": "0",
                "AWR_CONSOLE_TOKEN": ACT,
                "AWR_CONSOLE_BODIES_TOKEN": BODIES,
                **settings,
            },
        )
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip().rstrip("/")

    def close(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=60)

    def append(self, type: str, key: str) -> None:
        async def append() -> None:
            async with opened(*self._log) as log:
                await log.append([event(type, key=key)])

        run(append)


@pytest.fixture(scope="module")
def console(valkey: EmbeddedServer) -> Iterator[Console]:
    made = Console(valkey.url, "browser:")
    yield made
    made.close()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium) -> Iterator[Callable[..., Any]]:
    """Open a page with these properties of the browser. The test fails if a page complains or asks anything."""
    complaints: list[str] = []
    contexts = []

    def opened_page(**properties: Any) -> Any:
        context = chromium.new_context(**properties)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda said: complaints.append(said.text) if _is_complaint(said) else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(dialog.message))
        page.on(
            "request", lambda asked: complaints.append(asked.url) if "127.0.0.1" not in asked.url else None
        )
        page.set_default_timeout(60_000)
        return page

    yield opened_page
    for context in contexts:
        context.close()
    assert complaints == []


def _is_complaint(said: Any) -> bool:
    return said.type == "error" and "net::ERR_CONNECTION" not in said.text  # where a test ends the console


def assert_accessible(page: Any) -> None:
    """Let axe-core look for faults that keep people from using the page."""
    page.evaluate(AXE.read_text())
    found = page.evaluate("axe.run({resultTypes: ['violations']})")["violations"]
    faults = [
        (one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in ("serious", "critical")
    ]
    assert faults == [], page.url


def log_in(page: Any, console: Console, token: str) -> None:
    page.goto(f"{console.url}/session")
    page.get_by_label("Your name").fill("Nora")
    page.get_by_label("Token").fill(token)
    page.locator("main").get_by_role("button", name="Log in").click()


@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (1440, "light")])
def test_every_page_fits_the_screen(visit, console, width: int, scheme: str) -> None:
    page = visit(viewport={"width": width, "height": 900}, color_scheme=scheme)
    log_in(page, console, BODIES)
    page.goto(f"{console.url}/events?key=session:3")
    event_page = page.locator("a.id").first.get_attribute("href")
    for path in ("/", "/events", "/handlers", "/handlers/acme.mail", "/help", "/events?type=none"):
        page.goto(f"{console.url}{path}")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
        assert_accessible(page)
    page.goto(console.url.removesuffix("/console") + event_page)
    assert "onerror" in page.locator("main").inner_text()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_an_event_appears_without_a_reload_and_times_are_local(visit, console) -> None:
    page = visit(timezone_id="Asia/Tokyo")
    page.goto(f"{console.url}/events")
    page.get_by_text("following").wait_for()
    console.append("fresh.one", "session:77")
    page.get_by_role("link", name="fresh.one").wait_for()
    moment = page.locator("tbody time").first
    utc = moment.get_attribute("title")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", utc)
    assert (int(utc[11:13]) + 9) % 24 == int(moment.inner_text()[11:13])


def test_the_keys_lead_to_search_and_help(visit, console) -> None:
    page = visit()
    page.goto(f"{console.url}/")
    page.keyboard.press("/")
    page.keyboard.type("session:3")
    page.keyboard.press("Enter")
    page.wait_for_url("**/entity?key=session%3A3")
    page.keyboard.press("?")
    page.wait_for_url("**/help")


@pytest.mark.parametrize("scripts", [True, False])
def test_a_handler_is_paused_and_resumed_with_and_without_scripts(visit, console, scripts: bool) -> None:
    page = visit(java_script_enabled=scripts)
    log_in(page, console, ACT)
    page.goto(f"{console.url}/")
    page.get_by_role("link", name="acme.mail").first.click()
    page.get_by_label("Reason").fill("moving <b>house</b>")
    page.get_by_role("button", name="Pause").click()
    page.get_by_text("moving <b>house</b>").wait_for()
    page.get_by_role("button", name="Resume").click()
    page.get_by_role("button", name="Pause").wait_for()
    page.get_by_role("button", name="Log out").click()
    page.locator("header").get_by_role("link", name="Log in").wait_for()


def test_why_nothing_happened_to_a_session_takes_few_clicks(visit, console) -> None:
    page = visit(java_script_enabled=False)
    page.goto(f"{console.url}/")
    page.get_by_role("searchbox").fill("session:3")
    page.keyboard.press("Enter")
    page.locator("a.id").first.click()
    page.get_by_text("dead since").wait_for()
    assert "anna@example.org" not in page.content()


def test_a_page_that_is_open_does_not_hold_up_the_end_of_the_process(visit, valkey, prefix) -> None:
    console = Console(valkey.url, prefix)
    page = visit()
    page.goto(f"{console.url}/events")
    page.get_by_text("following").wait_for()
    console.process.send_signal(signal.SIGTERM)
    try:
        _, said = console.process.communicate(timeout=60)
    finally:
        console.close()
    assert console.process.returncode == 0
    assert "graceful shutdown exceeded" not in said  # as the server says when it had to cut an answer off
