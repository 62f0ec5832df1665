"""How to use the console: keys, words, and what a search reads."""

from __future__ import annotations

from starlette.responses import Response

from console.page import Page
from eventlog.inspection.event_search import LOOKS


async def show(page: Page) -> Response:
    """Show the guide."""
    return page.show("guide.html", looks=LOOKS)


READS_LOG = False
ROUTES = (("/help", "GET", show),)
