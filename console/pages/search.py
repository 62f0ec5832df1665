"""The search field of every page: leads to the page of what was typed."""

from __future__ import annotations

from starlette.responses import Response

from console.page import Page
from eventlog.ids import EVENT_ID, STREAM_ID
from eventlog.registry import handler_names


async def show(page: Page) -> Response:
    """Go to an event by its id, to an entity, to a handler, or to events of a type."""
    asked = page.asked("q")
    if not asked:
        return page.go_to("events")
    if EVENT_ID.fullmatch(asked) or STREAM_ID.fullmatch(asked):
        return page.go_to(f"event/{asked}")
    if ":" in asked:
        return page.go_to("entity", key=asked)
    if asked in await handler_names(page.log):
        return page.go_to(f"handlers/{asked}")
    return page.go_to("events", type=asked)


ROUTES = (("/search", "GET", show),)
