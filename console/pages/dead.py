"""Dead letters: grouped by handler, reason and place in the code; and one letter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from starlette.responses import Response

from console.body_view import body_view, is_read
from console.page import Page, Problem
from eventlog.errors import UnknownName
from eventlog.ids import HANDLER_NAME, STREAM_ID
from eventlog.inspection.dead_groups import LOOKS, Scan, Selected, counts, letter_without_body, scan
from eventlog.operation.dead_letters import by_id
from eventlog.operation.handlers import unknown_handler

NAV = ("dead", "Dead letters")

_FEWEST_LOOKS = 50
_MOST_HANDLERS = 10  # that one page scans
_MOST_GROUPS, _FEWEST_GROUPS = 24, 2  # of a page, and of a handler on it


@dataclass(frozen=True)
class Part:
    """The letters of one handler on the page.

    Attributes:
        total: letters that it has, of all kinds.
    """

    handler: str
    total: int
    scan: Scan


async def show(page: Page) -> Response:
    """Show the groups. The query has the filter (handler, reason, type, key, place) and `before`."""
    query = {name: page.asked(name) for name in ("handler", "reason", "type", "key", "place")}
    known = await counts(page.log)
    name, before = query["handler"], _before(page)
    if name and name not in known:
        raise await unknown_handler(page.log, name)
    if before and not name:
        raise Problem(400, "before-of-whom", "Choose a handler, too: an id belongs to one handler.")
    shown = [name] if name else [each for each, total in known.items() if total]
    scanned = shown[:_MOST_HANDLERS]
    looks = max(_FEWEST_LOOKS, LOOKS // max(1, len(scanned)))
    groups = max(_FEWEST_GROUPS, _MOST_GROUPS // max(1, len(scanned)))
    parts = [
        Part(
            each,
            known[each],
            await scan(page.log, _selected(query, each), before=before, looks=looks, groups=groups),
        )
        for each in scanned
    ]
    return page.show(
        "dead.html",
        query=query,
        parts=parts,
        unread=shown[_MOST_HANDLERS:],
        handlers=list(known),
        total=sum(known.values()),
        is_first=not before,
    )


async def letter(page: Page) -> Response:
    """Show one letter: what was tried, where it failed, and its body for those allowed."""
    handler, stream_id = (str(page.request.path_params[name])[:100] for name in ("handler", "id"))
    if not HANDLER_NAME.fullmatch(handler):
        raise UnknownName("no handler has such a name")
    found, size = await letter_without_body(page.log, handler, stream_id)
    event = found.letter.record.event
    body = b""
    if page.may_read_bodies and found.is_readable and is_read(page, size):
        (whole,) = await by_id(page.log, found.id)
        body = whole.letter.record.event.body
    view = await body_view(page, body, event.encoding, size=size, command=f"dead show {found.id} --body")
    return page.show("dead_letter.html", entry=found, event=event, body=view)


def _selected(query: Mapping[str, str], handler: str) -> Selected:
    return Selected(handler, query["reason"], query["place"], query["type"], query["key"])


def _before(page: Page) -> str:
    before = page.asked("before")
    if before and not STREAM_ID.fullmatch(before):
        raise Problem(400, "no-letter-id", "before is not an id of a dead letter.")
    return before


ROUTES = (("/dead", "GET", show), ("/dead/{handler}/{id}", "GET", letter))
