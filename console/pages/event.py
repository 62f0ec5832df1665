"""One event: its line of life, what became of it at each handler and why, and its body for those allowed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from markupsafe import escape
from starlette.responses import Response

from ampeco.encodings import plain_or_same
from ampeco.errors import PayloadError
from ampeco.notifications import parse
from console.body_view import body_view, is_read
from console.markup import short
from console.page import Page
from eventlog.inspection.delivery_state import Fate
from eventlog.inspection.event_traces import OF_PAGE
from eventlog.inspection.events import read_event
from eventlog.inspection.explain import Explanation, explain
from eventlog.inspection.steps import StepNotes, steps_of
from eventlog.inspection.timeline import Story
from eventlog.record import StoredEvent

_ENDED = "ended: "
_MOST_PATHS = 150
_MOST_WORDS = 200  # lines about an entity
_MOST_HANDLERS = 60
_MOST_LIFE_BYTES = 25_000
_MOMENT_BYTES, _ACTION_BYTES = 500, 40  # without its texts


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
        """Return how the moment looks."""
        return self.what.removeprefix(_ENDED)


async def show(page: Page) -> Response:
    """Show the event, or what is known of an entity; the status is 404 when the log has no trace of it."""
    asked = str(page.request.path_params["id"])
    if ":" in asked:
        return page.go_to("entity", key=asked)
    asked = asked[:100]
    found = await explain(page.log, asked, handler=None, now_ms=page.now_ms, limits=OF_PAGE)
    is_event = len(found.stories) == 1 and found.stories[0].event.event_id == asked
    if not found.is_known or not (is_event or found.quarantined is not None):
        words = islice(page.console.wording.explained(found), _MOST_WORDS)
        status = 200 if found.is_known else 404
        return page.show("explained.html", status, asked=asked, is_known=found.is_known, words=list(words))
    if found.quarantined is not None:
        return page.show("quarantined.html", body=found.quarantined)
    (story,) = found.stories
    event = story.event
    stored = await read_event(page.log, asked) if event.kept and is_read(page, event.size or 0) else None
    body, encoding = (stored.body, stored.encoding) if stored is not None else (b"", "")
    view = await body_view(page, body, encoding, size=event.size or 0, command=f"events show {asked} --body")
    text = b"" if view.is_large else plain_or_same(body, encoding)
    shape = list(page.console.wording.shape(text).items())
    moments = sorted(_life(story, page.console.wording.call), key=lambda moment: moment.at_ms)
    shown = list(_within(moments, _MOST_LIFE_BYTES))
    quiet = [fate for fate in story.fates if _is_quiet(fate)]
    wanted = [fate for fate in story.fates if not _is_quiet(fate)]
    steps = await _steps(page, event.key, asked, [fate.handler for fate in wanted[:_MOST_HANDLERS]])
    return page.show(
        "event.html",
        event=event,
        story=story,
        found=found,
        moments=shown,
        more_moments=len(moments) - len(shown),
        wanted=[(fate, _said(page, found, fate)) for fate in wanted[:_MOST_HANDLERS]],
        more_wanted=max(0, len(wanted) - _MOST_HANDLERS),
        others=[(fate, _said(page, found, fate)) for fate in quiet],
        steps=steps,
        keyed={handler.name for handler in found.handlers if handler.has_keys},
        misfits=() if stored is None or view.is_large else _misfits(stored),
        shape=shape[:_MOST_PATHS],
        more_paths=max(0, len(shape) - _MOST_PATHS),
        body=view,
        kept=event.kept,
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


def _is_quiet(fate: Fate) -> bool:
    """Return whether the handler did not get the event.

    With a part of its history unread, an old event may have got there.
    """
    return fate.state == "not-wanted" or (fate.state == "before-start" and not fate.is_partial)


def _said(page: Page, found: Explanation, fate: Fate) -> str:
    return page.console.wording.delivery(found, fate)


def _life(story: Story, words: Callable[[str], str]) -> Iterator[Moment]:
    """Yield what happened to the event, in no order."""
    event = story.event
    if event.occurred_at_ms is not None:
        yield Moment(event.occurred_at_ms, "happened", detail="by the time in its payload")
    yield Moment(
        event.received_at_ms, "arrived", detail=f"verified by key {event.key_id}" if event.key_id else ""
    )
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
        elif fate.at_ms and fate.state == "retry" and fate.at_ms > event.received_at_ms:
            yield Moment(fate.at_ms, "next attempt", fate.handler)


def _within(moments: Iterable[Moment], bytes_left: int) -> Iterator[Moment]:
    """Yield the first moments, as many as fit a page. Of the calls of the last one, as many as fit."""
    for moment in moments:
        bytes_left -= _MOMENT_BYTES + _printed_bytes(moment.detail, 400)
        if bytes_left < 0:
            return
        actions: list[str] = []
        for action in moment.actions:
            bytes_left -= _ACTION_BYTES + _printed_bytes(action, 200)
            if bytes_left < 0:
                left = len(moment.actions) - len(actions)
                yield replace(moment, actions=(*actions, f"and {left} more calls"))
                return
            actions.append(action)
        yield moment


def _printed_bytes(text: str, columns: int) -> int:
    return len(escape(short(text, columns)).encode())


def _misfits(event: StoredEvent) -> tuple[str, ...]:
    """Return the fields that do not fit our model of its type."""
    try:
        return parse(event.body, encoding=event.encoding).misfits
    except PayloadError:
        return ()


ROUTES = (("/event/{id}", "GET", show),)
