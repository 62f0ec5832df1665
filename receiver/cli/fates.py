"""What became of an event, in sentences for people and as a document for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workers.eventlog.duplicates import repeat_reason
from workers.eventlog.moments import rfc3339

if TYPE_CHECKING:
    from workers.eventlog.explain import Explanation
    from workers.eventlog.fate import EventFacts, Fate
    from workers.eventlog.record import AttemptNote


def said(fate: Fate) -> str:
    """One line."""
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
            return f"tried again at {at}{tries}{deaths}{why}"
        case "parked":
            behind = f" behind {fate.behind}" if fate.behind else ""
            return f"parked{behind}" + (f", which is tried again at {at}" if at else "")
        case "replay":
            return f"put to run once more{_by(fate)}"
        case "not-wanted":
            return "not wanted: its type is none of this handler's"
        case "before-start":
            return f"not given to it: the handler was registered at {at}, after the event"
        case "settled":
            return "settled; its history is not kept any more"
        case "dead":
            return f"dead{f' since {at}' if at else ''}{why}"
        case _:
            return f"{fate.state} at {at}{why}"


def _by(fate: Fate) -> str:
    return f", lane held by {fate.holder}" if fate.holder else ", nobody holds the lane at this moment"


def _reason(fate: Fate, at: str) -> str:
    match fate.why:
        case "paused":
            return f"the handler is paused since {at}{f': {fate.words}' if fate.words else ''}"
        case "open-full":
            return (
                "too many earlier events of this lane are open (retried or parked), so nothing more is read"
            )
        case "handed-out":
            return f"handed out to {fate.holder}: at work, or next"
        case "held":
            return f"{fate.holder} holds the lane and comes to it"
        case "no-worker":
            return f"nobody runs this handler: a worker declared it last at {at}"
        case _:
            return "nobody holds the lane yet; a worker takes it within seconds"


def document(found: Explanation, misfits: tuple[str, ...]) -> dict[str, Any]:
    """Everything, as other programs read it.

    Args:
        misfits: fields that do not fit, of the one event that was asked for.
    """
    from workers.eventlog.standing import describe

    body = found.quarantined
    return {
        "asked": found.asked,
        "known": found.is_known,
        "misfits": list(misfits),
        "events": [
            {
                **_event(story.event, found.subscribed),
                "handlers": [_fate(fate) for fate in story.fates],
            }
            for story in found.stories
        ],
        "quarantined": None
        if body is None
        else {
            "id": body.stream_id,
            "reason": body.reason,
            "received_at": rfc3339(body.received_at_ms),
            "bytes": len(body.body),
            "key_id": body.key_id or None,
        },
        "lane": found.lane,
        "oldest_kept_at": _moment(found.oldest_ms),
        "newest_event": found.newest,
        "subscribed_types": None if found.subscribed is None else sorted(found.subscribed),
        "registered_handlers": [
            {
                "name": handler.name,
                "types": sorted(handler.types),
                "since": rfc3339(handler.since_ms),
                "last_seen_at": rfc3339(handler.seen_ms),
                "paused_since": _moment(handler.pause.since_ms if handler.pause else None),
            }
            for handler in found.handlers
        ],
        "gaps": [{"from": gap.from_at, "to": gap.to_at, "types": list(gap.types)} for gap in found.gaps],
        "log": None if found.standing is None else describe(found.standing),
    }


def _event(event: EventFacts, subscribed: frozenset[str] | None) -> dict[str, Any]:
    return {
        "id": event.event_id,
        "type": event.type,
        "key": event.key,
        "lane": event.lane,
        "received_at": rfc3339(event.received_at_ms),
        "key_id": event.key_id or None,
        "bytes": event.size,
        "marks": list(event.marks),
        "maybe_repeat": repeat_reason(event.marks),
        "kept": event.kept,
        "subscribed": None if subscribed is None or event.type is None else event.type in subscribed,
    }


def _fate(fate: Fate) -> dict[str, Any]:
    return {
        "handler": fate.handler,
        "state": fate.state,
        "why": fate.why or None,
        "words": fate.words or None,
        "at": _moment(fate.at_ms),
        "held_by": fate.holder or None,
        "behind": fate.behind or None,
        "attempts": fate.tries,
        "deaths": fate.deaths,
        "log": [_attempt(note) for note in fate.attempts],
        "dead_letter": fate.letter or None,
        "earlier": [
            {"outcome": end.settled.outcome, "at": rfc3339(end.at_ms), "why": end.settled.reason or None}
            for end in fate.earlier
        ],
        "said": said(fate),
    }


def _attempt(note: AttemptNote) -> dict[str, Any]:
    return {
        "at": rfc3339(note.at_ms),
        "outcome": note.outcome,
        "detail": note.detail or None,
        "actions": list(note.actions),
    }


def _moment(ms: int | None) -> str | None:
    return None if ms is None else rfc3339(ms)
