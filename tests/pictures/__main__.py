"""`python -m tests.pictures`: make the pictures of the console that the README shows.

They show the stack of the demo, and two more handlers that fail now and then. The charts need a day, so the hours
before the run and the refusals are invented. It needs Debian's `chromium` and PyPI's `playwright`.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import shutil
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from playwright.async_api import async_playwright

from ampeco.simulator.fleet.samples import sample
from commands.child_output import lines_to
from commands.demo_stack import demo_stack, scratch
from tests.browser.test_console import BODIES, CHROMIUM, FLAGS
from tests.browser.test_console_pages import fill_day
from workers.process.supervisor import running

PICTURES = Path(__file__).parents[2] / "console" / "pictures"
MOST_BYTES = 150_000  # the README loads all of them

_HANDLERS = Path(__file__).with_name("billing.py")
_LOAD = ("handlers.builtin.demo_journal", "handlers.builtin.demo_reset_faulted")
_PLAN = {"charge_points": 20, "rate": 4, "seed": 4711}
_FAULT, _FAULTED = "HardwareStatusNotification", 3
_WORK_S = 70.0
_LAST_ATTEMPTS_S = 6.0
_SCREEN = {"width": 1360, "height": 860}


def _fault() -> dict[str, Any]:
    """A fault that happens now. Charge points of the simulator have a clock of their own."""
    now = datetime.now(UTC)
    found = {
        "chargePointId": _FAULTED,
        "hardwareStatus": "faulted",
        "timestamp": now.isoformat(timespec="seconds"),
    }
    return {**sample(_FAULT, now), **found}


@contextlib.asynccontextmanager
async def console(folder: Path) -> AsyncIterator[str]:
    """Run the stack until the charge points have worked for a while; yield the console's address."""
    address: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def found(line: str) -> None:
        if line.startswith("http://") and not address.done():
            address.set_result(line.rstrip("/"))

    (folder / "acme").mkdir()  # the pictures show the last two parts of the file's path
    file = shutil.copy(str(_HANDLERS), str(folder / "acme"))
    async with (
        demo_stack(folder) as made,
        lines_to(folder / "console.log", found) as shown,
        lines_to(folder / "other.log", lambda _: None) as output,
    ):
        stack = dataclasses.replace(made, environ={**made.environ, "AWR_CONSOLE_BODIES_TOKEN": BODIES})
        async with (
            running(stack.console(output=shown)),
            stack.working([*_LOAD, file], output=output),
            stack.open_receiver(output=output),
        ):
            await stack.tenant.start(_PLAN)
            await asyncio.sleep(_WORK_S)
            await stack.tenant.stop()
            await stack.tenant.send(_FAULT, _fault(), _FAULTED)
            await asyncio.sleep(_LAST_ATTEMPTS_S)
            await fill_day(stack.log)
            yield await address


async def take(page: Any, name: str) -> None:
    """Write what the page shows now as a picture.

    Raises:
        SystemExit: the picture is too large for the README.
    """
    file = PICTURES / f"{name}.png"
    await page.screenshot(path=file)
    size = file.stat().st_size
    print(f"{file} {size:,} bytes")
    if size > MOST_BYTES:
        raise SystemExit(f"{file} is larger than {MOST_BYTES:,} bytes")


async def main() -> None:
    PICTURES.mkdir(exist_ok=True)
    with scratch("pictures") as folder:
        async with console(folder) as url, async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            page = await browser.new_page(viewport=_SCREEN, color_scheme="light")
            await page.goto(f"{url}/session")
            await page.get_by_label("Your name").fill("Nora")
            await page.get_by_label("Token").fill(BODIES)
            await page.locator("main").get_by_role("button", name="Log in").click()
            await page.goto(f"{url}/")
            await take(page, "overview")
            await page.goto(f"{url}/dead")
            await take(page, "dead-letters")
            await page.goto(f"{url}/dead?key=charge-point:{_FAULTED}")
            await page.locator(".sample").get_by_role("link", name="event").first.click()
            await page.get_by_role("heading", name="Line of life").wait_for()
            await take(page, "event")
            await browser.close()


if __name__ == "__main__":
    asyncio.run(main())
