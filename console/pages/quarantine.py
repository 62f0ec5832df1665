"""The quarantine: verified bodies that could not be read; retried or discarded after a plan."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Final, TypeAlias

from starlette.responses import Response

from console.acts import act, selection_of
from console.background import begin
from console.bodies import BodyReader
from console.body_view import body_view, is_read
from console.page import Page, Problem
from console.plan import Plan
from eventlog.ids import STREAM_ID
from eventlog.inspection.quarantine_heads import heads, ids
from eventlog.log import EventLog, NewEvent, Unreadable
from eventlog.operation.quarantine import by_id, discard, quarantined

NAV = ("quarantine", "Quarantine")
MOST: Final = 10_000  # bodies of one act

_ROWS = 50
_BATCH = 64
_NAMES = ("reason", "first", "last")
_SAMPLES, _SAMPLE_BYTES = 10, 60_000  # of which the plan says what they become
_SCANS, _SCAN_S = 5, 1.0

CarryOut: TypeAlias = Callable[[Sequence[str]], Awaitable[Mapping[str, int]]]


async def show(page: Page) -> Response:
    """Show a page of quarantined bodies, newest first. The query has `reason` and `before`."""
    reason, before = page.asked("reason"), page.asked("before")
    _check(before=before)
    found = await heads(page.log, reason=reason, before=before, limit=_ROWS)
    return page.show("quarantine.html", reason=reason, found=found, is_first=not before)


async def entry(page: Page) -> Response:
    """Show one: why it is there, whether it can be read now, and its body for sessions with that right."""
    asked = str(page.request.path_params["id"])[:60]
    rows = (
        (await heads(page.log, first=asked, last=asked, limit=1)).rows if STREAM_ID.fullmatch(asked) else ()
    )
    found = rows[0] if rows and not is_read(page, rows[0].size) else await by_id(page.log, asked)
    view = await body_view(
        page, found.body, "", size=found.size, command=f"events show {found.stream_id} --body"
    )
    return page.show(
        "quarantine_entry.html",
        entry=found,
        now=None if view.is_large or page.console.bodies is None else page.console.bodies.read(found),
        is_event=lambda element: isinstance(element, NewEvent),
        body=view,
    )


async def plan(page: Page) -> Response:
    """Show what would be retried or discarded."""
    verb = str(page.request.path_params["verb"])
    if verb not in ("retry", "discard"):
        raise Problem(404, "unknown-name", "Quarantined bodies can be retried or discarded.")
    asked = {name: page.asked(name) for name in _NAMES}
    _check(**asked)
    fields, count, looked, is_complete = await _counted(page.log, asked)
    facts: list[tuple[str, object]] = [("Bodies", count)]
    facts += [("Reason", asked["reason"])] if asked["reason"] else []
    if verb == "retry":
        facts += await _samples(page.log, _reader(page), fields)
        sentences = ["What can be read now becomes an event, each once. The rest stays."]
    else:
        sentences = ["They are deleted. What AMPECO sent in them is lost."]
    if not is_complete:
        sentences.append(f"These are the ones among the newest {looked:,}; older ones need another act.")
    shown = Plan(
        f"{verb.capitalize()} quarantined bodies",
        f"quarantine/{verb}",
        f"{verb.capitalize()} {count:,} {'body' if count == 1 else 'bodies'}",
        "quarantine",
        facts,
        sentences if count else (),
        fields,
        deletes=verb == "discard",
        is_empty=not count,
    )
    return page.show("plan.html", plan=shown)


@act("quarantine retry")
async def retry_all(page: Page, form: Mapping[str, str]) -> Response:
    """Retry the bodies of a plan."""
    bodies = _reader(page)
    return await _begin(page, form, "retry", lambda some: bodies.retry(page.log, some))


@act("quarantine discard")
async def discard_all(page: Page, form: Mapping[str, str]) -> Response:
    """Discard the bodies of a plan."""

    async def some_discarded(some: Sequence[str]) -> Mapping[str, int]:
        discarded = await discard(page.log, some)
        return {"discarded": discarded, "gone already": len(some) - discarded}

    return await _begin(page, form, "discard", some_discarded)


async def _begin(page: Page, form: Mapping[str, str], verb: str, carry_out: CarryOut) -> Response:
    asked = selection_of(form, _NAMES, needs=("first", "last"))
    _check(**asked)
    found = await ids(page.log, **asked, most=MOST)
    if not found:
        raise Problem(409, "nothing-to-do", "None of these bodies is there any more. Nothing was changed.")
    return await begin(
        page,
        f"quarantine {verb}",
        asked,
        len(found),
        lambda _: _work(found, carry_out),
        title=f"{verb.capitalize()} quarantined bodies",
        back="quarantine",
    )


async def _work(found: list[str], carry_out: CarryOut) -> AsyncIterator[Mapping[str, int]]:
    done: Counter[str] = Counter()
    for at in range(0, len(found), _BATCH):
        done.update(await carry_out(found[at : at + _BATCH]))
        yield dict(done)


def _reader(page: Page) -> BodyReader:
    if page.console.bodies is None:
        raise Problem(409, "no-reader", "This process cannot read bodies: use `quarantine retry`.")
    return page.console.bodies


async def _counted(log: EventLog, asked: Mapping[str, str]) -> tuple[dict[str, str], int, int, bool]:
    """Return the selection with its ends, how many fit, how many were read, and whether all were read."""
    newest = await heads(log, **asked, limit=1)
    if not newest.rows:
        return dict(asked), 0, newest.looked, newest.is_complete
    last = newest.rows[0].stream_id
    fields = {**asked, "last": last}
    count, looked, before, is_complete = 0, 0, "", False
    ends_s = asyncio.get_running_loop().time() + _SCAN_S
    for _ in range(_SCANS):
        page = await heads(log, **fields, before=before, limit=0)
        count, looked = count + page.fitting, looked + page.looked
        before, is_complete = page.last or before, page.is_complete
        if is_complete or asyncio.get_running_loop().time() > ends_s:
            break
    return {**fields, "first": asked["first"] or before}, count, looked, is_complete


async def _samples(log: EventLog, bodies: BodyReader, fields: Mapping[str, str]) -> list[tuple[str, object]]:
    """Say what the newest bodies of the plan would become."""
    found = await heads(log, **fields, limit=_SAMPLES)
    becomes: Counter[str] = Counter()
    bytes_left = _SAMPLE_BYTES
    for row in found.rows:
        if row.size > _SAMPLE_BYTES:
            becomes["too large to be tried for a plan"] += 1
            continue
        bytes_left -= row.size
        if becomes and bytes_left < 0:
            break
        kept = await quarantined(log, row.stream_id)
        if kept is None:
            continue
        match bodies.read(kept):
            case Unreadable(reason=why):
                becomes[f"cannot be read: {why}"] += 1
            case event:
                becomes[f"becomes {event.type}"] += 1
    if not becomes:
        return []
    said = ", ".join(f"{n} {words}" for words, n in becomes.most_common())
    return [(f"Of the newest {becomes.total()}", said)]


def _check(**asked: str) -> None:
    for name in ("first", "last", "before"):
        if asked.get(name) and not STREAM_ID.fullmatch(asked[name]):
            raise Problem(400, "no-body-id", f"{name} is not an id of a quarantined body.")


ROUTES = (
    ("/quarantine", "GET", show),
    ("/quarantine/plan/{verb}", "GET", plan),
    ("/quarantine/retry", "POST", retry_all),
    ("/quarantine/discard", "POST", discard_all),
    ("/quarantine/{id}", "GET", entry),
)
