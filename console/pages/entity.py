"""One entity, such as `session:4711`: its events with their states, what handlers keep of it and did about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from starlette.responses import Response

from console.masking import readable
from console.page import Page, Problem
from console.page_cursor import place_before
from eventlog.entity_records import records_of
from eventlog.inspection.delivery_state import Fate
from eventlog.inspection.entity_events import EntityPage, entity_page
from eventlog.inspection.explain import Explanation
from eventlog.inspection.steps import steps_of
from eventlog.inspection.timeline import Story

_QUIET = ("not-wanted", "before-start")
_MOST_GAPS = 5
_MOST_STATE_BYTES = 20_000  # of all states of a page


async def show(page: Page) -> Response:
    """Show a page of the entity's events. The query has `key`, and `before`: an event id."""
    key = page.asked("key")
    if ":" not in key:
        raise Problem(400, "no-entity", "An entity is its kind and its id, such as session:4711.")
    before = place_before(page)
    found = await entity_page(page.log, key, before=before, now_ms=page.now_ms)
    about = found.about
    is_known = bool(about.stories or found.older or about.kept or found.recent_calls)
    personal = page.shows_personal
    return page.show(
        "entity.html",
        200 if is_known or found.found.next else 404,
        key=key,
        found=found.found,
        is_first=before is None,
        stories=[_shown(page, about, story) for story in about.stories],
        older=[_shown(page, about, story) for story in found.older],
        kept=about.kept,
        states=await _states(page, found, personal),
        personal=personal,
        slots=found.slots,
        steps=await steps_of(page.log, key, [handler.name for handler in about.handlers]),
        keyed=[handler.name for handler in about.handlers if handler.has_keys],
        calls=found.recent_calls,
        chain=found.chain,
        reasons=[] if about.stories or found.older else list(_reasons(page, about)),
        gaps=[page.console.wording.gap(gap) for gap in about.gaps if about.may_be_missing_by(gap)][
            -_MOST_GAPS:
        ],
    )


@dataclass(frozen=True)
class Ends:
    """An outcome of an event, with the handlers where it had this outcome."""

    handlers: tuple[str, ...]
    fate: Fate
    said: str


@dataclass(frozen=True)
class Shown:
    """An event as the page shows it: how it ended at its handlers, and the calls that they made for it."""

    story: Story
    ends: tuple[Ends, ...]
    actions: tuple[str, ...]


def _shown(page: Page, about: Explanation, story: Story) -> Shown:
    together: dict[tuple[str, str, str], list[Fate]] = {}
    for fate in story.fates:
        if fate.state not in _QUIET or fate.why:
            said = page.console.wording.delivery(about, fate)
            together.setdefault((fate.state, said, fate.behind), []).append(fate)
    ends = (
        Ends(tuple(fate.handler for fate in fates), fates[0], said)
        for (_, said, _), fates in together.items()
    )
    actions = (
        f"{fate.handler}: {page.console.wording.call(action)}"
        for fate in story.fates
        for note in fate.attempts
        for action in note.actions
    )
    return Shown(story, tuple(ends), tuple(actions))


async def _states(page: Page, found: EntityPage, personal: bool) -> dict[str, str]:
    """Return the states that handlers keep, for those who may read bodies."""
    about = found.about
    if not page.may_read_bodies or about.lane is None:
        return {}
    shown, bytes_left = {}, _MOST_STATE_BYTES
    for record in about.kept:
        if 0 < record.state_bytes <= bytes_left:
            bytes_left -= record.state_bytes
            kept = await records_of(page.log, record.handler, {about.asked: about.lane})
            shown[record.handler] = readable(kept[about.asked].state.encode(), personal=personal)
    return shown


def _reasons(page: Page, about: Explanation) -> Iterator[str]:
    """Yield why no event is found. The first line says that there is none, which the page does."""
    yield from [line.strip() for line in page.console.wording.explained(about)][1:]


ROUTES = (("/entity", "GET", show),)
