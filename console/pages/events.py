"""The events that are kept, newest first: a bounded search, and why it finds nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator

from starlette.responses import Response

from console.page import GAP_BYTES, Page, Problem
from console.page_cursor import place_before
from eventlog.clock import rfc3339
from eventlog.inspection.delivery_state import HandlerFacts
from eventlog.inspection.event_search import STATES, Found, Wanted, search
from eventlog.inspection.events import read_counts
from eventlog.inspection.explain import registered
from eventlog.inspection.gaps import newest_gaps
from eventlog.internal import is_internal
from eventlog.subscription import SubscriptionStore, left_types
from eventlog.turned_away import HOUR_MS, KEEP_HOURS, refused_between
from eventlog.usage import standing

NAV = ("events", "Events")

_ROWS = 50
_MOST_TYPES = 300  # that the form suggests
_SHOWN_GAPS = 5


async def show(page: Page) -> Response:
    """Show a page of events. The query has the search (type, key, since, until, handler, state) and `before`."""
    handlers = await registered(page.log)
    wanted = _wanted(page, handlers)
    before = place_before(page)
    found = await search(page.log, wanted, before=before, limit=_ROWS)
    counts = await read_counts(page.log)
    return page.show(
        "events.html",
        wanted=wanted,
        found=found,
        is_first=before is None,
        types=sorted({*counts.by_type, *counts.internal})[:_MOST_TYPES],
        handlers=[handler.name for handler in handlers],
        all_states=STATES,
        query={name: page.asked(name) for name in ("type", "key", "since", "until", "handler", "state")},
        reasons=[reason async for reason in _reasons(page, wanted, found, handlers)]
        if not found.rows
        else [],
    )


def _wanted(page: Page, handlers: list[HandlerFacts]) -> Wanted:
    name, state = page.asked("handler"), page.asked("state") or None
    handler = next((one for one in handlers if one.name == name), None)
    if name and handler is None:
        raise Problem(404, "unknown-name", f"No handler {name[:64]} is registered in this log.")
    if state is not None and state not in STATES:
        raise Problem(400, "unknown-state", f"A state is one of {', '.join(STATES)}.")
    if state is not None and handler is None:
        raise Problem(400, "state-of-whom", "Choose a handler, too: an event has a state at each handler.")
    return Wanted(
        page.asked("type") or None,
        page.asked("key") or None,
        _moment(page, "since"),
        _moment(page, "until"),
        handler,
        state,
    )


def _moment(page: Page, name: str) -> int | None:
    text = page.asked(name)
    return page.moment_ms(name, text) if text else None


async def _reasons(
    page: Page, wanted: Wanted, found: Found, handlers: list[HandlerFacts]
) -> AsyncIterator[str]:
    """Yield why nothing may be found, as sentences."""
    log = page.log
    if found.next is not None:
        yield "The search stopped at its bound: go on to older events."
    counted = await standing(log)
    if counted is not None and counted.oldest_ms is not None:
        yield f"Events are kept since {rfc3339(counted.oldest_ms)}; older ones were settled and removed."
    if counted is not None and counted.full:
        yield f"The log is full, so the receiver answers 503: {counted.full}."
    if wanted.state is not None and wanted.handler is not None:
        yield f"At {wanted.handler.name} no event among those that were read is {wanted.state}."
    if wanted.type is not None:
        async for reason in _reasons_of_type(page, wanted.type, handlers):
            yield reason
    for gap in (await newest_gaps(log, most_bytes=GAP_BYTES)).gaps[-_SHOWN_GAPS:]:
        if _overlaps(wanted, gap.from_ms, gap.to_ms):
            yield f"{page.console.wording.gap(gap)}."
    now_ms = page.now_ms
    if refused := await refused_between(log, now_ms - KEEP_HOURS * HOUR_MS, now_ms):
        counts = ", ".join(f"{reason} {count:,}" for reason, count in refused.items())
        yield f"The endpoint refused requests in the last 24 hours: {counts}."


async def _reasons_of_type(page: Page, type_: str, handlers: list[HandlerFacts]) -> AsyncIterator[str]:
    counts = await read_counts(page.log)
    arrived = counts.by_type.get(type_) or counts.internal.get(type_)
    yield (
        f"{arrived:,} of this type were accepted ever." if arrived else "None of this type was ever accepted."
    )
    types = (await SubscriptionStore(page.log).read()).get("types", "")
    if types and type_ not in types.split(",") and not is_internal(type_):
        since_ms = (await left_types(page.log)).get(type_)
        since = f" since {rfc3339(since_ms)}" if since_ms else ""
        yield f"AMPECO does not send this type: it is not subscribed{since}."
    if not any(handler.wants(type_) for handler in handlers):
        yield "No registered handler wants this type."


def _overlaps(wanted: Wanted, from_ms: int, to_ms: int) -> bool:
    after = wanted.since_ms is None or to_ms >= wanted.since_ms
    return after and (wanted.until_ms is None or from_ms < wanted.until_ms)


ROUTES = (("/events", "GET", show),)
