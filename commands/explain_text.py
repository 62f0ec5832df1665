"""The sentences of `explain`: what happened to an event or an entity, as lines of text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from commands.events import REPEAT_WORDS
from commands.outage_words import away_words
from eventlog.clock import rfc3339
from eventlog.duplicates import repeat_reason
from eventlog.internal import is_internal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from eventlog.inspection.delivery_state import Fate
    from eventlog.inspection.explain import Explanation
    from eventlog.inspection.gaps import Gap
    from eventlog.inspection.timeline import Story
    from eventlog.record import AttemptNote


def said(fate: Fate) -> str:
    """Describe a delivery state in one line."""
    text = _said(fate)
    return text if fate.away is None or fate.state == "waiting" else f"{text}; {away_words(fate.away)}"


def _said(fate: Fate) -> str:
    why = f": {fate.why}" if fate.why else ""
    at = rfc3339(fate.at_ms) if fate.at_ms else ""
    tries = f", attempts so far: {fate.tries}" if fate.tries else ""
    deaths = f", workers that died meanwhile: {fate.deaths}" if fate.deaths else ""
    match fate.state:
        case "waiting":
            return f"waiting: {_reason(fate, at)}"
        case "running":
            return f"at work{_by(fate)}{tries}{deaths}"
        case "retry":
            return f"tried again {f'at {at}' if at else 'at once'}{tries}{deaths}{why}"
        case "parked":
            behind = f" behind {fate.behind}" if fate.behind else ""
            return f"parked{behind}" + (f", which is tried again at {at}" if at else "")
        case "replay":
            return f"queued for replay{_by(fate)}"
        case "not-wanted":
            return "not wanted: this handler does not declare its type"
        case "before-start":
            return f"not given to it: the handler was registered at {at}, after the event"
        case "settled":
            return "settled; its history is no longer kept"
        case "dead":
            return f"dead{f' since {at}' if at else ''}{why}"
        case _:
            return f"{fate.state} at {at}{why}"


def with_lag(found: Explanation, fate: Fate) -> str:
    """Describe a delivery state, and about how long a waiting event still waits behind a backlog."""
    text, behind = said(fate), found.behind.get(fate.handler)
    if fate.state != "waiting" or fate.why in ("paused", "away", "open-full", "no-worker") or not behind:
        return text
    text += f"; the handler is behind by {behind.events:,}"
    if behind.per_s < 1:
        return text
    seconds = behind.events / behind.per_s
    left = f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
    return f"{text}, at {behind.per_s:,.0f}/s: about {left}"


def _by(fate: Fate) -> str:
    return f", lane held by {fate.holder}" if fate.holder else ", no worker holds the lane now"


def _reason(fate: Fate, at: str) -> str:
    match fate.why:
        case "paused":
            return f"the handler is paused since {at}{f': {fate.words}' if fate.words else ''}"
        case "away" if fate.away is not None:
            return away_words(fate.away)
        case "open-full":
            return (
                "too many earlier events of this lane are open (retried or parked), so nothing more is read"
            )
        case "handed-out":
            return f"handed to {fate.holder}, which runs it now or next"
        case "held":
            return f"{fate.holder} holds the lane and will run it"
        case "no-worker":
            since = f"since {at}" if at else "so far"
            return f"no worker serves queue {fate.words} with this handler {since}"
        case _:
            return "no worker holds the lane yet; one takes it within seconds"


def is_one_event(found: Explanation) -> bool:
    """Return whether it explains one event, not an entity."""
    return len(found.stories) == 1 and found.stories[0].event.event_id == found.asked


def lines(found: Explanation, misfits: tuple[str, ...]) -> Iterator[str]:
    """Yield the explanation line by line.

    Args:
        misfits: fields that do not fit, of the one event that was asked for.
    """
    if found.quarantined is not None:
        body = found.quarantined
        yield f"{found.asked} is in quarantine: {body.reason}"
        yield f"  arrived {rfc3339(body.received_at_ms)}, {len(body.body)} bytes, verified by key {body.key_id}"
        yield f"  `events show {found.asked}` shows its shape"
        yield f"  `quarantine show {found.asked}` says whether it can be read now, `quarantine retry` appends it"
        return
    if not found.is_known:
        yield from _unknown(found)
        return
    if is_one_event(found):
        yield from _event(found, found.stories[0], misfits)
    else:
        yield from _entity(found)
    if not found.handlers:
        yield "no handler is registered in this log: no worker has ever started"
    if found.standing is not None and found.standing.full:
        yield f"the log is full, so the receiver answers 503: {found.standing.full}"


def _event(found: Explanation, story: Story, misfits: tuple[str, ...]) -> Iterator[str]:
    event = story.event
    known = "" if event.kept else "; its body is no longer kept"
    yield f"event {event.event_id}{known}"
    facts: dict[str, object] = {
        "type": event.type and f"{event.type}{_subscribed(found, event.type)}",
        "entity": event.key,
        "arrived": rfc3339(event.received_at_ms),
        "lane": event.lane,
        "verified by": {None: None, "": "our own event"}.get(event.key_id, f"key {event.key_id}"),
        "bytes": event.size,
        "marks": ", ".join(event.marks),
        "misfits": ", ".join(misfits),
    }
    for name, value in facts.items():
        yield f"  {name:<12} {'-' if value in (None, '') else value}"
    repeated = repeat_reason(event.marks)
    if repeated is not None:
        yield f"  it may be a repetition: {REPEAT_WORDS[repeated]}"
    for fate in story.fates:
        yield f"{fate.handler}: {with_lag(found, fate)}"
        for end in fate.earlier:
            yield f"    earlier: {end.settled.outcome} at {rfc3339(end.at_ms)}"
        for note in fate.attempts:
            yield from _attempt(note)
        if fate.letter:
            yield f"    `dead show {fate.letter}` shows where it failed"
        if _waits(fate):
            yield f"    `events hurry {event.event_id} --handler {fate.handler}` ends this wait now"
    if event.type is not None and not any(handler.wants(event.type) for handler in found.handlers):
        yield f"no registered handler wants {event.type}"


def _entity(found: Explanation) -> Iterator[str]:
    kept = sum(story.event.kept for story in found.stories)
    gone = len(found.stories) - kept
    yield f"{found.asked}: {kept} kept events in lane {found.lane}, {gone} that are no longer kept"
    for story in found.stories:
        event = story.event
        lost = "" if event.kept else "  (not kept)"
        repeated = repeat_reason(event.marks)
        again = "" if repeated is None else f"  (may be a repetition: {repeated})"
        yield f"{rfc3339(event.received_at_ms)}  {event.event_id}  {event.type or '-'}{lost}{again}"
        for fate in story.fates:
            yield f"    {fate.handler}: {with_lag(found, fate)}"
    for gap in found.gaps:
        if gap.reason and found.may_be_missing_by(gap):
            yield f"{gap_words(gap)}; events of this entity may be among them"
    if any(_waits(fate) for story in found.stories for fate in story.fates):
        yield f"`events hurry {found.asked}` ends these waits now"


def _waits(fate: Fate) -> bool:
    """Return whether an event waits for a time: that of its own retry, or of the one it is parked behind."""
    return fate.state in ("retry", "parked") and bool(fate.at_ms)


def _attempt(note: AttemptNote) -> Iterator[str]:
    yield f"    {rfc3339(note.at_ms)} {note.outcome} {note.detail}".rstrip()
    for action in note.actions:
        yield f"      called {action}"


def _unknown(found: Explanation) -> Iterator[str]:
    """List the reasons why the log may not have it."""
    yield f"the log has no trace of {found.asked}"
    where = "the quarantine has other ids; the log" if found.lane is None else f"lane {found.lane}"
    if found.lane is not None and found.lane >= found.lanes:
        yield f"  its lanes are 0 to {found.lanes - 1}"
    elif found.oldest_ms is None:
        yield f"  {where} keeps no event at all"
    else:
        yield f"  {where} keeps events since {rfc3339(found.oldest_ms)}; the newest is {found.newest}"
        yield "  older ones go once they are settled (AWR_KEEP_HOURS), what became of them later (AWR_HISTORY_DAYS)"
    for gap in found.gaps:
        lost = "; it may be among them" if found.may_be_missing_by(gap) else ""
        yield f"  {gap_words(gap)}{lost if gap.reason else ''}"
    if found.subscribed is None:
        yield "  no notification subscription is recorded: this service may have registered none"
    else:
        yield f"  subscribed types: {', '.join(sorted(found.subscribed)) or 'none'}"
    for handler in found.handlers:
        yield f"  {handler.name} wants {', '.join(sorted(handler.types))}, since {rfc3339(handler.since_ms)}"
    if not found.handlers:
        yield "  no handler is registered in this log"
    yield "  a duplicate is not kept twice, and what could not be read is in quarantine"
    if found.standing is not None and found.standing.full:
        yield f"  the log is full, so the receiver answers 503: {found.standing.full}"


def gap_words(gap: Gap) -> str:
    """Describe a gap in one line."""
    from_at, to_at = rfc3339(gap.from_ms), rfc3339(gap.to_ms)
    if not gap.reason:
        return f"the receiver was down from {from_at} to {to_at}"
    count = "an unknown number of" if gap.events is None else f"at least {gap.events:,}"
    return f"the log went back, noticed {to_at}: {count} events since {from_at} are missing ({gap.reason})"


def _subscribed(found: Explanation, type: str) -> str:
    if found.subscribed is None or is_internal(type):
        return ""
    return " (subscribed)" if type in found.subscribed else " (not among the subscribed types now)"
