"""`handlers`: the registered handlers, how far they are, and their position changed by hand."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import TYPE_CHECKING

import click

from commands import options, prepare
from commands.acts import acting
from commands.fault_words import fault_document
from commands.handler_check import check
from commands.handler_code import run
from commands.handler_replay import replay
from commands.handler_state import export_state
from commands.new_handler import new
from commands.options import HandlerName, on_log
from commands.outage_words import HandlerState, away_document, unwanted_document
from commands.output import print_json, print_line, print_table, print_unchanged
from commands.spans import span
from eventlog.clock import now_ms, rfc3339

if TYPE_CHECKING:
    from eventlog.handler_faults import Faulty
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


@click.group()
def handlers() -> None:
    """List handlers, and change their position in the log."""


@handlers.command("list")
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


@handlers.command()
@click.argument("name")
@click.option("--reason", default="", metavar="TEXT", help="Shown to operators while the handler is paused.")
@options.as_json
def pause(name: str, reason: str, as_json: bool) -> None:
    """Pause a handler: running events finish, and new ones wait."""
    from eventlog.operation import handlers as positions

    async def change(log: EventLog) -> None:
        async with acting(log, "handlers pause", {"handler": name, "reason": reason}):
            await positions.pause(log, name, reason=reason, now_ms=now_ms())

    on_log(prepare(logs=False), change)
    _say(as_json, f"{name} is paused", handler=name, state="paused", reason=reason)


@handlers.command()
@click.argument("name")
@options.as_json
def resume(name: str, as_json: bool) -> None:
    """Resume a paused handler at its position."""
    from eventlog.operation import handlers as positions

    async def change(log: EventLog) -> bool:
        async with acting(log, "handlers resume", {"handler": name}):
            return await positions.resume(log, name)

    changed = on_log(prepare(logs=False), change)
    text = f"{name} is running again" if changed else f"{name} was not paused"
    _say(as_json, text, handler=name, state="running", changed=changed)


@handlers.command()
@click.argument("old")
@click.argument("new_name", metavar="NEW", type=HandlerName())
@options.confirm
@options.as_json
def rename(old: str, new_name: str, yes: bool, as_json: bool) -> None:
    """Move a handler's position and records to another name.

    Workers release its lanes first. Then deploy the code with the new name; until then its events wait.
    """
    from eventlog.operation import handlers as positions

    asked = {"handler": old, "to": new_name}
    found = _planned("rename", asked, yes, lambda log: positions.rename(log, old, new_name, now_ms=now_ms()))
    plan = {"from": old, "to": new_name, **_standing(found)}
    if as_json:
        print_json({"plan": plan, "done": yes})
        return
    print_line(f"{old} -> {new_name}: {_amounts(found)}")
    print_line(f"deploy the code with the new name: until a worker declares {new_name}, its events wait")
    print_line(f"workers that still declare {old} are ignored")
    _conclude(yes, "renamed")


@handlers.command()
@click.argument("name")
@options.confirm
@options.as_json
def retire(name: str, yes: bool, as_json: bool) -> None:
    """Delete a handler's position, open events, dead letters, once-only steps, timers and states."""
    from eventlog.operation import handlers as positions

    asked = {"handler": name}
    found = _planned("retire", asked, yes, lambda log: positions.retire(log, name, now_ms=now_ms()))
    if as_json:
        plan = {"handler": name, **_standing(found), "last_seen_at": rfc3339(found.last_seen_ms)}
        print_json({"plan": plan, "done": yes})
        return
    print_line(
        f"{name}: {_amounts(found)}; all of it is deleted, and so are the results of its once-only steps, "
        "its timers and its states"
    )
    click.echo("types that no other handler wants leave the notification subscription")
    click.echo(
        f"a worker last declared it at {rfc3339(found.last_seen_ms)}; the next one that does registers it as new"
    )
    _conclude(yes, "retired")


for command in (replay, run, new, check, export_state):
    handlers.add_command(command)


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
    found += [_unregistered(one) for name, one in faulty.items() if name not in registered]
    states = {
        each.name: HandlerState(
            paused.get(each.name),
            away.get(each.name),
            known.lanes_held(each.name),
            _gone(each, pairs, queues),
            faulty.get(each.name),
            dropped.get(each.name),
        )
        for each in found
    }
    return found, states, pairs


def _unregistered(found: Faulty) -> HandlerPosition:
    """Return a row for a handler, or a plugin, that no worker could declare yet."""
    from eventlog.registry import HandlerPosition

    return HandlerPosition(
        name=found.fault.name,
        version="",
        types=(),
        queue=found.queue,
        order="",
        last_seen_ms=0,
        waiting=0,
        open=0,
        dead=0,
    )


def _planned(
    verb: str, asked: Mapping[str, str], yes: bool, change: Callable[[EventLog], Awaitable[None]]
) -> HandlerPosition:
    """Return the position of a handler as it is before the change, and make the change if `yes`."""
    from eventlog.operation.handlers import position_of

    name = asked["handler"]

    async def plan(log: EventLog) -> HandlerPosition:
        found = await position_of(log, name)
        if yes:
            async with acting(log, f"handlers {verb}", asked, found.waiting + found.open + found.dead):
                await change(log)
        return found

    return on_log(prepare(logs=False), plan)


def _cells(handler: HandlerPosition, state: HandlerState, pairs: Mapping[str, int]) -> tuple[object, ...]:
    waiting = _bounded(str(handler.waiting), handler.waiting_is_exact)
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
        "faulty": None if state.faulty is None else fault_document(state.faulty),
        "no_longer_wanted": unwanted_document(state.unwanted),
        **_standing(handler),
        "outcomes": {name: n for name, n in sorted(handler.stats.items()) if not name.startswith(MEASURES)},
    }


def _standing(handler: HandlerPosition) -> dict[str, object]:
    return {
        "waiting": handler.waiting,
        "waiting_is_exact": handler.waiting_is_exact,
        "oldest_age_s": handler.oldest_age_s,
        "oldest_is_exact": handler.oldest_is_exact,
        "open": handler.open,
        "dead": handler.dead,
    }


def _bounded(text: str, is_exact: bool) -> str:
    return text if is_exact else f"≤ {text}"


def _age(handler: HandlerPosition) -> str:
    """Return the age of the oldest unsettled event."""
    if handler.oldest_age_s is None:
        return "-"
    return _bounded(span(handler.oldest_age_s), handler.oldest_is_exact)


def _amounts(handler: HandlerPosition) -> str:
    waiting = _bounded(str(handler.waiting), handler.waiting_is_exact)
    return f"{waiting} events waiting, {handler.open} open, {handler.dead} dead"


def _gone(handler: HandlerPosition, pairs: Mapping[str, Mapping[str, int]], awake: Collection[str]) -> str:
    """Say that no worker serves a handler; empty where one does."""
    from eventlog.inspection.serving import is_served

    if is_served(handler, pairs, awake):
        return ""
    gone = f"gone since {rfc3339(handler.served_ms)}" if handler.served_ms else "not started yet"
    return f"{gone}: no worker serves queue {handler.queue}"


def _say(as_json: bool, text: str, **document: object) -> None:
    if as_json:
        print_json(document)
    else:
        print_line(text)


def _conclude(done: bool, verb: str) -> None:
    if done:
        click.echo(verb)
    else:
        print_unchanged()
