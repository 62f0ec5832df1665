"""The sentences of `explain`: what happened to an event or an entity, as lines of text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ampeco.catalogue import spellings
from commands.delivery_text import call_words, with_authors_words, with_lag
from commands.events import REPEAT_WORDS
from commands.spans import counted
from eventlog.clock import now_ms, rfc3339
from eventlog.duplicates import repeat_reason
from eventlog.internal import is_internal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from eventlog.inspection.delivery_state import Fate
    from eventlog.inspection.explain import Explanation
    from eventlog.inspection.gaps import Gap
    from eventlog.inspection.timeline import Story
    from eventlog.record import AttemptNote
    from eventlog.turned_away import Copy

_COPY_WORDS = {
    "equal-body": "the body of an event that was accepted before",
    "other-key": "the copy that another notification subscription of ours brought",
    "appended-before": "our own append of it had succeeded",
}


def is_one_event(found: Explanation) -> bool:
    """Return whether an explanation is about one event, not an entity."""
    return len(found.stories) == 1 and found.stories[0].event.event_id == found.asked


def lines(found: Explanation, misfits: tuple[str, ...]) -> Iterator[str]:
    """Yield the explanation line by line.

    Args:
        misfits: fields that do not fit, of the one event that was asked for.
    """
    if found.quarantined is not None:
        body = found.quarantined
        yield f"{found.asked} is in quarantine: {body.reason}"
        yield f"  arrived {rfc3339(body.received_at_ms)}, {body.size} bytes, verified by key {body.key_id}"
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
    yield from _kept(found)
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
        equal = f"; that was {story.repeats}" if story.repeats else ""
        yield f"  it may be a repetition: {REPEAT_WORDS[repeated]}{equal}"
    yield from (f"  {line}" for line in _copies(story.copies))
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
    older = f", {gone:,} that {'is' if gone == 1 else 'are'} no longer kept" if gone else ""
    yield f"{found.asked}: {counted(kept, 'kept event')} in lane {found.lane}{older}"
    for story in found.stories:
        event = story.event
        lost = "" if event.kept else "  (not kept)"
        repeated = repeat_reason(event.marks)
        equal = f", of {story.repeats}" if story.repeats else ""
        again = "" if repeated is None else f"  (may be a repetition: {repeated}{equal})"
        yield f"{rfc3339(event.received_at_ms)}  {event.event_id}  {event.type or '-'}{lost}{again}"
        yield from (f"    {line}" for line in _copies(story.copies))
        shown = [fate for fate in story.fates if fate.state != "not-wanted" or fate.why]
        for fate in shown:
            yield f"    {fate.handler}: {with_authors_words(found, fate)}"
        if story.fates and not shown:
            yield "    no handler wants its type"
    for copy in found.copies:
        yield f"{rfc3339(copy.received_at_ms)}  dropped  {copy.type}: {_COPY_WORDS.get(copy.reason, copy.reason)}"
    yield from _mentions(found)
    for gap in found.gaps:
        if found.may_be_missing_by(gap):
            yield f"{gap_words(gap)}; events of this entity may be among them"
    yield from _refused(found)
    yield from _not_subscribed(found)
    if any(_waits(fate) for story in found.stories for fate in story.fates):
        yield f"`events hurry {found.asked}` ends these waits now"


def _kept(found: Explanation) -> Iterator[str]:
    """List the pending timers of the entity, and the handlers that keep a state of it."""
    for record in (*found.kept, *found.finer.records):
        of = f"{record.handler}: key {record.key!r}, " if record.key else f"{record.handler}: "
        for timer in record.timers:
            due = f"timer {timer.name!r}, set by {timer.set_by}"
            if timer.event_id:
                yield f"{of}{due}, fell due and is event {timer.event_id}"
            else:
                yield f"{of}{due}, falls due at {rfc3339(timer.due_ms)}"
        if record.state_bytes:
            until = rfc3339(now_ms() + record.state_left_ms, timespec="seconds")
            yield f"{of}keeps a state of {record.state_bytes} bytes until {until}, unless it changes"
    if not found.finer.complete:
        yield "more may be kept under keys of handlers (`key=`); `handlers export-state NAME` lists all states"


def _waits(fate: Fate) -> bool:
    """Return whether an event waits for a time: that of its own retry, or of the one it is parked behind."""
    return fate.state in ("retry", "parked") and bool(fate.at_ms)


def _attempt(note: AttemptNote) -> Iterator[str]:
    yield f"    {rfc3339(note.at_ms)} {note.outcome} {note.detail}".rstrip()
    for line in note.actions:
        yield f"      called {call_words(line)}"


def _unknown(found: Explanation) -> Iterator[str]:
    """List the reasons why the log may not have it."""
    yield f"the log has no trace of {found.asked}{_meant(found.asked)}"
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
        yield f"  {gap_words(gap)}{lost if gap.is_final else ''}"
    yield from (f"  {line}" for line in _refused(found))
    if found.subscribed is None:
        yield "  no notification subscription is recorded: this service may have registered none"
    else:
        yield f"  subscribed types: {', '.join(sorted(found.subscribed)) or 'none'}"
    yield from (f"  {line}" for line in _not_subscribed(found))
    for handler in found.handlers:
        yield f"  {handler.name} wants {', '.join(sorted(handler.types))}, since {rfc3339(handler.since_ms)}"
    if not found.handlers:
        yield "  no handler is registered in this log"
    yield "  a duplicate is not kept twice, and what could not be read is in quarantine"
    if found.standing is not None and found.standing.full:
        yield f"  the log is full, so the receiver answers 503: {found.standing.full}"


def _meant(asked: str) -> str:
    """Suggest the kind of entity that a misspelled one may mean."""
    from ampeco.catalogue import KNOWN_TYPES
    from ampeco.nearest import nearest

    kinds = {kind for known in KNOWN_TYPES.values() for kind, _ in known.entities}
    kind, colon, id_ = asked.partition(":")
    found = None if not colon or kind in kinds else nearest(kind, kinds)
    return "" if found is None else f"; did you mean {f'{found}:{id_}'!r}?"


def gap_words(gap: Gap) -> str:
    """Describe a gap in one line."""
    from_at, to_at = rfc3339(gap.from_ms), rfc3339(gap.to_ms)
    if gap.reason == "no-receiver":
        return f"the receiver was down from {from_at} to {to_at}"
    if gap.reason == "not-subscribed":
        types = ", ".join(gap.types) or "nothing"
        return f"{types} was not subscribed from {from_at} to {to_at}, so AMPECO sent none of it"
    lost = "an unknown number of events" if gap.events is None else f"at least {counted(gap.events, 'event')}"
    verb = "is" if gap.events == 1 else "are"
    return f"the log went back, noticed {to_at}: {lost} since {from_at} {verb} missing ({gap.reason})"


def _subscribed(found: Explanation, type: str) -> str:
    if found.subscribed is None or is_internal(type):
        return ""
    if type in found.subscribed:
        return " (subscribed)"
    since = found.left.get(type)
    return f" (not subscribed since {rfc3339(since)})" if since else " (not among the subscribed types now)"


def _not_subscribed(found: Explanation) -> Iterator[str]:
    """Name the types that a handler wants and that are not subscribed, in no spelling that it takes."""
    subscribed = found.subscribed or frozenset()
    wanted = {
        name
        for handler in found.handlers
        for name in handler.types
        if name != "*" and not subscribed.intersection(spellings(name), handler.types)
    }
    for name in sorted(wanted - subscribed):
        if is_internal(name) or (found.subscribed is None and name not in found.left):
            continue
        since = found.left.get(name)
        yield f"not subscribed to {name}" + (f" since {rfc3339(since)}" if since else "")


def _copies(copies: Sequence[Copy]) -> Iterator[str]:
    """Describe the notifications that were dropped because an event has their body, one line per reason."""
    for reason in dict.fromkeys(copy.reason for copy in copies):
        those = [copy for copy in copies if copy.reason == reason]
        count = "a copy of it was" if len(those) == 1 else f"{len(those)} copies of it were"
        last = max(copy.received_at_ms for copy in those)
        yield f"{count} dropped, the last at {rfc3339(last)}: {_COPY_WORDS.get(reason, reason)}"


def _mentions(found: Explanation) -> Iterator[str]:
    for mention in found.mentions:
        yield (
            f"{rfc3339(mention.received_at_ms)}  in quarantine: {mention.stream_id} ({mention.reason}) holds "
            f"the id {found.asked.partition(':')[2]}"
        )


def _refused(found: Explanation) -> Iterator[str]:
    """Count what the endpoint refused: it is in no log, and AMPECO tries some of it again."""
    if found.refused:
        counts = ", ".join(f"{reason} {count:,}" for reason, count in found.refused.items())
        when = "in the last 24 hours" if found.at_ms is None else "within ten minutes of that"
        yield f"the endpoint refused requests {when}: {counts}"
