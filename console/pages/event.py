"""One event: its line of life, what became of it at each handler and why, and its body for those allowed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from starlette.responses import Response

from ampeco.encodings import plain_or_same
from ampeco.errors import PayloadError
from ampeco.notifications import parse
from console.masking import readable
from console.page import Page
from eventlog.inspection.delivery_state import Fate
from eventlog.inspection.events import read_event
from eventlog.inspection.explain import Explanation, explain
from eventlog.inspection.steps import StepNotes, steps_of
from eventlog.record import StoredEvent

_ENDED = "ended: "
_QUIET = ("not-wanted", "before-start")
_MOST_PATHS = 300
_MOST_WORDS = 200  # lines about an entity


@dataclass(frozen=True)
class Moment:
    """One point of the line of life.

    Attributes:
        handler: empty where it is about the event itself.
        what: slug of the outcome, or what happened.
        actions: calls to AMPECO, in words.
    """

    at_ms: int
    what: str
    handler: str = ""
    detail: str = ""
    actions: tuple[str, ...] = ()

    @property
    def state(self) -> str:
        """Return what it looks like."""
        return self.what.removeprefix(_ENDED)


async def show(page: Page) -> Response:
    """Show it, or what is known of an entity; the status is 404 when the log has no trace of it."""
    asked = str(page.request.path_params["id"])
    if ":" in asked:
        return page.go_to("entity", key=asked)
    asked = asked[:100]
    found = await explain(page.log, asked, handler=None, now_ms=page.now_ms)
    is_event = len(found.stories) == 1 and found.stories[0].event.event_id == asked
    if not found.is_known or not (is_event or found.quarantined is not None):
        words = islice(page.console.wording.explained(found), _MOST_WORDS)
        status = 200 if found.is_known else 404
        return page.show("explained.html", status, asked=asked, is_known=found.is_known, words=list(words))
    if found.quarantined is not None:
        return page.show("quarantined.html", body=found.quarantined)
    (story,) = found.stories
    kept = await read_event(page.log, asked)
    personal = page.shows_personal
    steps = await _steps(
        page, story.event.key, asked, [fate.handler for fate in story.fates if fate.state not in _QUIET]
    )
    text = plain_or_same(kept.body, kept.encoding) if kept is not None else b""
    return page.show(
        "event.html",
        event=story.event,
        story=story,
        found=found,
        moments=sorted(_life(found, kept, page.console.wording.call), key=lambda moment: moment.at_ms),
        wanted=[(fate, _said(page, found, fate)) for fate in story.fates if fate.state not in _QUIET],
        others=[(fate, _said(page, found, fate)) for fate in story.fates if fate.state in _QUIET],
        steps=steps,
        misfits=_misfits(kept),
        shape=list(page.console.wording.shape(text).items())[:_MOST_PATHS],
        body=readable(text, personal=personal) if page.may_read_bodies and kept is not None else None,
        personal=personal,
        kept=kept is not None,
    )


async def _steps(
    page: Page, key: str | None, event_id: str, handlers: Sequence[str]
) -> Mapping[str, Sequence[tuple[str, StepNotes]]]:
    """Return the once-only steps by handler: those of the event, and those of its entity."""
    found: dict[str, list[tuple[str, StepNotes]]] = {}
    for what, scope in (("of the event", event_id), ("of the entity", key)):
        for steps in await steps_of(page.log, scope, handlers) if scope else ():
            found.setdefault(steps.handler, []).append((what, steps))
    return found


def _said(page: Page, found: Explanation, fate: Fate) -> str:
    return page.console.wording.delivery(found, fate)


def _life(found: Explanation, kept: StoredEvent | None, words: Callable[[str], str]) -> Iterator[Moment]:
    """Yield what happened to the event, in no order."""
    story = found.stories[0]
    if kept is not None and kept.occurred_at is not None:
        yield Moment(
            int(kept.occurred_at.timestamp() * 1000), "happened", detail="by the time in its payload"
        )
    key = story.event.key_id
    yield Moment(story.event.received_at_ms, "arrived", detail=f"verified by key {key}" if key else "")
    for copy in story.copies:
        yield Moment(copy.received_at_ms, "copy dropped", detail=copy.reason)
    for fate in story.fates:
        for note in fate.attempts:
            calls = tuple(map(words, note.actions))
            yield Moment(note.at_ms, note.outcome, fate.handler, note.detail, calls)
        for end in fate.earlier:
            yield Moment(end.at_ms, f"{_ENDED}{end.settled.outcome}", fate.handler, end.settled.reason)
        if fate.at_ms and fate.state in ("done", "skipped", "filtered", "superseded", "dead"):
            yield Moment(fate.at_ms, f"{_ENDED}{fate.state}", fate.handler, fate.why)
        elif fate.at_ms and fate.state == "retry" and fate.at_ms > found.stories[0].event.received_at_ms:
            yield Moment(fate.at_ms, "next attempt", fate.handler)


def _misfits(event: StoredEvent | None) -> tuple[str, ...]:
    """Return the fields that do not fit our model of its type."""
    try:
        return parse(event.body, encoding=event.encoding).misfits if event is not None else ()
    except PayloadError:
        return ()


ROUTES = (("/event/{id}", "GET", show),)
