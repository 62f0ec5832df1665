"""Where a page of events goes on: the cursor in its address."""

from __future__ import annotations

from console.page import Page, Problem
from eventlog.inspection.event_search import Place


def place_before(page: Page) -> Place | None:
    """Return the place that the page before ended at; None for the first page.

    Raises:
        Problem: the address has something else.
    """
    text = page.asked("before")
    try:
        return Place.of(text) if text else None
    except ValueError:
        raise Problem(400, "no-event-id", "before is not an event id.") from None
