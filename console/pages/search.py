"""The search field of every page: leads to the page of what was typed."""

from __future__ import annotations

import re

from starlette.responses import Response

from console.page import Page
from eventlog.registry import handler_names

_EVENT = re.compile(r"[0-9]{1,4}-[0-9]{1,19}-[0-9]{1,19}|[0-9]{1,19}-[0-9]{1,19}")


async def show(page: Page) -> Response:
    """Go to an event by its id, to an entity, to a handler, or to events of a type."""
    asked = page.asked("q")
    if not asked:
        return page.go_to("events")
    if _EVENT.fullmatch(asked):
        return page.go_to(f"event/{asked}")
    if ":" in asked:
        return page.go_to("entity", key=asked)
    if asked in await handler_names(page.log):
        return page.go_to(f"handlers/{asked}")
    return page.go_to("events", type=asked)


ROUTES = (("/search", "GET", show),)
