"""`handlers list`: the registered handlers, what keeps each of them from running, and how far they are."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import click

from commands import options, prepare
from commands.fault_words import fault_document
from commands.options import on_log
from commands.outage_words import HandlerState, away_document, unwanted_document
from commands.output import print_json, print_table
from commands.spans import at_most, span
from eventlog.clock import rfc3339

if TYPE_CHECKING:
    from eventlog.log import EventLog
    from eventlog.registry import HandlerPosition

_HEADS = [
    "handler",
    "state",
    "waiting",
    "oldest",
    "open",
    "dead",
    "done",
    "lanes by process",
    "order",
    "queue",
    "version",
    "last seen",
    "types",
]


@click.command("list")
@options.as_json
def list_(as_json: bool) -> None:
    """List the handlers that workers have registered.

    `waiting` counts the events that a handler wants, `oldest` is the age of the oldest unsettled one. A number with ≤
    is an upper bound: the log still counts.
    """
    found, states, pairs = on_log(prepare(logs=False), _read)
    if as_json:
        print_json([{**_row(each, states[each.name]), "pairs": pairs.get(each.name, {})} for each in found])
        return
    print_table(_HEADS, [_cells(each, states[each.name], pairs.get(each.name, {})) for each in found])


def standing(handler: HandlerPosition) -> dict[str, object]:
    """Return how far a handler is, for JSON."""
    return {
        "waiting": handler.waiting,
        "waiting_is_exact": handler.waiting_is_exact,
        "oldest_age_s": handler.oldest_age_s,
        "oldest_is_exact": handler.oldest_is_exact,
        "open": handler.open,
        "dead": handler.dead,
    }


def amounts(handler: HandlerPosition) -> str:
    """Describe how much a handler has to do."""
    waiting = at_most(str(handler.waiting), handler.waiting_is_exact)
    return f"{waiting} events waiting, {handler.open} open, {handler.dead} dead"


async def _read(
    log: EventLog,
) -> tuple[list[HandlerPosition], dict[str, HandlerState], dict[str, dict[str, int]]]:
    from eventlog.handler_faults import faulty_by_name
    from eventlog.inspection.fleet import awake, rq_queues
    from eventlog.operation.handlers import pauses
    from eventlog.outages import known_outages
    from eventlog.presence import pairs_by_process, present
    from eventlog.unwanted import unwanted

    found, paused, known = await log.handlers(), await pauses(log), await known_outages(log)
    away = known.away
    pairs, queues = await pairs_by_process(log), awake(await rq_queues(log))
    faulty = faulty_by_name(await present(log))
    dropped = await unwanted(log)
    registered = {each.name for each in found}
    found += [
        unregistered(one.fault.name, one.queue) for name, one in faulty.items() if name not in registered
    ]
    states = {
        each.name: HandlerState(
            paused.get(each.name),
            away.get(each.name),
            known.lanes_held(each.name),
            known.lanes_stopped(each.name),
            _gone(each, pairs, queues),
            faulty.get(each.name),
            dropped.get(each.name),
        )
        for each in found
    }
    return found, states, pairs


def unregistered(name: str, queue: str = "") -> HandlerPosition:
    """Return a row for a handler, or a plugin, that the log does not know."""
    from eventlog.registry import HandlerPosition

    return HandlerPosition(
        name=name,
        version="",
        types=(),
        queue=queue,
        order="",
        last_seen_ms=0,
        waiting=0,
        open=0,
        dead=0,
    )


def _cells(handler: HandlerPosition, state: HandlerState, pairs: Mapping[str, int]) -> tuple[object, ...]:
    waiting = at_most(str(handler.waiting), handler.waiting_is_exact)
    counts = (waiting, _age(handler), handler.open, handler.dead, handler.stats.get("done", 0))
    versions, types = ",".join(handler.versions), ",".join(handler.types)
    seen = rfc3339(handler.last_seen_ms) if handler.last_seen_ms else "-"
    lanes = " ".join(f"{process}={n}" for process, n in pairs.items()) or "-"
    return handler.name, state.text, *counts, lanes, handler.order, handler.queue, versions, seen, types


def _row(handler: HandlerPosition, state: HandlerState) -> dict[str, object]:
    from eventlog.registry import MEASURES

    paused = state.paused
    return {
        "name": handler.name,
        "version": handler.version,
        "versions": list(handler.versions),
        "types": list(handler.types),
        "queue": handler.queue,
        "order": handler.order,
        "isolation": handler.isolation,
        "state": state.name,
        "last_seen_at": rfc3339(handler.last_seen_ms) if handler.last_seen_ms else None,
        "served_at": rfc3339(handler.served_ms) if handler.served_ms else None,
        "paused": None if paused is None else {"since": rfc3339(paused.since_ms), "reason": paused.reason},
        "held": away_document(state.away),
        "lanes_held": state.lanes_held,
        "lanes_stopped": state.lanes_stopped,
        "faulty": None if state.faulty is None else fault_document(state.faulty),
        "no_longer_wanted": unwanted_document(state.unwanted),
        **standing(handler),
        "outcomes": {name: n for name, n in sorted(handler.stats.items()) if not name.startswith(MEASURES)},
    }


def _age(handler: HandlerPosition) -> str:
    """Return the age of the oldest unsettled event."""
    if handler.oldest_age_s is None:
        return "-"
    return at_most(span(handler.oldest_age_s), handler.oldest_is_exact)


def _gone(handler: HandlerPosition, pairs: Mapping[str, Mapping[str, int]], awake: Collection[str]) -> str:
    """Return a note that no worker serves a handler; empty where one does."""
    from eventlog.inspection.serving import is_served

    if is_served(handler, pairs, awake):
        return ""
    gone = f"gone since {rfc3339(handler.served_ms)}" if handler.served_ms else "not started yet"
    return f"{gone}: no worker serves queue {handler.queue}"
