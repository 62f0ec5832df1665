"""`explain`: show what happened to an event, or to the events of an entity, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from commands import options, prepare
from commands.delivery_text import with_lag
from commands.explain_text import is_one_event, lines
from commands.options import on_log
from commands.outage_words import away_document
from commands.output import print_json, print_line
from eventlog.clock import now_ms, rfc3339
from eventlog.duplicates import repeat_reason

if TYPE_CHECKING:
    from eventlog.inspection.delivery_state import EventFacts, Fate
    from eventlog.inspection.explain import Explanation
    from eventlog.inspection.kept_records import KeptRecord
    from eventlog.log import EventLog
    from eventlog.record import AttemptNote
    from eventlog.turned_away import Copy


def document(found: Explanation, misfits: tuple[str, ...]) -> dict[str, Any]:
    """Return everything as a JSON document; `misfits` as for `lines`."""
    from eventlog.usage import describe

    body = found.quarantined
    return {
        "asked": found.asked,
        "known": found.is_known,
        "misfits": list(misfits),
        "events": [
            {
                **_event_document(story.event, found),
                "repeats": story.repeats,
                "copies": [_copy(copy) for copy in story.copies],
                "handlers": [_fate(found, fate) for fate in story.fates],
            }
            for story in found.stories
        ],
        "quarantined": None
        if body is None
        else {
            "id": body.stream_id,
            "reason": body.reason,
            "received_at": rfc3339(body.received_at_ms),
            "bytes": body.size,
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
                "queue": handler.queue,
                "last_seen_at": rfc3339(handler.served_ms) if handler.served_ms else None,
                "paused_since": _moment(handler.pause.since_ms if handler.pause else None),
            }
            for handler in found.handlers
        ],
        "gaps": [
            {
                "from": rfc3339(gap.from_ms),
                "to": rfc3339(gap.to_ms),
                "types": list(gap.types),
                "reason": gap.reason,
                "state": gap.state,
                "events_at_least": gap.events,
                "may_have_lost_it": found.may_be_missing_by(gap),
            }
            for gap in found.gaps
        ],
        "not_subscribed": {name: rfc3339(since) for name, since in sorted(found.left.items())},
        "refused": dict(found.refused),
        "copies": [_copy(copy) for copy in found.copies],
        "kept": [_kept(record) for record in (*found.kept, *found.finer.records)],
        "kept_complete": found.finer.complete,
        "quarantine": [
            {"id": one.stream_id, "reason": one.reason, "received_at": rfc3339(one.received_at_ms)}
            for one in found.mentions
        ],
        "log": None if found.standing is None else describe(found.standing),
    }


def _event_document(event: EventFacts, found: Explanation) -> dict[str, Any]:
    subscribed = found.subscribed
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
        "not_subscribed_since": _moment(found.left.get(event.type or "")),
    }


def _kept(record: KeptRecord) -> dict[str, Any]:
    return {
        "handler": record.handler,
        "key": record.key or None,
        "timers": [
            {
                "name": timer.name,
                "due_at": rfc3339(timer.due_ms),
                "set_by": timer.set_by,
                "event": timer.event_id or None,
            }
            for timer in record.timers
        ],
        "state_bytes": record.state_bytes or None,
        "state_until": rfc3339(now_ms() + record.state_left_ms) if record.state_bytes else None,
    }


def _copy(copy: Copy) -> dict[str, Any]:
    return {
        "type": copy.type,
        "reason": copy.reason,
        "received_at": rfc3339(copy.received_at_ms),
        "key_id": copy.key_id or None,
    }


def _fate(found: Explanation, fate: Fate) -> dict[str, Any]:
    return {
        "handler": fate.handler,
        "state": fate.state,
        "why": fate.why or None,
        "words": fate.words or None,
        "at": _moment(fate.at_ms),
        "held_by": fate.holder or None,
        "away": away_document(fate.away),
        "behind": fate.behind or None,
        "attempts": fate.tries,
        "deaths": fate.deaths,
        "log": [_attempt_document(note) for note in fate.attempts],
        "dead_letter": fate.letter or None,
        "earlier": [
            {"outcome": end.settled.outcome, "at": rfc3339(end.at_ms), "why": end.settled.reason or None}
            for end in fate.earlier
        ],
        "said": with_lag(found, fate),
    }


def _attempt_document(note: AttemptNote) -> dict[str, Any]:
    return {
        "at": rfc3339(note.at_ms),
        "outcome": note.outcome,
        "detail": note.detail or None,
        "actions": list(note.actions),
    }


def _moment(ms: int | None) -> str | None:
    return None if ms is None else rfc3339(ms)


@click.command()
@click.argument("asked", metavar="EVENT|ENTITY")
@click.option("--handler", metavar="NAME", help="Show only this handler.")
@options.as_json
def explain(asked: str, handler: str | None, as_json: bool) -> None:
    """Explain what happened to an event, or to an entity such as session:4711.

    The exit code is 1 when the log has no trace of it. Then the command shows how far back the log goes.
    """
    from eventlog.inspection.explain import explain as find_out

    async def read(log: EventLog) -> tuple[Explanation, tuple[str, ...]]:
        found = await find_out(log, asked, handler=handler, now_ms=now_ms())
        return found, await _misfits(log, found)

    found, misfits = on_log(prepare(logs=False), read)
    if as_json:
        print_json(document(found, misfits))
    else:
        for line in lines(found, misfits):
            print_line(line)
    if not found.is_known:
        raise click.exceptions.Exit(1)


async def _misfits(log: EventLog, found: Explanation) -> tuple[str, ...]:
    """Return the fields of the requested event that do not fit our model of its type."""
    from ampeco.errors import PayloadError
    from ampeco.notifications import parse
    from eventlog.inspection.events import read_event

    event = await read_event(log, found.asked) if is_one_event(found) else None
    try:
        return parse(event.body, encoding=event.encoding).misfits if event is not None else ()
    except PayloadError:
        return ()
